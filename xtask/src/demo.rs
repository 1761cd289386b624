//! `cargo xtask demo`: from a fresh checkout to a gateway that answers.

use std::{process::Command, thread};

use anyhow::{Context, Result, anyhow};
use component_build::PREBUILT;

use crate::{
    components,
    shell::{self, cargo, target_dir},
    toolchain::ensure_wasm_target,
};

/// The workspace's profile that is soon built.
const PROFILE: &str = "demo";

pub fn run(args: &[String]) -> Result<()> {
    ensure_wasm_target()?;
    println!("building the gateway and its plugins; the first time takes some minutes");
    // At the same time: near its end each of the two has too little to do for all processors.
    let plugins = thread::spawn(components::standard);
    let gateway = shell::run(cargo().args(["build", "--profile", PROFILE, "--package", "gateway", "--bin", "gateway"]));
    if gateway.is_ok() && !plugins.is_finished() {
        println!("the gateway is built; waiting for its plugins");
    }
    let plugins = plugins.join().map_err(|_| anyhow!("building the plugins has panicked"))?;
    gateway?;
    let plugins = plugins.context("cannot build the plugins")?;
    let gateway = target_dir()?.join(PROFILE).join("gateway");
    let mut demo = Command::new(&gateway);
    demo.arg("demo").args(args).env(PREBUILT, plugins.folder());
    replace_process(demo).with_context(|| format!("cannot start {}", gateway.display()))
}

/// The gateway takes this process's place, so that signals reach it.
#[cfg(unix)]
fn replace_process(mut command: Command) -> Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut command).into())
}

#[cfg(not(unix))]
fn replace_process(mut command: Command) -> Result<()> {
    shell::run(&mut command)
}
