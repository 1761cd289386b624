//! `cargo xtask demo`: from a fresh checkout to a gateway that answers.

use anyhow::{Context, Result};

use crate::{
    shell::{self, cargo, target_dir},
    toolchain::ensure_wasm_target,
};

pub fn run(args: &[String]) -> Result<()> {
    ensure_wasm_target()?;
    println!("building the plugins and the gateway; the first time takes some minutes");
    shell::run(cargo().args(["build", "--release", "--package", "gateway", "--bin", "gateway"]))?;
    let gateway = target_dir()?.join("release/gateway");
    let mut demo = std::process::Command::new(&gateway);
    demo.arg("demo").args(args);
    replace_process(demo).with_context(|| format!("cannot start {}", gateway.display()))
}

/// The gateway takes this process's place, so that signals reach it.
#[cfg(unix)]
fn replace_process(mut command: std::process::Command) -> Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut command).into())
}

#[cfg(not(unix))]
fn replace_process(mut command: std::process::Command) -> Result<()> {
    shell::run(&mut command)
}
