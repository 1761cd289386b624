//! The keys that tokens may be signed with, and which of them a token is checked against.
//!
//! Each key is for exactly one algorithm (RFC 8725 §3.1), but for an RSA key that does not say for which: it is for all that RSA
//! keys have. What a token says about its algorithm only has to agree.

mod der;
pub mod jwk;
pub mod material;
pub mod pem;

use plugin_sdk::crypto::{self, CryptoError};
use serde_json::Value;

use crate::{algorithm::Algorithm, token::Token};
use jwk::Jwk;

/// More keys than any issuer has.
pub const MAX_KEYS: usize = 100;

/// What one token may cost, where many keys fit because it names none.
const MAX_ATTEMPTS: usize = 8;

struct Key {
    kid: Option<String>,
    /// `None` for all that RSA keys have.
    algorithm: Option<Algorithm>,
    /// In the form that [`crypto::verify`] takes.
    bytes: Vec<u8>,
}

impl Key {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.map_or(algorithm.is_rsa(), |own| own == algorithm)
    }
}

/// All keys.
#[derive(Default)]
pub struct Keys(Vec<Key>);

/// What the keys say to a signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A key has made the signature.
    Good,
    /// A key could have made it, and has not.
    Bad,
    /// No key has that identifier and that algorithm.
    NoKey,
}

impl Keys {
    /// Checks a signature with the keys of this identifier, or with those that have none if there are no such; for
    /// a token without identifier with all, as long as they are for this algorithm.
    ///
    /// # Errors
    ///
    /// See [`CryptoError`].
    pub fn verify(&self, token: &Token<'_>) -> Result<Verdict, CryptoError> {
        let Token { algorithm, signed, signature, .. } = token;
        let kid = token.kid.as_deref();
        let named = kid.is_some_and(|kid| self.0.iter().any(|key| key.kid.as_deref() == Some(kid)));
        let candidates = self.0.iter().filter(|key| match kid {
            Some(kid) if named => key.kid.as_deref() == Some(kid),
            Some(_) => key.kid.is_none(),
            None => true,
        });
        let mut verdict = Verdict::NoKey;
        for key in candidates.filter(|key| key.is_for(*algorithm)).take(MAX_ATTEMPTS) {
            if algorithm.verify(&key.bytes, signed, signature)? {
                return Ok(Verdict::Good);
            }
            verdict = Verdict::Bad;
        }
        Ok(verdict)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is for this algorithm.
    pub fn has_for(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.is_for(algorithm))
    }

    /// What they are for, each once.
    pub fn algorithms(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|key| key.algorithm.map_or_else(|| "all algorithms of RSA".to_owned(), |own| own.to_string()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a key, if it is one for its algorithm.
    ///
    /// # Errors
    ///
    /// Why the key cannot be used.
    pub fn push(&mut self, Jwk { kid, algorithm, material }: Jwk) -> Result<(), String> {
        let algorithm = algorithm.or_else(|| material.default_algorithm());
        // The form of an RSA key is the same for all of them.
        let tried = algorithm.unwrap_or(Algorithm(crypto::Algorithm::Rs256));
        material.check_algorithm(tried).and_then(|()| material.check_strength(tried))?;
        self.0.push(Key { kid, algorithm, bytes: material.into_bytes() });
        Ok(())
    }

    /// The keys of a set that somebody publishes. What cannot be used is left out: others use the same set. Secrets
    /// are left out too, since what is published is none. `None` if nothing remains.
    pub fn published(document: &[u8]) -> Option<Self> {
        let mut keys = Self::default();
        for jwk in set(document)?.iter().filter_map(Value::as_object).take(MAX_KEYS) {
            if jwk.get("kty").is_some_and(|kty| kty != "oct")
                && let Ok(jwk) = jwk::read(jwk)
            {
                // A key that cannot be used is left out.
                let _ = keys.push(jwk);
            }
        }
        (!keys.is_empty()).then_some(keys)
    }
}

/// The members of a JSON Web Key Set (RFC 7517 §5), whatever each of them is. Read with less care than a token: a member that
/// has a name twice, or is nested deeply, is that member's fault.
pub fn set(document: &[u8]) -> Option<Vec<Value>> {
    let Ok(Value::Object(mut document)) = serde_json::from_str(std::str::from_utf8(document).ok()?) else {
        return None;
    };
    match document.remove("keys")? {
        Value::Array(keys) => Some(keys),
        _ => None,
    }
}
