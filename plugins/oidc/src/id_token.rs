//! Verification of ID tokens (OpenID Connect Core 1.0 §3.1.3.7, RFC 7519) and logout tokens (Back-Channel Logout 1.0 §2.6).

use plugin_jose::{Token, Verdict, base64, json, token::TokenError};
use plugin_sdk::{
    crypto::{self, Algorithm as Known, HashFunction},
    warn,
};
use serde_json::{Map, Value};

use crate::{
    provider::Provider,
    refusal::{Refusal, Stop},
};

pub(crate) type Claims = Map<String, Value>;

/// Longer tokens are not verified.
const MAX_TOKEN: usize = 64 * 1024;
/// The event of a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token that is valid for longer is refused, in milliseconds.
const MAX_LOGOUT_VALIDITY: i64 = 24 * 3_600_000;
/// A logout token that is older is refused, in milliseconds. Providers send them at once; Back-Channel Logout 1.0 §4 recommends that
/// they are valid for at most two minutes.
const MAX_LOGOUT_AGE: i64 = 3_600_000;

/// What an ID token must agree with.
pub(crate) struct Expected<'a> {
    /// Milliseconds since the Unix epoch.
    pub(crate) now: i64,
    pub(crate) leeway: i64,
    /// Of the login. If there is a `subject`, the token is a refreshed one, which need not have it (Core §12.2).
    pub(crate) nonce: Option<&'a str>,
    /// Of the login, for a refreshed ID token.
    pub(crate) subject: Option<&'a str>,
    /// When the user must have been authenticated at the earliest, in milliseconds since the Unix epoch (Core §3.1.3.7, 13).
    pub(crate) authenticated_since: Option<i64>,
    /// That came with the token.
    pub(crate) access_token: &'a str,
}

/// Why a token is not accepted, for the log.
type Fault = &'static str;

impl Provider {
    /// The claims of a valid ID token.
    pub(crate) fn verify_id_token(&mut self, text: &str, expected: &Expected<'_>) -> Result<Claims, Stop> {
        let checked = self.verify(text, &["at+jwt", "logout+jwt"])?.and_then(|(claims, algorithm)| {
            self.check_id_token(&claims, expected)?;
            check_access_token(&claims, algorithm, expected.access_token)?;
            Ok(claims)
        });
        checked.map_err(|fault| {
            warn!("an ID token is not valid: {fault}"; provider = self.name);
            Refusal::IdToken.into()
        })
    }

    /// The claims of a valid logout token.
    pub(crate) fn verify_logout_token(&mut self, text: &str, now: i64, leeway: i64) -> Result<Claims, Stop> {
        let checked = self.verify(text, &["at+jwt"])?.and_then(|(claims, _)| {
            self.check_issuer_and_audience(&claims)?;
            check_times(&claims, now, leeway)?;
            check_logout(&claims)?;
            check_age(&claims, now, leeway)?;
            Ok(claims)
        });
        checked.map_err(|fault| {
            warn!("a logout token is not valid: {fault}"; provider = self.name);
            Refusal::LogoutToken.into()
        })
    }

    /// The claims of a token that the provider has signed, and its algorithm.
    fn verify(&mut self, text: &str, other_types: &[&str]) -> Result<Result<(Claims, Known), Fault>, Stop> {
        if text.len() > MAX_TOKEN {
            return Ok(Err("it is too long"));
        }
        let token = match Token::read(text.as_bytes()) {
            Ok(token) => token,
            Err(TokenError::Algorithm) => return Ok(Err("its algorithm is not accepted")),
            Err(_) => return Ok(Err("it is malformed")),
        };
        if !self.algorithms.contains(&token.algorithm) {
            return Ok(Err("its algorithm is not accepted"));
        }
        // RFC 8725 §3.11: a token of another kind is none.
        let typ = token.typ.as_deref().unwrap_or_default();
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if other_types.iter().any(|other| other.eq_ignore_ascii_case(typ)) {
            return Ok(Err("it is of another type"));
        }
        match self.keys()?.verify(&token)? {
            Verdict::Good => {}
            Verdict::Bad => return Ok(Err("its signature is not valid")),
            Verdict::NoKey => return Ok(Err("no key of the provider is for it")),
        }
        Ok(token.claims().map(|claims| (claims, token.algorithm.0)).map_err(|_| "its claims are malformed"))
    }

    fn check_id_token(&self, claims: &Claims, expected: &Expected<'_>) -> Result<(), Fault> {
        self.check_issuer_and_audience(claims)?;
        check_times(claims, expected.now, expected.leeway)?;
        let subject = text(claims, "sub")
            .filter(|subject| !subject.is_empty() && subject.len() <= 255)
            .ok_or("it has no `sub`")?;
        if expected.subject.is_some_and(|expected| expected != subject) {
            return Err("its `sub` is another one");
        }
        let may_lack_nonce = expected.subject.is_some() && !claims.contains_key("nonce");
        if expected.nonce.is_some_and(|nonce| text(claims, "nonce") != Some(nonce)) && !may_lack_nonce {
            return Err("its `nonce` is not that of the login");
        }
        if let Some(since) = expected.authenticated_since {
            let since = since.saturating_sub(expected.leeway);
            if time(claims, "auth_time").is_none_or(|time| time < since) {
                return Err("it has no `auth_time` within `max_age`");
            }
        }
        Ok(())
    }

    fn check_issuer_and_audience(&self, claims: &Claims) -> Result<(), Fault> {
        if text(claims, "iss") != Some(&self.issuer) {
            return Err("its `iss` is not the issuer");
        }
        let audiences = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.as_slice(),
            Some(audience) => std::slice::from_ref(audience),
            None => &[],
        };
        if !audiences.iter().any(|audience| audience == self.client_id.as_str()) {
            return Err("its `aud` has no client identifier of ours");
        }
        match claims.get("azp") {
            Some(party) if party != self.client_id.as_str() => Err("its `azp` is another client"),
            None if audiences.len() > 1 => Err("it has several audiences and no `azp`"),
            _ => Ok(()),
        }
    }
}

fn check_times(claims: &Claims, now: i64, leeway: i64) -> Result<(), Fault> {
    let expires = time(claims, "exp").ok_or("it has no `exp`")?;
    if now >= expires.saturating_add(leeway) {
        return Err("it has expired");
    }
    let issued = time(claims, "iat").ok_or("it has no `iat`")?;
    if issued > now.saturating_add(leeway) {
        return Err("its `iat` is in the future");
    }
    if claims.contains_key("nbf") && time(claims, "nbf").is_none_or(|begins| begins > now.saturating_add(leeway)) {
        return Err("it is not valid yet");
    }
    Ok(())
}

fn check_logout(claims: &Claims) -> Result<(), Fault> {
    let event = claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err("it has no logout event");
    }
    // So that an ID token is no logout token.
    if claims.contains_key("nonce") {
        return Err("it has a `nonce`");
    }
    if text(claims, "jti").is_none_or(str::is_empty) {
        return Err("it has no `jti`");
    }
    if text(claims, "sub").is_none() && text(claims, "sid").is_none() {
        return Err("it has neither `sub` nor `sid`");
    }
    Ok(())
}

/// A logout token is remembered until it expires, so that it is not accepted again.
fn check_age(claims: &Claims, now: i64, leeway: i64) -> Result<(), Fault> {
    if time(claims, "exp").is_none_or(|expires| expires > now.saturating_add(MAX_LOGOUT_VALIDITY)) {
        return Err("it is valid for more than a day");
    }
    let latest = now.saturating_sub(MAX_LOGOUT_AGE).saturating_sub(leeway);
    if time(claims, "iat").is_none_or(|issued| issued < latest) {
        return Err("it was issued more than an hour ago");
    }
    Ok(())
}

/// Core §3.1.3.8: the left half of the access token's hash.
fn check_access_token(claims: &Claims, algorithm: Known, access_token: &str) -> Result<(), Fault> {
    let Some(expected) = claims.get("at_hash") else { return Ok(()) };
    let hash = match algorithm {
        Known::Hs256 | Known::Rs256 | Known::Ps256 | Known::Es256 => HashFunction::Sha256,
        Known::Hs384 | Known::Rs384 | Known::Ps384 | Known::Es384 => HashFunction::Sha384,
        // Ed25519 is with SHA-512.
        _ => HashFunction::Sha512,
    };
    let digest = crypto::digest(hash, access_token.as_bytes()).map_err(|_| "its `at_hash` cannot be checked")?;
    let half = base64::encode_url(&digest[..digest.len() / 2]);
    if expected == half.as_str() { Ok(()) } else { Err("its `at_hash` is not that of the access token") }
}

pub(crate) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A NumericDate (RFC 7519 §2), in milliseconds.
pub(crate) fn time(claims: &Claims, name: &str) -> Option<i64> {
    claims.get(name)?.as_f64().map(|seconds| (seconds * 1000.0) as i64)
}

/// The claims of an ID token that was verified before.
pub(crate) fn verified_claims(token: &str) -> Option<Claims> {
    json::object(&base64::decode_url(token.split('.').nth(1)?.as_bytes())?)
}
