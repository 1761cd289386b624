//! The signature algorithms of JOSE, by their names.

use std::{fmt, str::FromStr};

use plugin_sdk::crypto::{self, CryptoError};

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Known(crypto::Algorithm),
    /// ECDSA on P-521 with SHA-512. The gateway's interface has no name for it: there it is [`crypto::Algorithm::Es384`]
    /// with a key on P-521.
    Es512,
}

/// Every name that a configuration or a key may have.
pub(crate) const NAMES: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519",
];

impl Algorithm {
    /// As [`crypto::verify`].
    pub(crate) fn verify(self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
        let known = match self {
            Self::Known(known) => known,
            Self::Es512 => crypto::Algorithm::Es384,
        };
        crypto::verify(known, key, message, signature)
    }

    pub(crate) fn is_rsa(self) -> bool {
        use crypto::Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(self, Self::Known(Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512))
    }
}

impl FromStr for Algorithm {
    type Err = CryptoError;

    /// `Ed25519` (RFC 9864 §2.2) is `EdDSA` with the one curve that is supported.
    fn from_str(name: &str) -> Result<Self, CryptoError> {
        match name {
            "ES512" => Ok(Self::Es512),
            "Ed25519" => Ok(Self::Known(crypto::Algorithm::EdDsa)),
            name => name.parse().map(Self::Known),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(f),
            Self::Es512 => f.write_str("ES512"),
        }
    }
}
