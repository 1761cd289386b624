//! `plugin.yaml`: how a project becomes a component, whatever its language.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Its name in the project's folder.
pub const FILE: &str = "plugin.yaml";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// What the build makes, from the project's folder.
    pub component: PathBuf,
    /// What is run, one after another, in the project's folder.
    pub build: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// A program and its arguments; no shell looks at it.
    pub run: Vec<String>,
    /// How to install the program, for who lacks it.
    pub install: Option<String>,
    /// A target of Rust's that it needs.
    pub rust_target: Option<String>,
}

impl Manifest {
    /// Reads a project's.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood; with its name.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        let named = |why: String| format!("{}: {why}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| named(error.to_string()))?;
        let manifest: Self = serde_yaml::from_str(&text).map_err(|error| named(error.to_string()))?;
        if manifest.build.iter().any(|step| step.run.is_empty()) {
            return Err(named("a step's `run` names no program".to_owned()));
        }
        Ok(manifest)
    }
}
