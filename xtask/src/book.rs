//! `cargo xtask book` and `cargo xtask reference`.

use std::{ffi::OsStr, process::Command};

use anyhow::Result;

use crate::shell::{self, cargo, target_dir};

/// The book, in the target folder.
pub fn run() -> Result<()> {
    call(target_dir()?.join("book"))
}

/// The reference of the configuration file, in docs/reference.
pub fn reference() -> Result<()> {
    call("--reference")
}

fn call(argument: impl AsRef<OsStr>) -> Result<()> {
    // With the features that tests need too, so that nothing is built twice.
    shell::run(cargo().args(["build", "--quiet", "--workspace", "--bin", "book"]))?;
    shell::run(Command::new(target_dir()?.join("debug/book")).arg(argument))
}
