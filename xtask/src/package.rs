//! `cargo xtask package`, which is a program of its own: what it needs would make this one slow to build.

use std::env;

use anyhow::{Context, Result};

use crate::shell::{self, cargo, root, target_dir};

pub fn run(args: &[String]) -> Result<()> {
    // Programs that `cargo xtask test` has installed, such as Go.
    shell::add_to_path(target_dir()?.join("tools/bin"));
    // File names among the arguments are relative to the folder where this was called.
    let here = env::current_dir().context("there is no current folder")?;
    let manifest = root().join("Cargo.toml");
    let mut package = cargo();
    package.current_dir(here).args(["run", "--quiet", "--package", "packaging", "--manifest-path"]).arg(manifest);
    shell::run(package.arg("--").args(args))
}
