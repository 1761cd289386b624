//! Signature checks at native speed, and passwords.

use std::{rc::Rc, time::Duration};

use aws_lc_rs::{
    hmac, rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
    },
};
use wasmtime::Result;

use crate::plugin::{
    awaited::{self, Answer, Awaited, Finding},
    bindings::crypto::{Algorithm, CryptoError, Host, PasswordError},
    passwords,
    state::State,
};

/// An RSA key of 8192 bits has less than this.
const KEY_BYTES: usize = 4096;
const RSA_BITS: usize = 2048;
/// `SubjectPublicKeyInfo` around the 32 bytes of an Ed25519 key (RFC 8410 §4).
const ED25519_SPKI_BYTES: usize = 44;
/// What a `SubjectPublicKeyInfo` of P-521 begins with (RFC 5480 §2.1.1).
const P521: [u8; 21] = [
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23,
];

impl Host for State {
    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<std::result::Result<bool, CryptoError>> {
        if let Some(algorithm) = hmac_algorithm(algorithm) {
            let key = hmac::Key::new(algorithm, &key);
            return Ok(Ok(hmac::verify(&key, &message, &signature).is_ok()));
        }
        Ok(match self.keys.parsed(algorithm, key) {
            Ok(key) => Ok(key.verify_sig(&message, &signature).is_ok()),
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
pub(in crate::plugin) struct KeyCache(Vec<CachedKey>);

struct CachedKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl KeyCache {
    const KEYS: usize = 8;

    fn parsed(&mut self, algorithm: Algorithm, bytes: Vec<u8>) -> std::result::Result<&ParsedPublicKey, String> {
        let found = self.0.iter().position(|key| key.algorithm == algorithm && key.bytes == bytes);
        match found {
            Some(index) => self.0[..=index].rotate_right(1),
            None => {
                let parsed = parse(algorithm, &bytes)?;
                self.0.truncate(Self::KEYS - 1);
                self.0.insert(0, CachedKey { algorithm, bytes, parsed });
            }
        }
        Ok(&self.0[0].parsed)
    }
}

/// Takes `SubjectPublicKeyInfo` only: the library would also take bare keys, and then a key for one purpose
/// might pass as one for another.
fn parse(algorithm: Algorithm, bytes: &[u8]) -> std::result::Result<ParsedPublicKey, String> {
    if bytes.len() > KEY_BYTES {
        return Err(format!("over {KEY_BYTES} bytes"));
    }
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        // The interface has no name for ES512: it is ECDSA with the hash that belongs to the key's curve.
        Algorithm::Es384 if bytes.starts_with(&P521) => &ECDSA_P521_SHA512_FIXED,
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::Eddsa => &ED25519,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return Err("a secret is not a public key".to_owned()),
    };
    let not_spki = || "not a SubjectPublicKeyInfo of the algorithm's kind, in DER".to_owned();
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 if bytes.first() != Some(&0x30) => return Err(not_spki()),
        Algorithm::Eddsa if bytes.len() != ED25519_SPKI_BYTES => return Err(not_spki()),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Eddsa => {}
        _ => {
            let bits = rsa::PublicEncryptingKey::from_der(bytes).map_err(|_| not_spki())?.key_size_bits();
            if bits < RSA_BITS {
                return Err(format!("an RSA key of {bits} bits is too weak: {RSA_BITS} at least"));
            }
        }
    }
    ParsedPublicKey::new(verification, bytes).map_err(|_| not_spki())
}

fn hmac_algorithm(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rand::SystemRandom,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256, RsaKeyPair,
        },
    };

    use super::*;

    fn spki(key: &impl AsDer<aws_lc_rs::encoding::PublicKeyX509Der<'static>>) -> Vec<u8> {
        key.as_der().unwrap().as_ref().to_vec()
    }

    #[test]
    fn each_kind_of_key_verifies_what_it_signed_and_nothing_else() {
        let message = b"header.payload";
        let random = SystemRandom::new();
        let mut keys = KeyCache::default();
        let mut check = |algorithm, key: Vec<u8>, signature: &[u8]| {
            let key = keys.parsed(algorithm, key).unwrap();
            assert!(key.verify_sig(message, signature).is_ok(), "{algorithm:?}");
            assert!(key.verify_sig(b"header.forged", signature).is_err(), "{algorithm:?}");
        };

        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signature = key.sign(&random, message).unwrap();
        assert_eq!(signature.as_ref().len(), 64);
        check(Algorithm::Es256, spki(key.public_key()), signature.as_ref());

        let key = Ed25519KeyPair::generate().unwrap();
        check(Algorithm::Eddsa, spki(key.public_key()), key.sign(message).as_ref());

        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
        check(Algorithm::Ps256, spki(key.public_key()), &signature);
    }

    #[test]
    fn bare_and_foreign_keys_are_malformed() {
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        assert!(parse(Algorithm::Es256, ecdsa.public_key().as_ref()).is_err());
        assert!(parse(Algorithm::Es384, &spki(ecdsa.public_key())).is_err());
        assert!(parse(Algorithm::Eddsa, ed25519.public_key().as_ref()).is_err());
        assert!(parse(Algorithm::Es256, &spki(ed25519.public_key())).is_err());
        assert!(parse(Algorithm::Rs256, &spki(ecdsa.public_key())).is_err());
        assert!(parse(Algorithm::Rs256, b"").is_err());
    }

    #[test]
    fn the_key_cache_is_bounded() {
        let mut keys = KeyCache::default();
        for _ in 0..20 {
            let key = Ed25519KeyPair::generate().unwrap();
            keys.parsed(Algorithm::Eddsa, spki(key.public_key())).unwrap();
        }
        assert_eq!(keys.0.len(), KeyCache::KEYS);
    }
}
