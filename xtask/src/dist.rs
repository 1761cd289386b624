//! `cargo xtask dist`: the gateway as it is to be run, compiled twice: the first one is watched while it does what
//! `bench` measures, and the second is laid out by what was seen (profile-guided optimisation).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    bench,
    shell::{self, cargo, output, target_dir},
    toolchain::ensure_wasm_target,
};

/// The scenarios that the profile is taken from: each way through the gateway once.
const TRAINING: &str = "plain,large,tls,handshake,h2,h2c,one-plugin,five-plugins,jwt-remembered,jwt-verified,resilient,cache-hit,routes-1k";

pub fn run() -> Result<()> {
    ensure_wasm_target()?;
    let host = host()?;
    let profdata = profdata(&host)?;
    let target = target_dir()?.join("dist");
    let (seen, profile) = (target.join("seen"), target.join("gateway.profdata"));
    // What an earlier build did would be mixed in.
    if seen.is_dir() {
        fs::remove_dir_all(&seen).with_context(|| format!("cannot empty {}", seen.display()))?;
    }
    println!("1 of 3: building the gateway that is watched");
    // With all that the second one has: what differs in the profile differs in the names of functions, and then nothing
    // that was counted would be found again.
    let watched = build(&host, &target, &format!("-Cprofile-generate={}", seen.display()))?;
    println!("2 of 3: watching it work");
    bench::train(&watched, TRAINING)?;
    let raw = raw_profiles(&seen)?;
    shell::run(Command::new(profdata).arg("merge").arg("-o").arg(&profile).args(raw))?;
    println!("3 of 3: building the gateway by what was seen; this takes the longest");
    let built = build(&host, &target, &format!("-Cprofile-use={}", profile.display()))?;
    let gateway = target.join("gateway");
    fs::copy(&built, &gateway).with_context(|| format!("cannot write {}", gateway.display()))?;
    println!("\n{}", gateway.display());
    Ok(())
}

/// Flags for the host's target alone: neither build scripts nor plugins are watched.
fn build(host: &str, target: &Path, flags: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "gateway", "--bin", "gateway", "--target", host, "--target-dir"]);
    build.arg(target);
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace(['-', '.'], "_"));
    build.env(variable, flags);
    shell::run(&mut build)?;
    Ok(target.join(host).join("release/gateway"))
}

fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// `llvm-profdata` of the compiler's own version: another one may not read what it writes.
fn profdata(host: &str) -> Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let tool = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !tool.is_file() {
        bail!("llvm-profdata is missing: install it with `rustup component add llvm-tools`");
    }
    Ok(tool)
}

fn raw_profiles(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("nothing was seen: no {}", folder.display()))?;
    let files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    ensure!(!files.is_empty(), "nothing was seen: {} is empty", folder.display());
    Ok(files)
}
