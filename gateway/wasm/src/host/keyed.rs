//! Signatures, encryption and derived keys, with a key that the guest gives or one that it only names.

use gateway_rules::crypto::{self, KeyRef};
use wasmtime::Result;

use crate::{
    bindings::{
        crypto::{Algorithm, Cipher, CryptoError, Hash, Key},
        secrets::SecretError,
    },
    instance::state::State,
};

type Computed<T> = Result<std::result::Result<T, CryptoError>>;

/// Computes with a key, if the guest may use it.
fn with_key<T>(
    state: &mut State,
    key: &Key,
    compute: impl FnOnce(&mut State, KeyRef<'_>) -> std::result::Result<T, crypto::CryptoError>,
) -> Computed<T> {
    let computed = match key {
        Key::Bytes(bytes) => Ok(compute(state, KeyRef::Bytes(bytes))),
        Key::Secret(name) => state.with_secret(name, |state, value| compute(state, KeyRef::Secret { name, value }))?,
    };
    Ok(match computed {
        Ok(computed) => computed.map_err(told),
        Err(SecretError::Denied(name)) => Err(CryptoError::Denied(name)),
        Err(SecretError::Missing) => Err(CryptoError::Missing(match key {
            Key::Secret(name) => name.clone(),
            Key::Bytes(_) => String::new(),
        })),
    })
}

pub(super) fn verify(
    state: &mut State,
    algorithm: Algorithm,
    key: Key,
    message: &[u8],
    signature: &[u8],
) -> Computed<bool> {
    with_key(state, &key, |state, key| state.keys.verify(algorithm.into(), key, message, signature))
}

pub(super) fn sign(state: &mut State, algorithm: Algorithm, key: Key, message: &[u8]) -> Computed<Vec<u8>> {
    with_key(state, &key, |state, key| state.keys.sign(algorithm.into(), key, message))
}

pub(super) fn encrypt(
    state: &mut State,
    cipher: Cipher,
    key: Key,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Computed<Vec<u8>> {
    with_key(state, &key, |_, key| crypto::encrypt(cipher.into(), key.bytes(), plaintext, associated_data))
}

pub(super) fn decrypt(
    state: &mut State,
    cipher: Cipher,
    key: Key,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Computed<Vec<u8>> {
    with_key(state, &key, |_, key| crypto::decrypt(cipher.into(), key.bytes(), ciphertext, associated_data))
}

pub(super) fn derive_key(
    state: &mut State,
    hash: Hash,
    key: Key,
    salt: &[u8],
    info: &[u8],
    length: u32,
) -> Computed<Vec<u8>> {
    with_key(state, &key, |_, key| crypto::derive_key(hash.into(), key.bytes(), salt, info, length as usize))
}

pub(super) fn digest(hash: Hash, data: &[u8]) -> std::result::Result<Vec<u8>, CryptoError> {
    crypto::digest(hash.into(), data).map_err(told)
}

pub(super) fn random_bytes(length: u32) -> std::result::Result<Vec<u8>, CryptoError> {
    crypto::random_bytes(length as usize).map_err(told)
}

/// The same for a guest.
fn told(error: crypto::CryptoError) -> CryptoError {
    match error {
        crypto::CryptoError::Key(error) => CryptoError::MalformedKey(error.to_string()),
        crypto::CryptoError::TooLarge(limit) => CryptoError::TooLarge(limit as u64),
        crypto::CryptoError::NotAuthentic => CryptoError::NotAuthentic,
        crypto::CryptoError::Failed(what) => CryptoError::Other(what.to_owned()),
    }
}

impl From<Algorithm> for crypto::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::Hs256,
            Algorithm::Hs384 => Self::Hs384,
            Algorithm::Hs512 => Self::Hs512,
            Algorithm::Rs256 => Self::Rs256,
            Algorithm::Rs384 => Self::Rs384,
            Algorithm::Rs512 => Self::Rs512,
            Algorithm::Ps256 => Self::Ps256,
            Algorithm::Ps384 => Self::Ps384,
            Algorithm::Ps512 => Self::Ps512,
            Algorithm::Es256 => Self::Es256,
            Algorithm::Es384 => Self::Es384,
            Algorithm::Es512 => Self::Es512,
            Algorithm::Eddsa => Self::EdDsa,
        }
    }
}

impl From<Cipher> for crypto::Cipher {
    fn from(cipher: Cipher) -> Self {
        match cipher {
            Cipher::Aes128Gcm => Self::Aes128Gcm,
            Cipher::Aes256Gcm => Self::Aes256Gcm,
            Cipher::Chacha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

impl From<Hash> for crypto::Hash {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}
