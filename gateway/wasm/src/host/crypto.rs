//! Signature checks at native speed, and passwords.

use std::{rc::Rc, time::Duration};

use gateway_rules::crypto::{self, verify_hmac};
use wasmtime::Result;

use crate::{
    bindings::crypto::{Algorithm, CryptoError, Host, PasswordError},
    instance::state::State,
    pending_call::{CallResult, PendingCall, ResultValue},
    plugin_state::PluginState,
    services::passwords,
};

impl Host for State {
    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<std::result::Result<bool, CryptoError>> {
        let algorithm = named(algorithm);
        if let Some(verified) = verify_hmac(algorithm, &key, &message, &signature) {
            return Ok(Ok(verified));
        }
        Ok(match self.keys.parsed(algorithm, key) {
            Ok(key) => Ok(key.verify(&message, &signature)),
            Err(error) => Err(CryptoError::MalformedKey(error.to_string())),
        })
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

fn named(algorithm: Algorithm) -> crypto::Algorithm {
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
        Algorithm::Eddsa => crypto::Algorithm::EdDsa,
    }
}
