//! The standard plugins, embedded. They are ordinary components: they come in by the same door as a user's.

#![deny(missing_docs)]

/// Name and component of each standard plugin; the build script makes the table.
pub fn builtins() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/builtin.rs"))
}

/// The standard plugin of this name.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    builtins().iter().find(|(builtin, _)| *builtin == name).map(|(_, bytes)| *bytes)
}
