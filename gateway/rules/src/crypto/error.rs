//! Why something could not be computed. No text contains any part of a key.

use std::fmt;

use super::MAX_KEY_BYTES;

/// Why nothing was signed, verified, encrypted, decrypted or derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoError {
    /// The key cannot be used with the algorithm.
    Key(KeyError),
    /// An input, or the output that was asked for, is longer than this limit, in bytes.
    TooLarge(usize),
    /// What is decrypted was not encrypted with this key and this associated data, or has changed since. It never says which, so
    /// that the error tells an attacker nothing.
    NotAuthentic,
    /// The library failed.
    Failed(&'static str),
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::TooLarge(limit) => write!(f, "over {limit} bytes"),
            Self::NotAuthentic => f.write_str("the ciphertext is not authentic"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<KeyError> for CryptoError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is too large.
    TooLarge,
    /// It is not a public key of the algorithm's.
    NotPublic,
    /// It is not a private key of the algorithm's.
    NotPrivate,
    /// It is an RSA key with too few bits.
    Weak {
        /// How many it has.
        bits: usize,
        /// How many it needs.
        least: usize,
    },
    /// It is an RSA key with more bits than may be used for signing.
    Slow {
        /// How many it has.
        bits: usize,
        /// How many it may have.
        most: usize,
    },
    /// A key of the cipher has another length.
    Length {
        /// How many bytes it has.
        bytes: usize,
        /// How many it needs.
        needs: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "over {MAX_KEY_BYTES} bytes"),
            Self::NotPublic => f.write_str("not a SubjectPublicKeyInfo of the algorithm's kind, in DER or PEM"),
            Self::NotPrivate => f.write_str("not a PKCS#8 private key of the algorithm's kind, in DER or PEM"),
            Self::Weak { bits, least } => write!(f, "an RSA key of {bits} bits is too weak: {least} at least"),
            Self::Slow { bits, most } => {
                write!(f, "an RSA key of {bits} bits is too slow to sign with: {most} at most")
            }
            Self::Length { bytes, needs } => write!(f, "a key of {bytes} bytes, needs {needs} bytes or their base64"),
        }
    }
}

impl std::error::Error for KeyError {}
