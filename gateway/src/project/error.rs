//! Why a project is not made, read, built or watched.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use gateway_component::ComponentError;
use thiserror::Error;

use super::MANIFEST_FILE;
use crate::app::InspectError;

/// Why a project is not made, read, built or watched; what is missing has the command that installs it.
#[derive(Debug, Error)]
pub(crate) enum ProjectError {
    #[error("`{0}` is no name for a plugin: lower-case letters, digits and dashes, a letter first")]
    Name(String),
    #[error("{}: is there already", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be read, written or made.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Manifest(PathBuf, #[source] ManifestError),
    /// The interface or the component cannot be made of what is in the file.
    #[error("{}: {}", .0.display(), .1)]
    Component(PathBuf, #[source] ComponentError),
    #[error("`{0}` is missing{install}", install = .1.as_ref().map(|how| format!(": install it with\n  {how}")).unwrap_or_default())]
    NoProgram(String, Option<String>),
    #[error("`rustc` cannot be asked for its targets: {0}")]
    Targets(#[source] io::Error),
    #[error("Rust's target {0} is missing: install it with\n  rustup target add {0}")]
    NoTarget(String),
    #[error("`{0}` ended with {1}")]
    Step(String, ExitStatus),
    #[error("`{0}` cannot be started: {1}")]
    StepNotStarted(String, #[source] io::Error),
    #[error("the build has made no {}: {}", .0.display(), .1)]
    NoModule(PathBuf, #[source] io::Error),
    #[error("the build has made no {}, which `component` in {MANIFEST_FILE} names", .0.display())]
    NoComponent(PathBuf),
    /// `exports` and the module do not agree; the text names the phase.
    #[error("{0}")]
    Exports(String),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("cannot watch {}: {}", .0.display(), .1)]
    Watch(PathBuf, #[source] notify::Error),
}

/// What is wrong with a `plugin.yaml`.
#[derive(Debug, Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    Malformed(#[from] Box<serde_yaml::Error>),
    #[error("a step's `run` names no program")]
    NoProgram,
    #[error("`exports` is missing: the phases that the plugin takes part in, such as request-filter")]
    NoExports,
}

impl ProjectError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io(path, error)
    }
}
