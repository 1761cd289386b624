//! The configuration, as it is typed.

use std::{collections::BTreeMap, time::Duration};

use plugin_sdk::{Pointer, Problems, Span, names};
use schemars::JsonSchema;
use serde::Deserialize;

/// Authorizes requests by an external service.
#[derive(Debug, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "upstream": "authorizer", "path": "/check", "set-headers": ["x-user"] }))]
pub struct Config {
    /// The name of an upstream that is granted to the plugin.
    pub(crate) upstream: String,
    /// Path and query that are asked for.
    #[serde(default = "root")]
    pub(crate) path: String,
    /// The method of the question.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Request headers that are sent to the service. It always gets `x-forwarded-method`, `-uri`, `-host`,
    /// `-proto`, `-for` and `x-request-id`.
    #[serde(default = "authorization")]
    pub(crate) headers: Vec<String>,
    /// Headers of its consent (2xx) that replace those of the request, with all their values. What the client sent under
    /// these names is always removed.
    #[serde(default)]
    pub(crate) set_headers: Vec<String>,
    /// Attributes of the exchange and the headers of its consent that they get, such as `ext-auth.user: x-user`. Several
    /// values are joined by commas.
    #[serde(default)]
    pub(crate) set_attributes: BTreeMap<String, String>,
    /// Headers of an allowing response (2xx) that are added to the response to the client, such as a new
    /// session cookie. They are not cached (`cache-ttl`).
    #[serde(default = "set_cookie")]
    pub(crate) client_headers_on_success: Vec<String>,
    /// Headers of a denying response that the client gets, in addition to those that describe its body.
    #[serde(default = "refusal_headers")]
    pub(crate) client_headers_on_denial: Vec<String>,
    /// How long the answer may take, at most `60s`.
    #[serde(default = "second")]
    pub(crate) timeout: Span,
    /// Handling of requests when the service does not respond or responds with 5xx: `deny` is 503.
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
    /// How long an allowing response is cached for requests with the same method, host, path, query, client
    /// address and `headers`; at most `1h`, and `0s` disables the cache.
    #[serde(default = "nothing")]
    pub(crate) cache_ttl: Span,
    /// The bucket of the store with the consents; it must be granted to the plugin.
    #[serde(default = "own_bucket")]
    pub(crate) bucket: String,
}

/// Handling of requests without a decision of the service.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFailure {
    /// It is answered with 503.
    #[default]
    Deny,
    /// It passes, without any of the headers and attributes.
    Allow,
}

const MAX_NAMES: usize = 32;

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        let lists = [
            ("headers", &self.headers),
            ("set-headers", &self.set_headers),
            ("client-headers-on-success", &self.client_headers_on_success),
            ("client-headers-on-denial", &self.client_headers_on_denial),
        ];
        for (key, list) in lists {
            let at = Pointer::root().then(key);
            if list.len() > MAX_NAMES {
                problems.add(&at, format!("has more than {MAX_NAMES} names"));
            }
            for (i, name) in list.iter().enumerate() {
                problems.note(at.then(i), names::check_settable_header(name));
            }
        }
        let at = Pointer::from("/set-attributes");
        for (name, header) in &self.set_attributes {
            problems.note(at.then(name), names::check_attribute(name).and_then(|()| names::check_token(header)));
        }
        problems.note("/method", names::check_token(&self.method));
        if self.method == "CONNECT" {
            problems.add("/method", "must be one that asks for something");
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            problems.add("/path", "must begin with a slash and be plain ASCII");
        }
        if self.timeout.0.is_zero() || self.timeout.seconds() > 60 {
            problems.add("/timeout", "must be from 1ms to 60s");
        }
        if self.cache_ttl.seconds() > 3600 {
            problems.add("/cache-ttl", "must be at most 1h");
        }
    }
}

fn root() -> String {
    "/".into()
}

fn get() -> String {
    "GET".into()
}

fn authorization() -> Vec<String> {
    vec!["authorization".into()]
}

fn set_cookie() -> Vec<String> {
    vec!["set-cookie".into()]
}

fn refusal_headers() -> Vec<String> {
    ["www-authenticate", "location", "set-cookie", "retry-after"].map(String::from).to_vec()
}

fn second() -> Span {
    Span(Duration::from_secs(1))
}

fn nothing() -> Span {
    Span(Duration::ZERO)
}

fn own_bucket() -> String {
    "ext-auth".into()
}
