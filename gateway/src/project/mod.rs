//! Plugins as projects: `gateway plugin new` writes one, `gateway plugin build` makes a component of it.

mod build;
mod manifest;
mod new;
mod sources;

pub use build::{Built, Purpose, build};
pub use manifest::Manifest;
pub use new::{Language, new};
pub use sources::Sources;
