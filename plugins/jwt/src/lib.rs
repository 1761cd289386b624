//! Lets in who has a valid JSON Web Token (RFC 7519).
//!
//! `README.md` beside this crate says how it is configured and what it refuses.

mod config;
mod issuer;
mod keys;
mod refusal;
mod remote;
mod rules;
#[cfg(test)]
mod tests;
mod token_cache;

use std::rc::Rc;

use plugin_jose::{Mapping, Token, Verdict, claim::Unusable, remote::RemoteError, token::TokenError};
use plugin_sdk::{
    Decision, Error, Plugin, Pointer, Problems, Request, RequestFilter, Span,
    credentials::{Ambiguous, Sources},
    crypto::CryptoError,
    export_plugin, metrics, names, stop_on_refused_edits,
};
use sha2::{Digest, Sha256};

pub use config::Config;
use config::KeysConfig;
use issuer::Issuers;
use refusal::{Challenge, Refusal};
use rules::{ClaimRule, Rules, algorithms, alternatives};
use token_cache::{TokenCache, VerifiedToken};

/// The plugin.
pub struct Jwt {
    sources: Sources,
    required: bool,
    forward: bool,
    max_token_bytes: usize,
    issuers: Issuers,
    rules: Rules,
    mapping: Mapping,
    challenge: Challenge,
    memory: TokenCache,
    /// When to ask again whether the keys are still the same; never if none are fetched.
    next_look: i64,
}

/// Every so many milliseconds.
const LOOKS: i64 = 1000;

impl RequestFilter for Jwt {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.admit(request) {
            Ok(()) => Ok(Decision::Next),
            Err(Stop::Refused(refusal)) => {
                metrics::add("jwt_denied", 1, &[("route", &request.route()), ("reason", refusal.code())]);
                // For the access log only; where there is no room for it, the answer is still the right one.
                let _ = request.set_attribute("jwt.error", refusal.code());
                Ok(self.challenge.reply(refusal, &request.id()).into())
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

/// Why a request does not go on.
enum Stop {
    /// The client is to blame.
    Refused(Refusal),
    /// The plugin is.
    Failed(Error),
}

impl Jwt {
    /// The life of a token, from the request to the headers that the upstream sees.
    fn admit(&mut self, request: &Request) -> Result<(), Stop> {
        let Some(found) = self.sources.find(request)? else {
            if self.required {
                return Err(Refusal::Missing.into());
            }
            return Ok(self.mapping.announce_anonymous(request)?);
        };
        // The arrival of this very request, and one import less than a clock.
        let now = i64::try_from(request.received_at()).unwrap_or(i64::MAX);
        if now >= self.next_look {
            self.look_around(now);
        }
        let verified_token = match self.memory.get(found.credential()) {
            Some(verified_token) => verified_token,
            None => {
                let verified_token = Rc::new(self.examine(found.credential(), now)?);
                self.memory.insert(found.credential(), Rc::clone(&verified_token), now);
                verified_token
            }
        };
        verified_token.validity.check(now)?;
        let identity = verified_token.rights.as_ref().map_err(|lack| *lack)?;
        if !self.forward {
            self.sources.remove(&found, request)?;
        }
        Ok(self.mapping.announce(identity, request)?)
    }

    /// Takes over keys that have been fetched. Who was let in by the old ones has to prove it again.
    fn look_around(&mut self, now: i64) {
        self.next_look = now.saturating_add(LOOKS);
        let mut changed = false;
        for remote in self.issuers.remotes() {
            changed |= remote.look_around();
        }
        if changed {
            self.memory.clear();
        }
    }

    /// Everything that need be done only once for a token.
    fn examine(&mut self, token: &[u8], now: i64) -> Result<VerifiedToken, Stop> {
        if token.len() > self.max_token_bytes {
            return Err(Refusal::TooLong.into());
        }
        let text = token;
        let token = Token::read(text)?;
        if !self.rules.accepts(token.algorithm) {
            return Err(Refusal::Algorithm.into());
        }
        self.rules.check_type(token.typ.as_deref())?;
        let (issuer, claims) = self.issuers.of(&token)?;
        match issuer.verify(&token)? {
            Verdict::Good => {}
            Verdict::Bad => return Err(Refusal::Signature.into()),
            Verdict::NoKey => return Err(Refusal::UnknownKey.into()),
        }
        let claims = match claims {
            Some(claims) => claims,
            None => token.claims()?,
        };
        issuer.check(&claims)?;
        let validity = self.rules.validity(&claims)?;
        // Not remembered if it is over: it would only take the place of another.
        validity.check(now)?;
        let rights =
            self.rules.check_rights(&claims).and_then(|()| Ok(self.mapping.identity(&claims, &digest(text))?));
        Ok(VerifiedToken { validity, rights })
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TokenError> for Stop {
    fn from(error: TokenError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed => Self::Malformed,
            TokenError::Critical => Self::Critical,
            TokenError::Algorithm => Self::Algorithm,
            TokenError::Claims => Self::Claims,
        }
    }
}

impl From<Unusable> for Refusal {
    fn from(Unusable: Unusable) -> Self {
        Self::UnusableClaim
    }
}

impl From<RemoteError> for Stop {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Unavailable(retry) => Self::Refused(Refusal::NoKeys(retry.as_secs())),
            RemoteError::Document(error) => Self::Failed(error.into()),
            RemoteError::Crypto(error) => Self::Failed(error.into()),
        }
    }
}

impl From<Ambiguous> for Stop {
    fn from(Ambiguous: Ambiguous) -> Self {
        Self::Refused(Refusal::Ambiguous)
    }
}

stop_on_refused_edits!(Stop, Refusal::NoRoom);

impl From<CryptoError> for Stop {
    /// The keys were tried when they were configured.
    fn from(error: CryptoError) -> Self {
        Self::Failed(error.into())
    }
}

impl Plugin for Jwt {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let keys = KeysConfig {
            keys: config.keys,
            jwks: config.jwks,
            jwks_secret: config.jwks_secret,
            jwks_from: config.jwks_from,
        };
        let (issuer, audience) = (config.issuer, config.audience);
        let mut issuers = Issuers::read(keys, issuer, audience, config.any_audience, config.issuers, &mut problems);
        let sources = Sources::read(config.from, &Pointer::from("/from"), &mut problems);
        let mapping =
            Mapping::read("jwt", "jwt.token", config.claims_to_headers, config.claims_to_attributes, &mut problems);
        for name in mapping.header_names().filter(|name| sources.has_header(name)) {
            problems.add(Pointer::from("/claims-to-headers").then(name), "is where the token is looked for");
        }

        let claims = config.claims.into_iter().enumerate();
        let claims =
            claims.filter_map(|(i, rule)| ClaimRule::read(rule, &Pointer::from("/claims").then(i), &mut problems));
        let claims = claims.collect();
        let rules = Rules {
            algorithms: algorithms(config.algorithms, &mut problems),
            types: alternatives(config.typ, &Pointer::from("/typ"), &mut problems),
            leeway: millis(config.leeway),
            max_age: config.max_age.map(millis),
            require_expiry: config.require_expiry,
            scopes: config.scopes,
            claims,
        };
        // A key or an algorithm with a problem of its own is not among them.
        if let Some(accepted) = rules.algorithms.as_deref().filter(|_| problems.is_empty()) {
            issuers.check_algorithms(accepted, &mut problems);
        }
        check_limits(&rules, config.max_token_bytes, config.token_cache_size, &mut problems);
        problems.note("/realm", names::check_quotable(&config.realm));
        for (i, scope) in rules.scopes.iter().enumerate() {
            problems.note(Pointer::from("/scopes").then(i), names::check_scope(scope));
        }

        let challenge = Challenge::new(config.realm, &rules.scopes);
        let next_look = if issuers.remotes().next().is_some() { i64::MIN } else { i64::MAX };
        problems.or(Self {
            sources,
            required: config.required,
            forward: config.forward,
            max_token_bytes: config.max_token_bytes,
            issuers,
            rules,
            mapping,
            challenge,
            memory: TokenCache::new(config.token_cache_size),
            next_look,
        })
    }
}

/// Of a token, for the attribute that says that the client is known.
fn digest(token: &[u8]) -> String {
    Sha256::digest(token)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_limits(rules: &Rules, max_token_bytes: usize, token_cache_size: usize, problems: &mut Problems) {
    const MAX_LEEWAY: i64 = 10 * 60_000;
    if rules.leeway > MAX_LEEWAY {
        problems.add("/leeway", "must be at most 10m");
    }
    if rules.max_age == Some(0) {
        problems.add("/max-age", "must be more than 0");
    }
    if !(64..=64 * 1024).contains(&max_token_bytes) {
        problems.add("/max-token-bytes", "must be from 64 to 65536");
    }
    if token_cache_size > 100_000 {
        problems.add("/token-cache-size", "must be at most 100000");
    }
}

fn millis(span: Span) -> i64 {
    i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)
}

export_plugin!(Jwt: request);
