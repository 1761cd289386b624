//! Why a request does not reach the upstream, and what the client gets instead.
//!
//! The texts are fixed: nothing that the client or the provider sent comes back.

use plugin_sdk::{Error, Problem, Reply, crypto::CryptoError, stop_on_refused_edits, store::StoreError};

/// Why a request does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The request is refused, and the response says why.
    Refused(Refusal),
    /// The plugin itself failed.
    Failed(Error),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no session.
    NoSession,
    /// The login of a callback is not known.
    UnknownLogin,
    /// A callback or another request to one of the plugin's paths is not valid.
    InvalidRequest,
    /// The callback is of another provider (RFC 9207).
    OtherIssuer,
    /// The user or the provider has refused the login.
    LoginDenied,
    /// The provider does not accept the code.
    CodeRefused,
    /// The provider cannot be reached, or fails.
    ProviderUnavailable,
    /// The provider answers what it must not.
    ProviderError,
    /// The ID token is not valid.
    IdToken,
    /// The session does not fit into cookies, or into the store.
    SessionTooLarge,
    /// The tokens have expired, and could not be refreshed a moment ago, or it is not known whether they were.
    RefreshFailed,
    StoreUnavailable,
    /// Cookies for TLS alone, and a request without TLS.
    NeedsTls,
    LogoutToken,
    /// The logout was requested by another site, or is not what the user wants now.
    CrossSite,
    NotFound,
    Method,
    UnusableClaim,
    NoRoom,
}

impl Refusal {
    /// For the attribute `oidc.error`.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoSession => "no-session",
            Self::UnknownLogin => "unknown-login",
            Self::InvalidRequest => "invalid-request",
            Self::OtherIssuer => "other-issuer",
            Self::LoginDenied => "login-denied",
            Self::CodeRefused => "code-refused",
            Self::ProviderUnavailable => "provider-unavailable",
            Self::ProviderError => "provider-error",
            Self::IdToken => "id-token",
            Self::SessionTooLarge => "session-too-large",
            Self::RefreshFailed => "refresh-failed",
            Self::StoreUnavailable => "store-unavailable",
            Self::NeedsTls => "needs-tls",
            Self::LogoutToken => "logout-token",
            Self::CrossSite => "cross-site",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::UnusableClaim => "unusable-claim",
            Self::NoRoom => "no-room",
        }
    }

    fn status_and_detail(self) -> (u16, &'static str) {
        match self {
            Self::NoSession => (401, "a login is required"),
            Self::UnknownLogin => (400, "the login is unknown in this browser, has expired or was completed before"),
            Self::InvalidRequest => (400, "the request is not valid for this path"),
            Self::OtherIssuer => (400, "the response is not from the provider that the login began with"),
            Self::LoginDenied => (403, "the login was denied"),
            Self::CodeRefused => (400, "the provider does not accept the authorization code"),
            Self::ProviderUnavailable => (503, "the provider is unavailable"),
            Self::ProviderError => (502, "the provider's response is not valid"),
            Self::IdToken => (502, "the provider's ID token is not valid"),
            Self::SessionTooLarge => (502, "the session is too large"),
            Self::RefreshFailed => (503, "the session cannot be refreshed at present"),
            Self::StoreUnavailable => (503, "the session store is unavailable"),
            Self::NeedsTls => (400, "logins need https"),
            Self::LogoutToken => (400, "the logout token is not valid"),
            Self::CrossSite => (403, "the logout is not a navigation of the user on this site"),
            Self::NotFound => (404, "there is no such path or provider"),
            Self::Method => (405, "the method is not allowed for this path"),
            Self::UnusableClaim => (403, "a claim of the ID token cannot be passed on"),
            Self::NoRoom => (431, "the request's headers and the claims are too large together"),
        }
    }

    /// The whole reply. `request` is the identifier by which the operator finds the exchange.
    pub(crate) fn reply(self, request: &str) -> Reply {
        let (status, detail) = self.status_and_detail();
        let problem = Problem::new(status).detail(detail).member("request-id", request);
        let problem = problem.with_header("cache-control", "no-store");
        match self {
            Self::ProviderUnavailable | Self::StoreUnavailable | Self::RefreshFailed => {
                problem.with_header("retry-after", "5").into()
            }
            Self::Method => problem.with_header("allow", "GET, POST").into(),
            _ => problem.into(),
        }
    }

    /// What an API client gets that has no session. The scheme is that of draft-broyer-http-cookie-auth: HTTP has no registered one
    /// for cookies, and a 401 needs a challenge (RFC 9110 §15.5.2).
    pub(crate) fn challenge(request: &str, realm: &str, cookie: &str, login: &str) -> Reply {
        let challenge = format!("Cookie realm=\"{realm}\", form-action=\"{login}\", cookie-name=\"{cookie}\"");
        let (status, detail) = Self::NoSession.status_and_detail();
        let problem = Problem::new(status).detail(detail).member("request-id", request).member("login", login);
        problem.with_header("www-authenticate", challenge).with_header("cache-control", "no-store").into()
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CryptoError> for Stop {
    /// The keys were tried when they were configured. What is too large is the provider's doing, and must not make the plugin fail.
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::TooLarge(_) => Self::Refused(Refusal::SessionTooLarge),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Refused(Refusal::StoreUnavailable),
            StoreError::TooLarge => Self::Refused(Refusal::SessionTooLarge),
            error => Self::Failed(error.into()),
        }
    }
}

stop_on_refused_edits!(Stop, Refusal::NoRoom);
