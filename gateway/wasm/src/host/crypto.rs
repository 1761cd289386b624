//! Signature checks at native speed, and passwords.

use std::{rc::Rc, time::Duration};

use gateway_rules::crypto::{self, PublicKey, verify_hmac};
use wasmtime::Result;

use crate::{
    awaited::{self, Answer, Awaited, Finding},
    bindings::crypto::{Algorithm, CryptoError, Host, PasswordError},
    passwords,
    state::State,
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
            Err(reason) => Err(CryptoError::MalformedKey(reason)),
        })
    }

    fn verify_password(
        &mut self,
        hash: String,
        password: Vec<u8>,
        remember_ms: u32,
    ) -> Result<std::result::Result<bool, PasswordError>> {
        if let Err(reason) = passwords::check(&hash) {
            return Ok(Err(PasswordError::MalformedHash(reason)));
        }
        let services = Rc::clone(self.services()?);
        // No request waits while a configuration is tried.
        let Ok(exchange) = self.exchange() else { return Ok(Err(PasswordError::Later)) };
        let question = passwords::question(&hash, &password);
        if passwords::is_remembered(&question) {
            return Ok(Ok(true));
        }
        match awaited::answer(exchange, &question) {
            Some(Answer::Yes) => {
                passwords::remember(question, Duration::from_millis(remember_ms.into()));
                return Ok(Ok(true));
            }
            Some(Answer::No) => return Ok(Ok(false)),
            Some(Answer::Busy | Answer::Stored(_)) => return Ok(Err(PasswordError::Busy)),
            None => {}
        }
        let Some(place) = services.shared.passwords.queue() else { return Ok(Err(PasswordError::Busy)) };
        let find_out =
            async move { Some(Finding { question, answer: place.find_out(question, hash, password).await }) };
        Awaited::note(exchange, Box::pin(find_out));
        Ok(Err(PasswordError::Later))
    }
}

/// The public keys that an instance used last, parsed: a plugin has few, and uses them for every request.
#[derive(Default)]
pub(crate) struct KeyCache(Vec<CachedKey>);

struct CachedKey {
    algorithm: crypto::Algorithm,
    bytes: Vec<u8>,
    parsed: PublicKey,
}

impl KeyCache {
    const KEYS: usize = 8;

    fn parsed(&mut self, algorithm: crypto::Algorithm, bytes: Vec<u8>) -> std::result::Result<&PublicKey, String> {
        let found = self.0.iter().position(|key| key.algorithm == algorithm && key.bytes == bytes);
        match found {
            Some(index) => self.0[..=index].rotate_right(1),
            None => {
                let parsed = PublicKey::parse(algorithm, &bytes)?;
                self.0.truncate(Self::KEYS - 1);
                self.0.insert(0, CachedKey { algorithm, bytes, parsed });
            }
        }
        Ok(&self.0[0].parsed)
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        signature::{Ed25519KeyPair, KeyPair},
    };

    use super::*;

    #[test]
    fn the_key_cache_is_bounded() {
        let mut keys = KeyCache::default();
        for _ in 0..20 {
            let key = Ed25519KeyPair::generate().unwrap();
            let der = key.public_key().as_der().unwrap().as_ref().to_vec();
            keys.parsed(crypto::Algorithm::EdDsa, der).unwrap();
        }
        assert_eq!(keys.0.len(), KeyCache::KEYS);
    }
}
