//! From a project to its component.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use gateway_wasm::Facts;

use gateway_component as component;

use super::{
    error::ProjectError,
    manifest::{Manifest, Step},
};
use crate::app;

/// A component that the gateway takes.
pub(crate) struct Built {
    pub component: PathBuf,
    pub facts: Facts,
}

/// What a build is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Use,
    /// While it is written: source lines are left in.
    Writing,
}

/// Runs the project's steps, whose own progress is seen as it comes, and looks at what they made. `tell` gets
/// each command line.
///
/// # Errors
///
/// Something is missing, with the command that installs it; a step failed; what was made is no plugin.
pub(crate) fn build(folder: &Path, purpose: Purpose, mut tell: impl FnMut(&str)) -> Result<Built, ProjectError> {
    let manifest = Manifest::read(folder)?;
    let wit = || {
        let made = component::wit(&manifest.exports, &manifest.imports, manifest.owned_handles);
        made.map_err(|error| ProjectError::Component(folder.join(super::MANIFEST_FILE), error))
    };
    if let Some(place) = &manifest.wit {
        write(&folder.join(place).join("plugin.wit"), wit()?.as_bytes())?;
    }
    for made in manifest.module.iter().chain([&manifest.component]) {
        // Not every compiler makes the folder of what it writes.
        let place = folder.join(made);
        let parent = place.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(ProjectError::io(parent))?;
    }
    for step in &manifest.build {
        let line = step.run.join(" ");
        if is_done(folder, step) {
            continue;
        }
        needs(step)?;
        tell(&line);
        let Some((program, arguments)) = step.run.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(arguments).envs(&step.env).current_dir(folder);
        if purpose == Purpose::Writing {
            command.envs(&step.dev_env);
        }
        let status = command.status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(ProjectError::Step(line, status)),
            Err(error) => return Err(ProjectError::StepNotStarted(line, error)),
        }
    }
    let component = folder.join(&manifest.component);
    if let Some(module) = &manifest.module {
        let module = folder.join(module);
        let bytes = fs::read(&module).map_err(|error| ProjectError::NoModule(module.clone(), error))?;
        let lean = if purpose == Purpose::Use { component::without_debug_info(&bytes) } else { bytes };
        let made = component::component(&lean, &wit()?);
        write(&component, &made.map_err(|error| ProjectError::Component(module, error))?)?;
    }
    if !component.is_file() {
        return Err(ProjectError::NoComponent(component));
    }
    if manifest.owned_handles {
        let bytes = fs::read(&component).map_err(ProjectError::io(&component))?;
        compare(&manifest.exports, &component::marked_phases(&bytes))?;
    }
    let facts = app::inspect(&component)?;
    Ok(Built { component, facts })
}

/// A module of JavaScript has to export what `exports` names, and nothing else. Marks are there if its SDK is used.
fn compare(exports: &[String], marked: &[&str]) -> Result<(), ProjectError> {
    if marked.is_empty() {
        return Ok(());
    }
    let is_phase = |name: &&String| *name != "lifecycle";
    let absent = marked.iter().find(|phase| !exports.iter().any(|name| name == *phase));
    if let Some(phase) = absent {
        let (name, file) = (camel_case(phase), super::MANIFEST_FILE);
        let why = format!("the module exports {name}, but `exports` in {file} does not name {phase}");
        return Err(ProjectError::Exports(why));
    }
    if let Some(phase) = exports.iter().filter(is_phase).find(|name| !marked.contains(&name.as_str())) {
        let (name, file) = (camel_case(phase), super::MANIFEST_FILE);
        let why = format!("`exports` in {file} names {phase}, but the module does not export {name}");
        return Err(ProjectError::Exports(why));
    }
    Ok(())
}

/// The name in JavaScript of an interface.
fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |made, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        made + &initial.to_ascii_uppercase() + rest
    })
}

/// Writes a file, with its folder, if that changes it: its modification time stays meaningful.
fn write(file: &Path, bytes: &[u8]) -> Result<(), ProjectError> {
    if fs::read(file).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(file, bytes));
    written.map_err(ProjectError::io(file))
}

/// What the step makes is there, and newer than what it is made from.
fn is_done(folder: &Path, step: &Step) -> bool {
    let age = |path: &PathBuf| fs::metadata(folder.join(path)).and_then(|found| found.modified());
    let Some(Ok(made)) = step.creates.as_ref().map(age) else { return false };
    step.from.iter().all(|file| age(file).is_ok_and(|changed| changed <= made))
}

/// Says what a step lacks before it fails for want of it.
fn needs(step: &Step) -> Result<(), ProjectError> {
    let Some(program) = step.run.first() else { return Ok(()) };
    let found = Path::new(program).is_absolute() || program.contains('/') || in_path(program);
    if !found {
        return Err(ProjectError::NoProgram(program.clone(), step.install.clone()));
    }
    if let Some(target) = &step.rust_target
        && !has_target(target).map_err(ProjectError::Targets)?
    {
        return Err(ProjectError::NoTarget(target.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_of_javascript_exports_is_compared_with_the_project() {
        let exports = ["request-filter".to_owned(), "lifecycle".to_owned()];
        assert!(compare(&exports, &["request-filter"]).is_ok());
        assert!(compare(&exports, &[]).is_ok(), "without the SDK");
        let error = compare(&exports, &["request-filter", "request-body-filter"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the module exports requestBodyFilter, but `exports` in plugin.yaml does not name request-body-filter"
        );
        let error = compare(&exports, &["observer"]).unwrap_err().to_string();
        assert!(error.starts_with("the module exports observer"), "{error}");
        let exports = ["observer".to_owned(), "response-filter".to_owned()];
        let error = compare(&exports, &["observer"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`exports` in plugin.yaml names response-filter, but the module does not export responseFilter"
        );
    }
}
