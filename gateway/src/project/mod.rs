//! Plugins as projects: `gateway plugin new` writes one, `gateway plugin build` makes a component of it.

mod build;
mod error;
mod manifest;
mod new;
mod sources;

pub(crate) use build::{Purpose, build};
pub(crate) use new::{Language, new};
pub(crate) use sources::Sources;

/// The name of a project's manifest, in the project's folder.
const MANIFEST_FILE: &str = "plugin.yaml";
