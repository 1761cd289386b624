//! The gateway as a static program, with the standard plugins inside.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::project::{Project, Run};

/// Compiles it. A quarter of an hour and more.
pub fn build(project: &Project) -> Result<PathBuf> {
    let target = project.arch.musl;
    ensure_target(project, target)?;
    ensure_target(project, "wasm32-wasip2")?;
    ensure_compiler(project)?;
    println!("building the static gateway for {target}; this takes a quarter of an hour and more");
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    // Paths of this machine would be in messages, and make the program differ from one built elsewhere.
    for (folder, name) in [(Some(project.root.clone()), "/gateway"), (home, "/cargo")] {
        flags.extend(folder.map(|folder| format!("--remap-path-prefix={}={name}", folder.display())));
    }
    project
        .cargo()
        .args(["build", "--locked", "--release", "--package", "gateway", "--bin", "gateway", "--target", target])
        .arg("--target-dir")
        .arg(&project.target_dir)
        .env(variable, flags.join(" "))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
        .run()?;
    Ok(project.target_dir.join(target).join("release/gateway"))
}

/// Fails unless the program is the gateway of this version.
pub fn check(binary: &Path, version: &str) -> Result<()> {
    let said = Command::new(binary).arg("--version").output_text()?;
    ensure!(
        said.trim() == format!("gateway {version}"),
        "{} says `{}`, not version {version}: the version is `workspace.package.version` in Cargo.toml",
        binary.display(),
        said.trim()
    );
    Ok(())
}

/// Whether the program is linked with nothing that a system may not have.
pub fn is_static(binary: &[u8]) -> bool {
    // The path of the loader that a dynamic program asks for.
    const LOADERS: [&[u8]; 2] = [b"/ld-linux", b"/ld-musl"];
    let head = &binary[..binary.len().min(4096)];
    !LOADERS.iter().any(|loader| head.windows(loader.len()).any(|window| window == *loader))
}

fn ensure_target(project: &Project, target: &str) -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).current_dir(&project.root).output_text()?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    println!("installing the target {target}");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).current_dir(&project.root).run()
}

fn ensure_compiler(project: &Project) -> Result<()> {
    let names = ["musl-gcc".to_owned(), format!("{}-linux-musl-gcc", project.arch.name)];
    if names.iter().any(|name| crate::system::find(name).is_some()) {
        return Ok(());
    }
    crate::system::install(&["musl-tools"]).context("aws-lc, mimalloc and zstd need a C compiler for musl")
}
