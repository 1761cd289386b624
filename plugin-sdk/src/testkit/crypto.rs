//! Cryptography and passwords, as the gateway computes them.

use gateway_rules::crypto::{self, KeyCache, KeyRef};

use super::host::state;
use crate::crypto::{Algorithm, Cipher, CryptoError, HashFunction, Key, PasswordError};

/// Computes with a key, if the test grants it.
fn with_key<T>(
    key: Key<'_>,
    compute: impl FnOnce(KeyRef<'_>) -> Result<T, crypto::CryptoError>,
) -> Result<T, CryptoError> {
    let computed = match key {
        Key::Bytes(bytes) => compute(KeyRef::Bytes(bytes)),
        Key::Secret(name) => {
            let value = state(|state| {
                state.granted(name).map_err(|_| CryptoError::Denied(name.to_owned()))?;
                let value = state.secrets_to_use.get(name).or_else(|| state.secrets.get(name));
                value.cloned().ok_or_else(|| CryptoError::Missing(name.to_owned()))
            })?;
            compute(KeyRef::Secret { name, value: &value })
        }
    };
    computed.map_err(told)
}

pub(crate) fn verify(
    algorithm: Algorithm,
    key: Key<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    with_key(key, |key| KeyCache::default().verify(known(algorithm), key, message, signature))
}

pub(crate) fn sign(algorithm: Algorithm, key: Key<'_>, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    with_key(key, |key| KeyCache::default().sign(known(algorithm), key, message))
}

pub(crate) fn encrypt(
    cipher: Cipher,
    key: Key<'_>,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    with_key(key, |key| crypto::encrypt(cipher.into(), key.bytes(), plaintext, associated_data))
}

pub(crate) fn decrypt(
    cipher: Cipher,
    key: Key<'_>,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    with_key(key, |key| crypto::decrypt(cipher.into(), key.bytes(), ciphertext, associated_data))
}

pub(crate) fn derive_key(
    hash: HashFunction,
    key: Key<'_>,
    salt: &[u8],
    info: &[u8],
    length: u32,
) -> Result<Vec<u8>, CryptoError> {
    with_key(key, |key| crypto::derive_key(hash.into(), key.bytes(), salt, info, length as usize))
}

pub(crate) fn digest(hash: HashFunction, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    crypto::digest(hash.into(), data).map_err(told)
}

pub(crate) fn random_bytes(length: u32) -> Result<Vec<u8>, CryptoError> {
    crypto::random_bytes(length as usize).map_err(told)
}

fn told(error: crypto::CryptoError) -> CryptoError {
    match error {
        crypto::CryptoError::Key(error) => CryptoError::MalformedKey(error.to_string()),
        crypto::CryptoError::TooLarge(limit) => CryptoError::TooLarge(limit as u64),
        crypto::CryptoError::NotAuthentic => CryptoError::NotAuthentic,
        crypto::CryptoError::Failed(what) => CryptoError::Other(what.to_owned()),
    }
}

fn known(algorithm: Algorithm) -> crypto::Algorithm {
    match algorithm {
        Algorithm::Hs256 => crypto::Algorithm::Hs256,
        Algorithm::Hs384 => crypto::Algorithm::Hs384,
        Algorithm::Hs512 => crypto::Algorithm::Hs512,
        Algorithm::Rs256 => crypto::Algorithm::Rs256,
        Algorithm::Rs384 => crypto::Algorithm::Rs384,
        Algorithm::Rs512 => crypto::Algorithm::Rs512,
        Algorithm::Ps256 => crypto::Algorithm::Ps256,
        Algorithm::Ps384 => crypto::Algorithm::Ps384,
        Algorithm::Ps512 => crypto::Algorithm::Ps512,
        Algorithm::Es256 => crypto::Algorithm::Es256,
        Algorithm::Es384 => crypto::Algorithm::Es384,
        Algorithm::Es512 => crypto::Algorithm::Es512,
        Algorithm::EdDsa => crypto::Algorithm::EdDsa,
    }
}

impl From<Cipher> for crypto::Cipher {
    fn from(cipher: Cipher) -> Self {
        match cipher {
            Cipher::Aes128Gcm => Self::Aes128Gcm,
            Cipher::Aes256Gcm => Self::Aes256Gcm,
            Cipher::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

impl From<HashFunction> for crypto::Hash {
    fn from(hash: HashFunction) -> Self {
        match hash {
            HashFunction::Sha256 => Self::Sha256,
            HashFunction::Sha384 => Self::Sha384,
            HashFunction::Sha512 => Self::Sha512,
        }
    }
}

pub(super) fn check_password_hash(hash: &str) -> Result<(), PasswordError> {
    crypto::check_password_hash(hash).map_err(|error| PasswordError::MalformedHash(error.to_string()))
}

pub(super) fn verify_password(hash: &str, password: &[u8]) -> bool {
    crypto::verify_password(hash, password)
}
