//! Cryptography for plugins: which keys, algorithms and password hashes are accepted, and what is computed with them.
//!
//! The gateway and the test kit call the same functions, so a plugin that passes its tests gets the same results in the gateway.

mod aead;
mod derivation;
mod error;
mod key_cache;
mod passwords;
mod pem;
mod signing;
mod verifying;

#[cfg(test)]
mod tests;

use aws_lc_rs::{digest, hkdf, hmac};

pub use aead::{decrypt, encrypt};
pub use derivation::{derive_key, digest, random_bytes};
pub use error::{CryptoError, KeyError};
pub use key_cache::{KeyCache, KeyRef};
pub use passwords::{HashError, check_password_hash, verify_password};

/// The longest message that is signed, verified, hashed, encrypted or decrypted in one call, in bytes: no call keeps a worker busy
/// for much longer than 10 ms.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// The longest key, in bytes. An RSA key of 8192 bits has less than half of this, also in PEM.
pub const MAX_KEY_BYTES: usize = 16 << 10;
/// The longest salt, info and associated data, in bytes.
pub const MAX_CONTEXT_BYTES: usize = 64 << 10;
/// The most random bytes that one call returns.
pub const MAX_RANDOM_BYTES: usize = 64 << 10;

/// How a signature is made, by its name in JOSE (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// A hash function (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A cipher for authenticated encryption with associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Algorithm {
    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }
}

impl Hash {
    /// The length of its digests, in bytes.
    pub fn length(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
            Self::Sha512 => hkdf::HKDF_SHA512,
        }
    }
}

/// Whether an input is within its bound.
fn check(input: &[u8], limit: usize) -> Result<(), CryptoError> {
    if input.len() > limit { Err(CryptoError::TooLarge(limit)) } else { Ok(()) }
}
