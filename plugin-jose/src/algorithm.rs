//! The signature algorithms of JOSE, by their names.

use std::{fmt, str::FromStr};

use plugin_sdk::crypto::{self, CryptoError};

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm(pub crypto::Algorithm);

/// Every name that a configuration or a key may have.
pub const NAMES: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519",
];

impl Algorithm {
    /// As [`crypto::verify`].
    ///
    /// # Errors
    ///
    /// See [`CryptoError`].
    pub fn verify(self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
        crypto::verify(self.0, key, message, signature)
    }

    /// Whether its keys are RSA keys.
    pub fn is_rsa(self) -> bool {
        use crypto::Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(self.0, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
    }
}

impl FromStr for Algorithm {
    type Err = CryptoError;

    /// `Ed25519` (RFC 9864 §2.2) is `EdDSA` with the one curve that is supported.
    fn from_str(name: &str) -> Result<Self, CryptoError> {
        match name {
            "Ed25519" => Ok(Self(crypto::Algorithm::EdDsa)),
            name => name.parse().map(Self),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
