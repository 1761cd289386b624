//! `plugin.yaml`: how a project becomes a component, whatever its language.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    MANIFEST_FILE,
    error::{ManifestError, ProjectError},
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Manifest {
    #[expect(dead_code, reason = "for people who read the file: the component says its own name")]
    pub name: String,
    /// What the build makes, from the project's folder.
    pub component: PathBuf,
    /// The interfaces of the gateway that it exports, besides `lifecycle`.
    #[serde(default)]
    pub exports: Vec<String>,
    /// The interfaces of the gateway that it may import, besides `http`.
    #[serde(default)]
    pub imports: Vec<String>,
    /// A folder that the interface is written into before the steps, with a world `project` of these exports and imports.
    pub wit: Option<PathBuf>,
    /// The phases in `wit` own the request and the response, for tools that would give borrowed ones back too late.
    #[serde(default)]
    pub owned_handles: bool,
    /// A core module that the steps make, and that becomes the component.
    pub module: Option<PathBuf>,
    /// What is run, one after another, in the project's folder.
    pub build: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Step {
    /// A program and its arguments; no shell looks at it.
    pub run: Vec<String>,
    /// Variables of its environment, beside those that there are.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// And those of a build for `gateway plugin dev`, such as for a component that tells source lines.
    #[serde(default)]
    pub dev_env: BTreeMap<String, String>,
    /// How to install the program, for who lacks it.
    pub install: Option<String>,
    /// A target of Rust's that it needs.
    pub rust_target: Option<String>,
    /// What it makes: it is left out where that is there already, and not older than any file of `from`.
    pub creates: Option<PathBuf>,
    #[serde(default)]
    pub from: Vec<PathBuf>,
}

impl Manifest {
    /// Reads a project's.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood; with its name.
    pub(crate) fn read(folder: &Path) -> Result<Self, ProjectError> {
        let file = folder.join(MANIFEST_FILE);
        let text = fs::read_to_string(&file).map_err(ProjectError::io(&file))?;
        Self::parse(&text).map_err(|error| ProjectError::Manifest(file, error))
    }

    fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_yaml::from_str(text).map_err(Box::new)?;
        if manifest.build.iter().any(|step| step.run.is_empty()) {
            return Err(ManifestError::NoProgram);
        }
        if (manifest.wit.is_some() || manifest.module.is_some()) && manifest.exports.is_empty() {
            return Err(ManifestError::NoExports);
        }
        Ok(manifest)
    }
}
