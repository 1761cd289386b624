//! `cargo xtask dashboard`: the three files that the gateway has inside, from the folder `dashboard`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::shell::{self, find, root};

const FILES: [&str; 3] = ["index.html", "dashboard.js", "dashboard.css"];

fn folder() -> PathBuf {
    root().join("dashboard")
}

fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder()).env("NO_UPDATE_NOTIFIER", "1");
    npm
}

/// What its build and its tests need, in the versions of its lock file.
pub fn install() -> Result<()> {
    ensure!(find("npm").is_some(), "npm is missing, which comes with Node.js 20.19 or later");
    shell::run(npm().args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]))
}

/// Builds it anew.
pub fn run() -> Result<()> {
    install()?;
    shell::run(npm().args(["run", "build"]))
}

/// That what is inside the gateway is what its source makes.
pub fn check() -> Result<()> {
    let kept = folder().join("dist");
    let made = tempfile::tempdir()?;
    shell::run(npm().args(["run", "build", "--", "--outDir"]).arg(made.path()))?;
    for file in FILES {
        let read = |path: PathBuf| fs::read(&path).with_context(|| path.display().to_string());
        let same = read(kept.join(file))? == read(made.path().join(file))?;
        ensure!(same, "dashboard/dist/{file} is not what dashboard/src makes: run `cargo xtask dashboard`");
    }
    Ok(())
}
