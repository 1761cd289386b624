//! The cargo that compiles components.

use std::{
    env,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Error, Package, Place, Profile};

const TARGET: &str = "wasm32-wasip2";

/// Builds the packages, all at once, and gives the paths of their components, in the same order.
pub(super) fn build(place: &Place, packages: &[Package], profile: Profile, quiet: bool) -> Result<Vec<PathBuf>, Error> {
    require_target(place.workspace())?;
    let mut cargo = cargo(place, profile);
    for package in packages {
        cargo.args(["--package", &package.name]);
    }
    // A person at a terminal sees cargo's progress; others see its messages only if it fails.
    let shown = !quiet && io::stderr().is_terminal();
    let stderr = if shown { Stdio::inherit() } else { Stdio::piped() };
    let child = cargo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    let output = child.and_then(|child| child.wait_with_output());
    let output = output.map_err(|error| Error::new(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        let names = packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ");
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("building {names} for {TARGET} failed\n{messages}").trim_end()));
    }
    let folder = place.components().join(TARGET).join(profile.name());
    let paths = packages.iter().map(|package| {
        let path = folder.join(package.name.replace('-', "_") + ".wasm");
        let missing = || Error::new(format!("{} is not built as a cdylib: no {}", package.name, path.display()));
        path.is_file().then_some(path.clone()).ok_or_else(missing)
    });
    paths.collect()
}

fn cargo(place: &Place, profile: Profile) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(place.workspace())
        .args(["build", "--target", TARGET, "--profile", profile.name(), "--target-dir"])
        .arg(place.components());
    // These are of the build outside, whose target is another machine and whose compiler may be clippy. The profiles say whether
    // to compile incrementally.
    for name in [
        "CARGO_INCREMENTAL",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_PRIMARY_PACKAGE",
    ] {
        cargo.env_remove(name);
    }
    cargo
}

/// Without the target's standard library rustc would complain about every crate, and not name the remedy.
fn require_target(workspace: &Path) -> Result<(), Error> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(workspace)
        .output()
        .map_err(|error| Error::new(format!("cannot start rustc: {error}")))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    Err(Error::new(format!(
        "the target {TARGET} is not installed: run `rustup target add {TARGET}`, or `cargo xtask demo`, which does it"
    )))
}
