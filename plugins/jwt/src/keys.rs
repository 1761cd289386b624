//! The keys of a configuration, with every problem at its place.

use plugin_jose::{
    Keys, RemoteKeys,
    key::{
        self, MAX_KEYS,
        jwk::{self, Jwk, JwkError},
        material::Material,
        pem,
    },
};
use plugin_sdk::{
    Pointer, Problems,
    crypto::CryptoError,
    secrets::{self, SecretError},
    warn,
};
use serde_json::{Map, Value};

use crate::{
    config::{KeyConfig, KeysConfig},
    remote,
};

/// Reads every key of a place in the configuration.
pub(crate) fn read(config: KeysConfig, at: &Pointer, problems: &mut Problems) -> (Keys, Option<RemoteKeys>) {
    if config.is_empty() {
        problems.add(at, "has no key, needs one of `keys`, `jwks`, `jwks-secret` and `jwks-from`");
    }
    let KeysConfig { keys, jwks, jwks_secret, jwks_from } = config;
    let mut reader = Reader { keys: Keys::default(), problems };
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
    let keys = reader.keys;
    (keys, jwks_from.and_then(|from| remote::read(from, &at.then("jwks-from"), problems)))
}

struct Reader<'a> {
    keys: Keys,
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
        let kept = self.keys.push(jwk);
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
            Ok(jwk) => self.keys.push(jwk).map_err(|message| (at.clone(), format!("{prefix}{message}"))),
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
        let keys = key::set(&document).ok_or("is not a JSON Web Key Set: `{\"keys\": [...]}`");
        if let Some(keys) = self.problems.note(at, keys) {
            let keys: Vec<_> = keys.into_iter().filter_map(object).collect();
            self.set(&keys, &|_| at.clone(), "key", at);
        }
    }
}

/// The place of a member, or of the whole key.
fn member(at: &Pointer, member: &str) -> Pointer {
    if member.is_empty() { at.clone() } else { at.then(member) }
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
