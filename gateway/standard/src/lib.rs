//! The standard plugins. They are ordinary components and are loaded as an operator's are.
//!
//! A release build has them inside. Other builds have them built when the first one is needed, or read them from the folder that
//! `GATEWAY_STANDARD_PLUGINS` names, so that neither `cargo check` nor an edit of the gateway compiles WebAssembly.

#![deny(missing_docs)]

#[cfg(not(embedded))]
mod development;
#[cfg(embedded)]
mod embedded;
#[cfg(not(embedded))]
use development as source;
#[cfg(embedded)]
use embedded as source;

use std::path::Path;

pub use component_build::{Error, PREBUILT};

/// Whether the components are inside this build.
pub const EMBEDDED: bool = cfg!(embedded);

/// What the standard plugins are called, in order.
pub fn names() -> &'static [&'static str] {
    include!(concat!(env!("OUT_DIR"), "/names.rs"))
}

/// The component of the standard plugin of this name, if there is one.
///
/// # Errors
///
/// If the components are not inside and can be neither read nor built. The message names the remedy.
pub fn component(name: &str) -> Result<Option<&'static [u8]>, Error> {
    if !names().contains(&name) {
        return Ok(None);
    }
    source::component(name).map(Some)
}

/// The folder that components are read from, once they are there; none if they are inside.
///
/// # Errors
///
/// As [`component`].
pub fn components() -> Result<Option<&'static Path>, Error> {
    source::components()
}
