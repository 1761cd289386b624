//! The target that plugins are compiled for.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::shell::{find, output, root, run};

const TARGET: &str = "wasm32-wasip2";

/// Installs the target if it is missing.
pub fn ensure_wasm_target() -> Result<()> {
    if has_target()? {
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!("the target {TARGET} is missing, and there is no rustup to install it; see https://rustup.rs");
    }
    println!("installing the target {TARGET}");
    let mut rustup = Command::new("rustup");
    run(rustup.args(["target", "add", TARGET]).current_dir(root()).stdin(Stdio::null()))
        .with_context(|| format!("cannot install {TARGET}"))
}

fn has_target() -> Result<bool> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir())
}
