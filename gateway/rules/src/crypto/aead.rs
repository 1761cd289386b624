//! Authenticated encryption with associated data (RFC 5116), with nonces of its own.

use std::borrow::Cow;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};

use super::{Cipher, CryptoError, KeyError, MAX_CONTEXT_BYTES, MAX_KEY_BYTES, MAX_MESSAGE_BYTES, check, pem};

const FAILED: CryptoError = CryptoError::Failed("nothing was encrypted");

/// Encrypts. The result is a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes.
///
/// # Errors
///
/// The key has another length than the cipher's keys, or an input is too long.
pub fn encrypt(cipher: Cipher, key: &[u8], plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = prepared(cipher, key, associated_data)?;
    check(plaintext, MAX_MESSAGE_BYTES)?;
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| FAILED)?;
    seal(&key, nonce, plaintext, associated_data)
}

fn seal(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + key.algorithm().tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(associated_data), &mut sealed[NONCE_LEN..]);
    sealed.extend_from_slice(tag.map_err(|_| FAILED)?.as_ref());
    Ok(sealed)
}

/// Decrypts what [`encrypt`] returned.
///
/// # Errors
///
/// `NotAuthentic`, or as [`encrypt`].
pub fn decrypt(cipher: Cipher, key: &[u8], ciphertext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = prepared(cipher, key, associated_data)?;
    check(ciphertext, MAX_MESSAGE_BYTES + NONCE_LEN + key.algorithm().tag_len())?;
    let (nonce, rest) = ciphertext.split_first_chunk::<NONCE_LEN>().ok_or(CryptoError::NotAuthentic)?;
    let mut opened = rest.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = match key.open_in_place(nonce, Aad::from(associated_data), &mut opened) {
        Ok(plaintext) => plaintext.len(),
        Err(_) => return Err(CryptoError::NotAuthentic),
    };
    opened.truncate(length);
    Ok(opened)
}

fn prepared(cipher: Cipher, key: &[u8], associated_data: &[u8]) -> Result<LessSafeKey, CryptoError> {
    check(associated_data, MAX_CONTEXT_BYTES)?;
    if key.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLarge.into());
    }
    let algorithm: &'static Algorithm = match cipher {
        Cipher::Aes128Gcm => &AES_128_GCM,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let needs = algorithm.key_len();
    // Base64 is longer than what it stands for, so there is no doubt which of them it is.
    let key = match key.len() == needs {
        true => Cow::Borrowed(key),
        false => {
            let decoded = pem::base64(key).filter(|decoded| decoded.len() == needs);
            Cow::Owned(decoded.ok_or(KeyError::Length { bytes: key.len(), needs })?)
        }
    };
    UnboundKey::new(algorithm, &key).map(LessSafeKey::new).map_err(|_| FAILED)
}

#[cfg(test)]
pub(super) fn encrypt_with_nonce(
    cipher: Cipher,
    key: &[u8],
    nonce: [u8; NONCE_LEN],
    plaintext: &[u8],
    associated_data: &[u8],
) -> Vec<u8> {
    seal(&prepared(cipher, key, associated_data).unwrap(), nonce, plaintext, associated_data).unwrap()
}
