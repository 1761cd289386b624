//! Plugins as projects: `gateway plugin new` writes one, `gateway plugin build` makes a component of it.

mod build;
mod error;
mod manifest;
mod new;
mod sources;

pub(crate) use build::{Purpose, build};
pub(crate) use new::{Language, new};
pub(crate) use sources::Sources;
