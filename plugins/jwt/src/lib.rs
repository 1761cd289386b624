//! Lets in who has a valid JSON Web Token (RFC 7519).
//!
//! `README.md` beside this crate says how it is configured and what it refuses.

mod base64;
mod claim;
mod config;
mod identity;
mod json;
mod key;
mod memory;
mod refusal;
mod rules;
#[cfg(test)]
mod tests;
mod token;

use std::rc::Rc;

use plugin_sdk::{
    Decision, EditError, Error, Plugin, Pointer, Problems, Request, RequestFilter,
    credentials::{Ambiguous, Sources},
    crypto::CryptoError,
    export_plugin, names,
};

pub use config::Config;
use config::Span;
use identity::Mapping;
use key::{Keys, Verdict};
use memory::{Memory, Passport};
use refusal::{Challenge, Refusal};
use rules::{Audience, ClaimRule, Rules, alternatives};
use token::Token;

/// The plugin.
pub struct Jwt {
    sources: Sources,
    required: bool,
    forward: bool,
    max_token_bytes: usize,
    keys: Keys,
    rules: Rules,
    mapping: Mapping,
    challenge: Challenge,
    memory: Memory,
}

impl RequestFilter for Jwt {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.admit(request) {
            Ok(()) => Ok(Decision::Next),
            Err(Stop::Refused(refusal)) => {
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
            return Ok(self.mapping.announce_nobody(request)?);
        };
        // The arrival of this very request, and one import less than a clock.
        let now = i64::try_from(request.received_at()).unwrap_or(i64::MAX);
        let passport = match self.memory.get(found.credential()) {
            Some(passport) => passport,
            None => {
                let passport = Rc::new(self.examine(found.credential(), now)?);
                self.memory.insert(found.credential(), Rc::clone(&passport), now);
                passport
            }
        };
        passport.validity.check(now)?;
        let identity = passport.rights.as_ref().map_err(|lack| *lack)?;
        if !self.forward {
            self.sources.remove(&found, request)?;
        }
        Ok(self.mapping.announce(identity, request)?)
    }

    /// Everything that need be done only once for a token.
    fn examine(&self, token: &[u8], now: i64) -> Result<Passport, Stop> {
        if token.len() > self.max_token_bytes {
            return Err(Refusal::TooLong.into());
        }
        let token = Token::read(token)?;
        self.rules.check_type(token.typ.as_deref())?;
        match self.keys.verify(token.algorithm, token.kid.as_deref(), token.signed, &token.signature)? {
            Verdict::Good => {}
            Verdict::Bad => return Err(Refusal::Signature.into()),
            Verdict::NoKey => return Err(Refusal::UnknownKey.into()),
        }
        let claims = token.claims()?;
        let validity = self.rules.check(&claims)?;
        // Not remembered if it is over: it would only take the place of another.
        validity.check(now)?;
        let rights = self.rules.check_rights(&claims).and_then(|()| self.mapping.identity(&claims));
        Ok(Passport { validity, rights })
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Ambiguous> for Stop {
    fn from(Ambiguous: Ambiguous) -> Self {
        Self::Refused(Refusal::Ambiguous)
    }
}

impl From<EditError> for Stop {
    /// Large headers are the client's doing. They must not make the plugin fail: a route may be configured to skip
    /// plugins that do.
    fn from(error: EditError) -> Self {
        match error {
            EditError::TooLarge => Self::Refused(Refusal::NoRoom),
            EditError::InvalidSyntax | EditError::Forbidden => Self::Failed(error.into()),
        }
    }
}

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
        let keys = Keys::read(config.keys, config.jwks, config.jwks_secret, &mut problems);
        let sources = Sources::read(config.from, &Pointer::from("/from"), &mut problems);
        let mapping = Mapping::read(config.claims_to_headers, config.claims_to_attributes, &mut problems);
        for name in mapping.header_names().filter(|name| sources.has_header(name)) {
            problems.add(Pointer::from("/claims-to-headers").then(name), "is where the token is looked for");
        }

        if config.any_audience && config.audience.is_some() {
            problems.add("/any-audience", "contradicts `audience`");
        }
        let audience = match alternatives(config.audience, "/audience", &mut problems) {
            Some(names) => Audience::OneOf(names),
            None if config.any_audience => Audience::Any,
            None => Audience::Unnamed,
        };
        let claims = config.claims.into_iter().enumerate();
        let claims =
            claims.filter_map(|(i, rule)| ClaimRule::read(rule, &Pointer::from("/claims").then(i), &mut problems));
        let claims = claims.collect();
        let rules = Rules {
            issuers: alternatives(config.issuer, "/issuer", &mut problems),
            audience,
            types: alternatives(config.typ, "/typ", &mut problems),
            leeway: config.leeway.millis,
            max_age: config.max_age.map(|span| span.millis),
            require_expiry: config.require_expiry,
            scopes: config.scopes,
            claims,
        };
        check_limits(&rules, config.max_token_bytes, config.remember, &mut problems);
        problems.note("/realm", names::check_quotable(&config.realm));
        for (i, scope) in rules.scopes.iter().enumerate() {
            problems.note(Pointer::from("/scopes").then(i), names::check_scope(scope));
        }

        let challenge = Challenge::new(config.realm, &rules.scopes);
        problems.or(Self {
            sources,
            required: config.required,
            forward: config.forward,
            max_token_bytes: config.max_token_bytes,
            keys,
            rules,
            mapping,
            challenge,
            memory: Memory::new(config.remember),
        })
    }
}

fn check_limits(rules: &Rules, max_token_bytes: usize, remember: usize, problems: &mut Problems) {
    const MAX_LEEWAY: Span = Span { millis: 10 * 60_000 };
    if rules.leeway > MAX_LEEWAY.millis {
        problems.add("/leeway", "must be at most 10m");
    }
    if rules.max_age == Some(0) {
        problems.add("/max-age", "must be more than 0");
    }
    if !(64..=64 * 1024).contains(&max_token_bytes) {
        problems.add("/max-token-bytes", "must be from 64 to 65536");
    }
    if remember > 100_000 {
        problems.add("/remember", "must be at most 100000");
    }
}

export_plugin!(Jwt: request);
