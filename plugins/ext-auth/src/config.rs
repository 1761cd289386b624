//! The configuration, as it is typed.

use std::{collections::BTreeMap, time::Duration};

use plugin_sdk::{Pointer, Problems, Span, names};
use schemars::JsonSchema;
use serde::Deserialize;

/// Whom to ask about a request, what to tell, and what to do with the answer.
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
    /// Headers of the request that the service is told. It always gets `x-forwarded-method`, `-uri`, `-host`, `-proto`, `-for`
    /// and `x-request-id`.
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
    /// Headers of its consent that are added to the response, such as a session's new cookie. A consent that is kept
    /// (`cache`) is kept without them.
    #[serde(default = "set_cookie")]
    pub(crate) client_headers: Vec<String>,
    /// Headers of its refusal that the client gets, beside those that describe its body.
    #[serde(default = "refusal_headers")]
    pub(crate) answer_headers: Vec<String>,
    /// How long the answer may take, at most `60s`.
    #[serde(default = "second")]
    pub(crate) timeout: Span,
    /// What becomes of a request when there is no answer, or one of 5xx: `deny` is 503.
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
    /// How long a consent holds for requests with the same method, host, path, query, client address and `headers`; at
    /// most `1h`, and `0s` for not at all.
    #[serde(default = "nothing")]
    pub(crate) cache: Span,
    /// The bucket of the store with the consents; it must be granted to the plugin.
    #[serde(default = "own_bucket")]
    pub(crate) bucket: String,
}

/// What becomes of a request that nobody has said anything about.
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
            ("client-headers", &self.client_headers),
            ("answer-headers", &self.answer_headers),
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
        if self.cache.seconds() > 3600 {
            problems.add("/cache", "must be at most 1h");
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
