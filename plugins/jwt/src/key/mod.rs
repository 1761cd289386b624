//! The keys that tokens may be signed with, and which of them a token is checked against.
//!
//! Each key is for exactly one algorithm (RFC 8725 §3.1), but for an RSA key that does not say for which: it is for all that RSA
//! keys have. What a token says about its algorithm only has to agree.

mod der;
mod jwk;
mod material;
mod pem;

use plugin_sdk::{
    Pointer, Problems,
    crypto::{self, CryptoError},
    secrets::{self, SecretError},
    warn,
};
use serde_json::{Map, Value};

use crate::{
    algorithm::Algorithm,
    config::{KeyConfig, KeysConfig},
    remote::RemoteKeys,
    token::Token,
};
use jwk::{Jwk, JwkError};
use material::Material;

/// More keys than any issuer has.
const MAX_KEYS: usize = 100;

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
pub(crate) struct Keys(Vec<Key>);

/// What the keys say to a signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// No key has that identifier and that algorithm.
    NoKey,
}

impl Keys {
    /// Checks a signature with the keys of this identifier, or with those that have none if there are no such; for
    /// a token without identifier with all, as long as they are for this algorithm.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<Verdict, CryptoError> {
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

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is for this algorithm.
    pub(crate) fn has_for(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.is_for(algorithm))
    }

    /// What they are for, each once.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|key| key.algorithm.map_or_else(|| "all algorithms of RSA".to_owned(), |own| own.to_string()))
    }

    /// Reads every key of a place in the configuration.
    pub(crate) fn read(config: KeysConfig, at: &Pointer, problems: &mut Problems) -> (Self, Option<RemoteKeys>) {
        if config.is_empty() {
            problems.add(at, "has no key, needs one of `keys`, `jwks`, `jwks-secret` and `jwks-from`");
        }
        let KeysConfig { keys, jwks, jwks_secret, jwks_from } = config;
        let mut reader = Reader { keys: Vec::new(), problems };
        for (i, key) in keys.into_iter().enumerate() {
            reader.entry(&at.then("keys").then(i), key);
        }
        if let Some(jwks) = jwks {
            let at = at.then("jwks").then("keys");
            reader.set(&jwks.keys, &|i| at.then(i), "", &at);
        }
        if let Some(name) = jwks_secret {
            reader.secret_set(&name, &at.then("jwks-secret"));
        }
        if reader.keys.len() > MAX_KEYS {
            reader.problems.add(at, format!("has {} keys, more than {MAX_KEYS}", reader.keys.len()));
        }
        let keys = Self(reader.keys);
        (keys, jwks_from.and_then(|from| RemoteKeys::read(from, &at.then("jwks-from"), problems)))
    }

    /// The keys of a set that somebody publishes. What cannot be used is left out: others use the same set. Secrets
    /// are left out too, since what is published is none. `None` if nothing remains.
    pub(crate) fn published(document: &[u8]) -> Option<Self> {
        let mut nowhere = Problems::default();
        let mut reader = Reader { keys: Vec::new(), problems: &mut nowhere };
        for jwk in set(document)?.iter().filter_map(Value::as_object).take(MAX_KEYS) {
            if jwk.get("kty").is_some_and(|kty| kty != "oct") {
                let _ = reader.member_of_set(&Pointer::root(), "", jwk);
            }
        }
        (!reader.keys.is_empty()).then_some(Self(reader.keys))
    }
}

struct Reader<'a> {
    keys: Vec<Key>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// An entry of `keys`.
    fn entry(&mut self, at: &Pointer, config: KeyConfig) {
        let KeyConfig { kid, alg, secret, secret_name, public_key, jwk } = config;
        let algorithm = match alg {
            Some(name) => {
                let unknown = format!("`{name}` is no known signature algorithm");
                let Some(known) = self.problems.note(at.then("alg"), name.parse().map_err(|_: CryptoError| unknown))
                else {
                    return;
                };
                Some(known)
            }
            None => None,
        };
        let (place, jwk) = match (secret, secret_name, public_key, jwk) {
            (Some(secret), None, None, None) => (at.then("secret"), Ok(Jwk::new(Material::secret(secret.into())))),
            (None, Some(name), None, None) => {
                (at.then("secret-name"), named_secret(&name).map(|secret| Jwk::new(Material::secret(secret))))
            }
            (None, None, Some(pem), None) => (at.then("public-key"), pem::read(&pem).map(Jwk::new)),
            (None, None, None, Some(jwk)) => {
                let place = at.then("jwk");
                match jwk::read(&jwk) {
                    Ok(jwk) => (place, Ok(jwk)),
                    Err(error) => (member(&place, error.member), Err(error.message)),
                }
            }
            _ => {
                return self.problems.add(at, "needs exactly one of `secret`, `secret-name`, `public-key` and `jwk`");
            }
        };
        let Some(mut jwk) = self.problems.note(&place, jwk) else { return };
        if let (Some(ours), Some(its)) = (algorithm, jwk.algorithm)
            && ours != its
        {
            return self.problems.add(at.then("alg"), format!("is {ours}, but the key's own `alg` is {its}"));
        }
        jwk.algorithm = algorithm.or(jwk.algorithm);
        jwk.kid = kid.or(jwk.kid);
        let kept = self.usable(jwk);
        self.problems.note(&place, kept);
    }

    /// A set of keys; `prefix` tells a key in a message where a pointer cannot. A member that cannot be used is ignored (RFC 7517
    /// §5), unless no other can.
    fn set(&mut self, keys: &[Map<String, Value>], at: &dyn Fn(usize) -> Pointer, prefix: &str, whole: &Pointer) {
        let before = (self.keys.len(), self.problems.iter().count());
        let mut ignored = Vec::new();
        for (i, jwk) in keys.iter().enumerate() {
            let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix} {i} ") };
            ignored.extend(self.member_of_set(&at(i), &prefix, jwk).err());
        }
        if self.keys.len() > before.0 {
            for (at, message) in ignored {
                warn!("a key of the set is ignored: {at}: {message}");
            }
            return;
        }
        for (at, message) in ignored {
            self.problems.add(at, message);
        }
        if before.1 == self.problems.iter().count() {
            self.problems.add(whole, "has no key for verifying signatures");
        }
    }

    /// Keeps a key of a set, if it is for us. The error says why it cannot be used.
    fn member_of_set(&mut self, at: &Pointer, prefix: &str, jwk: &Map<String, Value>) -> Result<(), (Pointer, String)> {
        match jwk::read(jwk) {
            Ok(jwk) => self.usable(jwk).map_err(|message| (at.clone(), format!("{prefix}{message}"))),
            Err(JwkError { foreign: true, .. }) => Ok(()),
            // It is to be taken out of here, whatever else there is.
            Err(JwkError { member: member @ "d", message, .. }) => {
                let place = if prefix.is_empty() { at.then(member) } else { at.clone() };
                self.problems.add(place, format!("{prefix}{message}"));
                Ok(())
            }
            Err(JwkError { member: "", message, .. }) => Err((at.clone(), format!("{prefix}{message}"))),
            Err(error) if prefix.is_empty() => Err((at.then(error.member), error.message)),
            Err(error) => Err((at.clone(), format!("{prefix}`{}` {}", error.member, error.message))),
        }
    }

    /// A set in a gateway secret.
    fn secret_set(&mut self, name: &str, at: &Pointer) {
        let Some(document) = self.problems.note(at, named_secret(name)) else { return };
        // Without the cause: it might quote the secret.
        let keys = set(&document).ok_or("is not a JSON Web Key Set: `{\"keys\": [...]}`");
        if let Some(keys) = self.problems.note(at, keys) {
            let keys: Vec<_> = keys.into_iter().filter_map(object).collect();
            self.set(&keys, &|_| at.clone(), "key", at);
        }
    }

    /// Keeps a key, if it is one for its algorithm.
    fn usable(&mut self, Jwk { kid, algorithm, material }: Jwk) -> Result<(), String> {
        let algorithm = algorithm.or_else(|| material.default_algorithm());
        // The form of an RSA key is the same for all of them.
        let tried = algorithm.unwrap_or(Algorithm(crypto::Algorithm::Rs256));
        material.check_algorithm(tried).and_then(|()| material.check_strength(tried))?;
        self.keys.push(Key { kid, algorithm, bytes: material.into_bytes() });
        Ok(())
    }
}

/// The place of a member, or of the whole key.
fn member(at: &Pointer, member: &str) -> Pointer {
    if member.is_empty() { at.clone() } else { at.then(member) }
}

/// The members of a JSON Web Key Set (RFC 7517 §5), whatever each of them is. Read with less care than a token: a member that
/// has a name twice, or is nested deeply, is that member's fault.
fn set(document: &[u8]) -> Option<Vec<Value>> {
    let Ok(Value::Object(mut document)) = serde_json::from_str(std::str::from_utf8(document).ok()?) else {
        return None;
    };
    match document.remove("keys")? {
        Value::Array(keys) => Some(keys),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn named_secret(name: &str) -> Result<Vec<u8>, String> {
    secrets::get(name).map_err(|error| match error {
        SecretError::Denied(_) => {
            format!("needs a secret `{name}`, and `grants: {{ secrets: [{name}] }}` for the plugin")
        }
        error => error.to_string(),
    })
}
