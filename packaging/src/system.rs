//! Programs of the system.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::project::Run;

/// Looks through `PATH` and the folders of an administrator's programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Installs Debian packages, as root; otherwise the error has the command.
pub fn install(packages: &[&str]) -> Result<()> {
    let command = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!("programs are missing; in Debian and Ubuntu `{command}` installs them");
    }
    if Command::new("id").arg("-u").output_text()?.trim() != "0" {
        bail!("programs are missing; install them with\n\n  sudo {command}\n");
    }
    println!("installing the Debian packages {}", packages.join(", "));
    let apt = |args: &[&str]| Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").run();
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}
