//! From a project to its component.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::manifest::{Manifest, Step};
use crate::{app, plugin::Facts};

/// A component that the gateway takes.
pub struct Built {
    pub component: PathBuf,
    pub facts: Facts,
}

/// Runs the project's steps, whose own progress is seen as it comes, and looks at what they made. `tell` is told what is run.
///
/// # Errors
///
/// Something is missing, with the command that installs it; a step failed; what was made is no plugin.
pub fn build(folder: &Path, mut tell: impl FnMut(&str)) -> Result<Built, String> {
    let manifest = Manifest::read(folder)?;
    for step in &manifest.build {
        let line = step.run.join(" ");
        needs(step)?;
        tell(&line);
        let Some((program, arguments)) = step.run.split_first() else { continue };
        let status = Command::new(program).args(arguments).current_dir(folder).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("`{line}` ended with {status}")),
            Err(error) => return Err(format!("`{line}` cannot be started: {error}")),
        }
    }
    let component = folder.join(&manifest.component);
    if !component.is_file() {
        let shown = component.display();
        return Err(format!("the build has made no {shown}, which `component` in {} names", super::manifest::FILE));
    }
    let facts = app::inspect(&component)?;
    Ok(Built { component, facts })
}

/// Says what a step lacks before it fails for want of it.
fn needs(step: &Step) -> Result<(), String> {
    let Some(program) = step.run.first() else { return Ok(()) };
    let found = Path::new(program).is_absolute() || program.contains('/') || in_path(program);
    if !found {
        let cure = step.install.as_ref().map(|how| format!(": install it with\n  {how}")).unwrap_or_default();
        return Err(format!("`{program}` is missing{cure}"));
    }
    if let Some(target) = &step.rust_target
        && !has_target(target).map_err(|error| format!("`rustc` cannot be asked for its targets: {error}"))?
    {
        return Err(format!("Rust's target {target} is missing: install it with\n  rustup target add {target}"));
    }
    Ok(())
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_target(target: &str) -> io::Result<bool> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}
