//! The gateway's cryptography, through the component's imports.

use super::generated::imports::gateway::plugin::crypto as raw;
use crate::crypto::{Algorithm, Cipher, CryptoError, HashFunction, Key};

pub(crate) fn verify(
    algorithm: Algorithm,
    key: Key<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    raw::verify(raw_algorithm(algorithm), &raw_key(key), message, signature).map_err(error)
}

pub(crate) fn sign(algorithm: Algorithm, key: Key<'_>, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    raw::sign(raw_algorithm(algorithm), &raw_key(key), message).map_err(error)
}

pub(crate) fn encrypt(
    cipher: Cipher,
    key: Key<'_>,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    raw::encrypt(raw_cipher(cipher), &raw_key(key), plaintext, associated_data).map_err(error)
}

pub(crate) fn decrypt(
    cipher: Cipher,
    key: Key<'_>,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    raw::decrypt(raw_cipher(cipher), &raw_key(key), ciphertext, associated_data).map_err(error)
}

pub(crate) fn derive_key(
    hash: HashFunction,
    key: Key<'_>,
    salt: &[u8],
    info: &[u8],
    length: u32,
) -> Result<Vec<u8>, CryptoError> {
    raw::derive_key(raw_hash(hash), &raw_key(key), salt, info, length).map_err(error)
}

pub(crate) fn digest(hash: HashFunction, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    raw::digest(raw_hash(hash), data).map_err(error)
}

pub(crate) fn random_bytes(length: u32) -> Result<Vec<u8>, CryptoError> {
    raw::random_bytes(length).map_err(error)
}

fn raw_key(key: Key<'_>) -> raw::Key {
    match key {
        Key::Bytes(bytes) => raw::Key::Bytes(bytes.to_vec()),
        Key::Secret(name) => raw::Key::Secret(name.to_owned()),
    }
}

fn raw_algorithm(algorithm: Algorithm) -> raw::Algorithm {
    match algorithm {
        Algorithm::Hs256 => raw::Algorithm::Hs256,
        Algorithm::Hs384 => raw::Algorithm::Hs384,
        Algorithm::Hs512 => raw::Algorithm::Hs512,
        Algorithm::Rs256 => raw::Algorithm::Rs256,
        Algorithm::Rs384 => raw::Algorithm::Rs384,
        Algorithm::Rs512 => raw::Algorithm::Rs512,
        Algorithm::Ps256 => raw::Algorithm::Ps256,
        Algorithm::Ps384 => raw::Algorithm::Ps384,
        Algorithm::Ps512 => raw::Algorithm::Ps512,
        Algorithm::Es256 => raw::Algorithm::Es256,
        Algorithm::Es384 => raw::Algorithm::Es384,
        Algorithm::Es512 => raw::Algorithm::Es512,
        Algorithm::EdDsa => raw::Algorithm::Eddsa,
    }
}

fn raw_cipher(cipher: Cipher) -> raw::Cipher {
    match cipher {
        Cipher::Aes128Gcm => raw::Cipher::Aes128Gcm,
        Cipher::Aes256Gcm => raw::Cipher::Aes256Gcm,
        Cipher::ChaCha20Poly1305 => raw::Cipher::Chacha20Poly1305,
    }
}

fn raw_hash(hash: HashFunction) -> raw::Hash {
    match hash {
        HashFunction::Sha256 => raw::Hash::Sha256,
        HashFunction::Sha384 => raw::Hash::Sha384,
        HashFunction::Sha512 => raw::Hash::Sha512,
    }
}

fn error(error: raw::CryptoError) -> CryptoError {
    match error {
        raw::CryptoError::Denied(name) => CryptoError::Denied(name),
        raw::CryptoError::Missing(name) => CryptoError::Missing(name),
        raw::CryptoError::MalformedKey(why) => CryptoError::MalformedKey(why),
        raw::CryptoError::Unsupported => CryptoError::Unsupported,
        raw::CryptoError::TooLarge(limit) => CryptoError::TooLarge(limit),
        raw::CryptoError::NotAuthentic => CryptoError::NotAuthentic,
        raw::CryptoError::Other(why) => CryptoError::Other(why),
    }
}
