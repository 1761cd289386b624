//! Cryptography at native speed: what needs keys is in `keyed`. And passwords.

use std::time::Duration;

use wasmtime::Result;

use super::keyed;
use crate::{
    bindings::crypto::{Algorithm, Cipher, CryptoError, Hash, Host, Key, PasswordError},
    instance::state::State,
    services::passwords,
};

impl Host for State {
    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: Key,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<std::result::Result<bool, CryptoError>> {
        keyed::verify(self, algorithm, key, &message, &signature)
    }

    fn sign(
        &mut self,
        algorithm: Algorithm,
        key: Key,
        message: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        keyed::sign(self, algorithm, key, &message)
    }

    fn encrypt(
        &mut self,
        cipher: Cipher,
        key: Key,
        plaintext: Vec<u8>,
        associated_data: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        keyed::encrypt(self, cipher, key, &plaintext, &associated_data)
    }

    fn decrypt(
        &mut self,
        cipher: Cipher,
        key: Key,
        ciphertext: Vec<u8>,
        associated_data: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        keyed::decrypt(self, cipher, key, &ciphertext, &associated_data)
    }

    fn derive_key(
        &mut self,
        hash: Hash,
        key: Key,
        salt: Vec<u8>,
        info: Vec<u8>,
        length: u32,
    ) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        keyed::derive_key(self, hash, key, &salt, &info, length)
    }

    fn digest(&mut self, hash: Hash, data: Vec<u8>) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        Ok(keyed::digest(hash, &data))
    }

    fn random_bytes(&mut self, length: u32) -> Result<std::result::Result<Vec<u8>, CryptoError>> {
        Ok(keyed::random_bytes(length))
    }

    /// Calls that reach it run on fibers.
    fn verify_password(&mut self, _: String, _: Vec<u8>, _: u32) -> Result<PasswordResult> {
        Ok(Err(PasswordError::Busy))
    }
}

type PasswordResult = std::result::Result<bool, PasswordError>;

impl State {
    /// Verifies a password on another thread, and waits for that.
    pub(super) async fn verify_password_in_time(
        &mut self,
        hash: String,
        password: Vec<u8>,
        remember_ms: u32,
    ) -> Result<PasswordResult> {
        if let Err(reason) = passwords::check(&hash) {
            return Ok(Err(PasswordError::MalformedHash(reason.to_string())));
        }
        // Each instance is configured: a plugin that checks its hashes there must not compute them all.
        if !self.is_configured {
            return Ok(Err(PasswordError::Busy));
        }
        let question = passwords::question(&hash, &password);
        if passwords::is_remembered(&question) {
            return Ok(Ok(true));
        }
        let Some(place) = self.services()?.shared.passwords.queue() else { return Ok(Err(PasswordError::Busy)) };
        Ok(match place.find_out(question, hash, password).await {
            Some(is_right) => {
                if is_right {
                    passwords::remember(question, Duration::from_millis(remember_ms.into()));
                }
                Ok(is_right)
            }
            None => Err(PasswordError::Busy),
        })
    }
}
