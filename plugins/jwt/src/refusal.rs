//! Why a request is turned away, and how it is told (RFC 6750 §3).
//!
//! The texts are fixed: nothing that the client sent comes back to it.

use plugin_sdk::{Problem, Reply};

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Ambiguous,
    TooLong,
    Malformed,
    Algorithm,
    Critical,
    Type,
    UnknownKey,
    Signature,
    Claims,
    NoExpiry,
    Expired,
    NotYetValid,
    Issuer,
    Audience,
    UnusableClaim,
    Scope,
    Claim,
    NoRoom,
    /// The keys cannot be had now; worth another try after so many seconds.
    NoKeys(u64),
}

impl Refusal {
    /// For the attribute `jwt.error`, from which the access log tells the operator.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::TooLong => "too-long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Type => "type",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::NoExpiry => "no-expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::UnusableClaim => "unusable-claim",
            Self::Scope => "insufficient-scope",
            Self::Claim => "insufficient-claims",
            Self::NoRoom => "no-room",
            Self::NoKeys(_) => "no-keys",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Missing => "a token is required",
            Self::Ambiguous => "the request carries more than one token",
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::Critical => "the token has critical extensions that are not understood",
            Self::Type => "the token is not of the required type",
            Self::UnknownKey | Self::Signature => "the token is not signed by an accepted key",
            Self::Claims => "the token's claims are malformed",
            Self::NoExpiry => "the token has no expiry",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Issuer => "the token's issuer is not accepted",
            Self::Audience => "the token is not meant for this service",
            Self::UnusableClaim => "a claim of the token cannot be passed on",
            Self::Scope => "the token lacks a required scope",
            Self::Claim => "the token lacks a required claim",
            Self::NoRoom => "the request's headers and the token's claims are too large together",
            Self::NoKeys(_) => "the keys for checking tokens cannot be had at present",
        }
    }

    /// Status and error code of RFC 6750 §3.1. A client that sent no token gets no error code.
    fn status(self) -> (u16, Option<&'static str>) {
        match self {
            Self::Missing => (401, None),
            Self::Ambiguous => (400, Some("invalid_request")),
            Self::Scope | Self::Claim => (403, Some("insufficient_scope")),
            Self::NoRoom => (431, None),
            Self::NoKeys(_) => (503, None),
            _ => (401, Some("invalid_token")),
        }
    }
}

/// What the gateway tells clients that it turns away.
pub(crate) struct Challenge {
    realm: String,
    /// The required scopes, separated by spaces.
    scope: String,
}

impl Challenge {
    /// Realm and scopes must be fit to stand between quotation marks.
    pub(crate) fn new(realm: String, scopes: &[String]) -> Self {
        Self { realm, scope: scopes.join(" ") }
    }

    /// `request` is the identifier by which the operator finds the exchange.
    pub(crate) fn reply(&self, refusal: Refusal, request: &str) -> Reply {
        let (status, error) = refusal.status();
        let detail = refusal.detail();
        let problem = Problem::new(status).detail(detail).member("request-id", request);
        match refusal {
            Refusal::NoRoom => return problem.into(),
            Refusal::NoKeys(seconds) => return problem.with_header("retry-after", seconds.to_string()).into(),
            _ => {}
        }
        let mut challenge = format!("Bearer realm=\"{}\"", self.realm);
        if let Some(error) = error {
            challenge += &format!(", error=\"{error}\", error_description=\"{detail}\"");
        }
        if refusal == Refusal::Scope {
            challenge += &format!(", scope=\"{}\"", self.scope);
        }
        problem.with_header("www-authenticate", challenge).into()
    }
}
