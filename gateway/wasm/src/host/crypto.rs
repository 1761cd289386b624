//! Cryptography at native speed: what needs keys is in `keyed`. And passwords.

use std::{rc::Rc, time::Duration};

use wasmtime::Result;

use super::keyed;
use crate::{
    bindings::crypto::{Algorithm, Cipher, CryptoError, Hash, Host, Key, PasswordError},
    instance::state::State,
    pending_call::{CallResult, PendingCall, ResultValue},
    plugin_state::PluginState,
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

    fn verify_password(
        &mut self,
        hash: String,
        password: Vec<u8>,
        remember_ms: u32,
    ) -> Result<std::result::Result<bool, PasswordError>> {
        if let Err(reason) = passwords::check(&hash) {
            return Ok(Err(PasswordError::MalformedHash(reason.to_string())));
        }
        let services = Rc::clone(self.services()?);
        // No request waits while a configuration is tried.
        let Ok(exchange) = self.exchange() else { return Ok(Err(PasswordError::Later)) };
        let question = passwords::question(&hash, &password);
        if passwords::is_remembered(&question) {
            return Ok(Ok(true));
        }
        match PluginState::existing(exchange).and_then(|own| own.pending.answer(&question)) {
            Some(ResultValue::Yes) => {
                passwords::remember(question, Duration::from_millis(remember_ms.into()));
                return Ok(Ok(true));
            }
            Some(ResultValue::No) => return Ok(Ok(false)),
            Some(ResultValue::Busy | ResultValue::Stored(_)) => return Ok(Err(PasswordError::Busy)),
            None => {}
        }
        let Some(place) = services.shared.passwords.queue() else { return Ok(Err(PasswordError::Busy)) };
        let find_out = async move {
            let answer = match place.find_out(question, hash, password).await {
                Some(true) => ResultValue::Yes,
                Some(false) => ResultValue::No,
                None => ResultValue::Busy,
            };
            Some(CallResult { question, answer })
        };
        PluginState::wait_for(exchange, PendingCall::Thing(Box::pin(find_out)));
        Ok(Err(PasswordError::Later))
    }
}
