//! The configuration, as it is typed.

use std::{collections::BTreeMap, time::Duration};

use plugin_jose::ClaimNames;
use plugin_sdk::{Span, given};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Which algorithms ID tokens may have: those with a public key.
pub(crate) const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

/// Which providers sign users in, and how their sessions are kept.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The OpenID providers. With several, users choose one on a page.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) providers: Vec<ProviderConfig>,
    /// Names of secrets with 32 bytes, or base64 of that (`openssl rand -base64 32`). The first encrypts cookies and stored sessions,
    /// all of them decrypt, so a new key is put before the old one. The grant `use` is enough.
    #[schemars(length(min = 1, max = 4))]
    pub(crate) keys: Vec<String>,
    /// Where sessions are kept: encrypted in cookies, or in the store, where the cookie is only a random identifier.
    #[serde(default)]
    pub(crate) sessions: Sessions,
    /// The bucket of the store for sessions, for locks, and for logins and sessions that are over.
    #[serde(default = "bucket")]
    pub(crate) bucket: String,
    /// Beginning of the plugin's own paths, such as `/oidc/callback/NAME`. The route must match them.
    #[serde(default = "path")]
    pub(crate) path: String,
    /// Scheme, host and port by which browsers reach the gateway, such as `https://app.example.com`; as the request says if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) origin: Option<String>,
    /// Name of the session cookie, which gets the prefix `__Host-`.
    #[serde(default = "cookie")]
    pub(crate) cookie: String,
    /// Cookies without `Secure` and without `__Host-`, for development without TLS.
    #[serde(default)]
    pub(crate) insecure_cookies: bool,
    /// The longest time from login until the user has to log in again, `1m` to `30d`.
    #[serde(default = "lifetime")]
    pub(crate) lifetime: Span,
    /// How long before their expiry the tokens are refreshed, at most half of their lifetime.
    #[serde(default = "refresh_ahead")]
    pub(crate) refresh_ahead: Span,
    /// How long a login may take, `1m` to `1h`.
    #[serde(default = "login_timeout")]
    pub(crate) login_timeout: Span,
    /// How far the clocks of provider and gateway may be apart, at most `10m`.
    #[serde(default = "leeway")]
    pub(crate) leeway: Span,
    /// How long a request to a provider may take, at most `30s`.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    /// Whether a request without a session is answered by a login or 401. If not it goes on as anonymous.
    #[serde(default = "yes")]
    pub(crate) required: bool,
    /// Request headers and the claims of the ID token that they get, such as `x-user: sub`. What the client sent under these names is
    /// always removed. A claim is its name, or a JSON Pointer (RFC 6901) to a value inside a claim.
    #[serde(default)]
    pub(crate) claims_to_headers: ClaimNames,
    /// Attributes of the exchange and the claims that they get. `oidc.sub` and `oidc.iss` are always set.
    #[serde(default)]
    pub(crate) claims_to_attributes: ClaimNames,
    /// Whether the upstream gets the access token, as `authorization: Bearer TOKEN`. It then gets no `authorization` of clients, and
    /// a session without access token is over. If not, the client's own `authorization` passes.
    #[serde(default)]
    pub(crate) forward_access_token: bool,
    /// Where the browser goes after a logout: a path, which is registered at the provider as post-logout redirect URI. A page of the
    /// plugin, `PATH/logged-out`, if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) after_logout: Option<String>,
    /// Whether providers can end sessions (OpenID Connect Back-Channel Logout 1.0). Each request then asks the store whether its
    /// session is over.
    #[serde(default)]
    pub(crate) backchannel_logout: bool,
    /// The protection space in `WWW-Authenticate`.
    #[serde(default = "realm")]
    pub(crate) realm: String,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sessions {
    /// In encrypted cookies.
    #[default]
    Cookie,
    /// In the bucket of the store.
    Store,
}

/// An OpenID provider.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ProviderConfig {
    /// Lower-case letters, digits and `-`. It is part of the redirect URI: `ORIGIN/PATH/callback/NAME`.
    pub(crate) name: String,
    /// What users see where they choose a provider; the name if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) label: Option<String>,
    /// The provider's issuer identifier, exactly as its metadata and its tokens have it.
    pub(crate) issuer: String,
    /// The upstream that reaches the issuer's host. It must be granted to the plugin.
    pub(crate) upstream: String,
    /// Upstreams for endpoints on other hosts, by their origin: `https://keys.example.com: keys`.
    #[serde(default)]
    #[schemars(schema_with = "texts")]
    pub(crate) other_upstreams: BTreeMap<String, String>,
    /// The client identifier that the provider issued.
    pub(crate) client_id: String,
    /// The name of the secret with the client secret, which must be granted with `read`. Without it the client is a public one.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) client_secret: Option<String>,
    /// How the client secret is sent to the token endpoint.
    #[serde(default)]
    pub(crate) client_auth: ClientAuth,
    /// The scopes that are requested; `openid` must be among them. Providers often issue refresh tokens only with `offline_access`.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// More parameters of the authorization request, such as `prompt: login`. They are requests that the provider may ignore, except
    /// `max_age`, in seconds: the ID token must have an `auth_time` that is not older at the beginning of the login.
    #[serde(default)]
    #[schemars(schema_with = "texts")]
    pub(crate) authorization_parameters: BTreeMap<String, String>,
    /// The signature algorithms that ID tokens and logout tokens may have.
    #[serde(default = "algorithms")]
    #[schemars(schema_with = "algorithm_names")]
    pub(crate) algorithms: Vec<String>,
}

/// How the client secret is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientAuth {
    /// In `authorization` (`client_secret_basic`).
    #[default]
    Basic,
    /// In the body (`client_secret_post`).
    Post,
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
}

fn algorithm_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "enum": ALGORITHMS } })
}

fn yes() -> bool {
    true
}

fn bucket() -> String {
    "oidc".into()
}

fn path() -> String {
    "/oidc".into()
}

fn cookie() -> String {
    "oidc".into()
}

fn lifetime() -> Span {
    Span(Duration::from_secs(8 * 3600))
}

fn refresh_ahead() -> Span {
    Span(Duration::from_secs(60))
}

fn login_timeout() -> Span {
    Span(Duration::from_secs(600))
}

fn leeway() -> Span {
    Span(Duration::from_secs(30))
}

fn timeout() -> Span {
    Span(Duration::from_secs(5))
}

fn realm() -> String {
    "gateway".into()
}

fn scopes() -> Vec<String> {
    vec!["openid".into()]
}

fn algorithms() -> Vec<String> {
    ALGORITHMS.map(Into::into).to_vec()
}
