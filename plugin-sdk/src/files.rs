//! Files that the operator named for plugins, granted by name: descriptions of services, tables, lists. A change of one
//! makes the gateway configure its plugins anew, so read them in [`Plugin::new`](crate::Plugin::new).

use std::fmt;

use crate::host;

/// The whole file.
///
/// # Errors
///
/// No such file, or not granted.
pub fn get(name: &str) -> Result<Vec<u8>, FileError> {
    host::file(name)
}

/// Why a file could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileError {
    /// No such file, or not granted.
    Denied(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Denied(name) = self;
        write!(f, "no file `{name}`, or it is not granted: name it under `files`, as in `files: {{ {name}: PATH }}`")
    }
}

impl std::error::Error for FileError {}
