//! Encryption with keys that the plugin can use and need not be able to read.

use plugin_jose::base64;
use plugin_sdk::{
    Pointer, Problems,
    crypto::{self, Cipher, CryptoError, HashFunction, Key},
};

const CIPHER: Cipher = Cipher::Aes256Gcm;
const MAX_KEYS: usize = 4;

/// The keys, by the names of their secrets: the first encrypts, all of them decrypt.
pub(crate) struct Seal {
    keys: Vec<String>,
}

/// What was decrypted.
pub(crate) struct Opened {
    pub(crate) bytes: Vec<u8>,
    /// With another key than the one that encrypts.
    pub(crate) by_old_key: bool,
}

impl Seal {
    pub(crate) fn read(keys: Vec<String>, problems: &mut Problems) -> Self {
        let at = Pointer::from("/keys");
        if keys.is_empty() || keys.len() > MAX_KEYS {
            problems.add(&at, format!("needs 1 to {MAX_KEYS} names of secrets"));
        }
        for (i, name) in keys.iter().enumerate() {
            let at = at.then(i);
            if keys[..i].contains(name) {
                problems.add(&at, "is listed twice");
            }
            match crypto::encrypt(CIPHER, Key::Secret(name), b"", b"") {
                Ok(_) => {}
                Err(CryptoError::Denied(_)) => {
                    let cure = format!(
                        "needs a secret `{name}`, and `grants: {{ secrets: {{ {name}: use }} }}` for the plugin"
                    );
                    problems.add(at, cure);
                }
                Err(CryptoError::MalformedKey(why)) => {
                    problems.add(at, format!("is not a key of 32 bytes ({why}): `openssl rand -base64 32`"));
                }
                Err(error) => problems.add(at, error),
            }
        }
        Self { keys }
    }

    /// Encrypts; `context` says what the bytes are for, and is needed to decrypt them.
    pub(crate) fn seal(&self, bytes: &[u8], context: &[&str]) -> Result<Vec<u8>, CryptoError> {
        let key = self.keys.first().map_or("", String::as_str);
        crypto::encrypt(CIPHER, Key::Secret(key), bytes, &associated(context))
    }

    /// Decrypts; nothing if it was encrypted with another key or for something else, or has changed since.
    pub(crate) fn open(&self, bytes: &[u8], context: &[&str]) -> Result<Option<Opened>, CryptoError> {
        let associated = associated(context);
        for (i, key) in self.keys.iter().enumerate() {
            match crypto::decrypt(CIPHER, Key::Secret(key), bytes, &associated) {
                Ok(bytes) => return Ok(Some(Opened { bytes, by_old_key: i > 0 })),
                Err(CryptoError::NotAuthentic | CryptoError::TooLarge(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Each part with its length, so that no two lists are the same bytes.
fn associated(context: &[&str]) -> Vec<u8> {
    let mut bytes = b"oidc".to_vec();
    for part in context {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Random bytes as base64url.
pub(crate) fn random(bytes: u32) -> Result<String, CryptoError> {
    Ok(base64::encode_url(&crypto::random_bytes(bytes)?))
}

/// SHA-256 as base64url. Of several parts each is with its length.
pub(crate) fn digest(parts: &[&str]) -> Result<String, CryptoError> {
    Ok(base64::encode_url(&crypto::digest(HashFunction::Sha256, &associated(parts))?))
}
