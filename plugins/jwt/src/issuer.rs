//! Who issues tokens, with which keys, and for whom.

use plugin_jose::{Algorithm, Keys, RemoteKeys, Token, Verdict};
use plugin_sdk::{Pointer, Problems};
use serde_json::{Map, Value};

use crate::{
    Stop,
    config::{IssuerConfig, KeysConfig, OneOrMany},
    keys,
    refusal::Refusal,
    rules::alternatives,
};

type Claims = Map<String, Value>;

/// Keys, and the tokens for which they are believed.
pub(crate) struct Issuer {
    /// What `iss` may be; `None` for anything.
    names: Option<Vec<String>>,
    audience: Audience,
    keys: Keys,
    pub(crate) remote: Option<RemoteKeys>,
}

enum Audience {
    Any,
    /// Tokens that name one are not for us.
    Unnamed,
    OneOf(Vec<String>),
}

/// All of them.
pub(crate) enum Issuers {
    /// One set of keys for whatever the token says.
    One(Box<Issuer>),
    /// Each with keys of its own: what a token says about its issuer chooses the keys that have to prove it.
    Named(Vec<Issuer>),
}

impl Issuers {
    /// The issuers of a configuration: of its `issuers`, or of what stands beside them.
    pub(crate) fn read(
        keys: KeysConfig,
        issuer: Option<OneOrMany>,
        audience: Option<OneOrMany>,
        any_audience: bool,
        issuers: Vec<IssuerConfig>,
        problems: &mut Problems,
    ) -> Self {
        if any_audience && audience.is_some() {
            problems.add("/any-audience", "contradicts `audience`");
        }
        let root = Pointer::root();
        let shared = alternatives(audience, &root.then("audience"), problems);
        let audience = |own: Option<Vec<String>>| match own.or_else(|| shared.clone()) {
            Some(names) => Audience::OneOf(names),
            None if any_audience => Audience::Any,
            None => Audience::Unnamed,
        };
        if issuers.is_empty() {
            let (keys, remote) = keys::read(keys, &root, problems);
            let names = alternatives(issuer, &root.then("issuer"), problems);
            return Self::One(Box::new(Issuer { names, audience: audience(None), keys, remote }));
        }
        if !keys.is_empty() {
            problems.add("/issuers", "cannot stand beside `keys`, `jwks`, `jwks-secret` or `jwks-from`");
        }
        if issuer.is_some() {
            problems.add("/issuer", "cannot stand beside `issuers`, each of which has its own");
        }
        let mut named: Vec<Issuer> = Vec::new();
        for (i, config) in issuers.into_iter().enumerate() {
            let at = Pointer::from("/issuers").then(i);
            let IssuerConfig { issuer, audience: own, keys, jwks, jwks_secret, jwks_from } = config;
            let config = KeysConfig { keys, jwks, jwks_secret, jwks_from };
            let (keys, remote) = keys::read(config, &at, problems);
            if issuer.is_empty() {
                problems.add(at.then("issuer"), "must not be empty");
            }
            if named.iter().any(|other| other.is_called(&issuer)) {
                problems.add(at.then("issuer"), "is the issuer of another entry");
            }
            let own = alternatives(own, &at.then("audience"), problems);
            named.push(Issuer { names: Some(vec![issuer]), audience: audience(own), keys, remote });
        }
        Self::Named(named)
    }

    /// Reports accepted algorithms that no key is for, and issuers without a key for one: their tokens would all be refused. What is
    /// fetched is not known yet.
    pub(crate) fn check_algorithms(&self, accepted: &[Algorithm], problems: &mut Problems) {
        let issuers = match self {
            Self::One(issuer) => std::slice::from_ref(&**issuer),
            Self::Named(issuers) => issuers,
        };
        if issuers.iter().all(|issuer| issuer.remote.is_none()) {
            let mut known: Vec<String> = issuers.iter().flat_map(|issuer| issuer.keys.algorithms()).collect();
            known.sort_unstable();
            known.dedup();
            for (i, algorithm) in accepted.iter().enumerate() {
                if !issuers.iter().any(|issuer| issuer.keys.has_for(*algorithm)) {
                    let known = known.join(", ");
                    let message =
                        format!("has no key: the keys are for {known}; add a key for {algorithm}, or remove it");
                    problems.add(Pointer::from("/algorithms").then(i), message);
                }
            }
        }
        if let Self::Named(issuers) = self {
            for (i, issuer) in issuers.iter().enumerate().filter(|(_, issuer)| issuer.remote.is_none()) {
                if !accepted.iter().any(|algorithm| issuer.keys.has_for(*algorithm)) {
                    let message =
                        "has no key for any of the accepted `algorithms`; add one, or add an algorithm of its keys";
                    problems.add(Pointer::from("/issuers").then(i), message);
                }
            }
        }
    }

    /// The issuer that has to prove a token, and its claims as far as they had to be read for that.
    pub(crate) fn of(&mut self, token: &Token<'_>) -> Result<(&mut Issuer, Option<Claims>), Refusal> {
        match self {
            Self::One(issuer) => Ok((issuer, None)),
            Self::Named(issuers) => {
                let claims = token.claims()?;
                let Some(Value::String(name)) = claims.get("iss") else { return Err(Refusal::Issuer) };
                let issuer = issuers.iter_mut().find(|issuer| issuer.is_called(name));
                Ok((issuer.ok_or(Refusal::Issuer)?, Some(claims)))
            }
        }
    }

    /// Whose keys are fetched.
    pub(crate) fn remotes(&mut self) -> impl Iterator<Item = &mut RemoteKeys> {
        let issuers = match self {
            Self::One(issuer) => std::slice::from_mut(&mut **issuer),
            Self::Named(issuers) => issuers,
        };
        issuers.iter_mut().filter_map(|issuer| issuer.remote.as_mut())
    }
}

impl Issuer {
    fn is_called(&self, name: &str) -> bool {
        self.names.as_ref().is_some_and(|names| names.iter().any(|own| own == name))
    }

    /// Whether one of the keys has signed the token.
    pub(crate) fn verify(&mut self, token: &Token<'_>) -> Result<Verdict, Stop> {
        let own = self.keys.verify(token)?;
        match &mut self.remote {
            Some(remote) if own != Verdict::Good => {
                let fetched = remote.verify(token)?;
                Ok(if fetched == Verdict::NoKey { own } else { fetched })
            }
            _ => Ok(own),
        }
    }

    /// Whether the claims are of this issuer, and for us.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let name = match claims.get("iss") {
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(Refusal::Claims),
            None => None,
        };
        if self.names.is_some() && !name.is_some_and(|name| self.is_called(name)) {
            return Err(Refusal::Issuer);
        }
        self.check_audience(claims)
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let names: &[Value] = match claims.get("aud") {
            None => &[],
            Some(Value::Array(names)) => names,
            Some(name) => std::slice::from_ref(name),
        };
        if !names.iter().all(Value::is_string) {
            return Err(Refusal::Claims);
        }
        let accepted = match &self.audience {
            Audience::Any => true,
            Audience::Unnamed => !claims.contains_key("aud"),
            Audience::OneOf(ours) => names.iter().any(|name| ours.iter().any(|our| name == our)),
        };
        if accepted { Ok(()) } else { Err(Refusal::Audience) }
    }
}
