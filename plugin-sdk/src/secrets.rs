//! Values that the operator keeps out of the configuration, granted by name.

use std::fmt;

use crate::host;

/// The bytes of a secret.
///
/// # Errors
///
/// See [`SecretError`].
pub fn get(name: &str) -> Result<Vec<u8>, SecretError> {
    host::secret(name)
}

/// Why a secret could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// No such secret, or not granted, or granted with `use`: such a secret is a [key](crate::crypto::Key) and cannot be read.
    Denied(String),
    /// The operator named a source that has no value.
    Missing,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "secret denied: {why}"),
            Self::Missing => f.write_str("the secret has no value"),
        }
    }
}

impl std::error::Error for SecretError {}
