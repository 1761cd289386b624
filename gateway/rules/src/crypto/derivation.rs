//! Digests, keys that are derived from others, and random bytes.

use aws_lc_rs::{digest as digests, hkdf, rand};

use super::{
    CryptoError, Hash, KeyError, MAX_CONTEXT_BYTES, MAX_KEY_BYTES, MAX_MESSAGE_BYTES, MAX_RANDOM_BYTES, check,
};

/// The digest of some data.
///
/// # Errors
///
/// The data is too long.
pub fn digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    check(data, MAX_MESSAGE_BYTES)?;
    Ok(digests::digest(hash.digest(), data).as_ref().to_vec())
}

/// Derives a key of `length` bytes from another one (HKDF, RFC 5869).
///
/// # Errors
///
/// An input is too long, or the length is over 255 digests (RFC 5869 §2.3).
pub fn derive_key(hash: Hash, key: &[u8], salt: &[u8], info: &[u8], length: usize) -> Result<Vec<u8>, CryptoError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLarge.into());
    }
    check(salt, MAX_CONTEXT_BYTES)?;
    check(info, MAX_CONTEXT_BYTES)?;
    let limit = 255 * hash.length();
    if length > limit {
        return Err(CryptoError::TooLarge(limit));
    }
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut derived = vec![0; length];
    let filled = hkdf::Salt::new(hash.hkdf(), salt)
        .extract(key)
        .expand(&[info], Length(length))
        .and_then(|material| material.fill(&mut derived));
    filled.map(|()| derived).map_err(|_| CryptoError::Failed("no key was derived"))
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Bytes of the system's random number generator.
///
/// # Errors
///
/// Too many are asked for.
pub fn random_bytes(length: usize) -> Result<Vec<u8>, CryptoError> {
    if length > MAX_RANDOM_BYTES {
        return Err(CryptoError::TooLarge(MAX_RANDOM_BYTES));
    }
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).map_err(|_| CryptoError::Failed("the system has no random bytes"))?;
    Ok(bytes)
}
