//! Components that the build script has embedded.

use std::path::Path;

use super::Error;

const COMPONENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/components.rs"));

pub(super) fn components() -> Result<Option<&'static Path>, Error> {
    Ok(None)
}

pub(super) fn component(name: &str) -> Result<&'static [u8], Error> {
    let found = COMPONENTS.iter().find(|(embedded, _)| *embedded == name);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| Error::new(format!("`{name}` is not embedded")))
}
