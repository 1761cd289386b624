//! What the operator writes, and what it means once checked.

use std::time::Duration;

use plugin_sdk::{Pointer, Problems, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::origin::Origin;

/// Which pages may use this API from a browser, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = plugin_sdk::serde_json::json!({ "allow-origins": ["https://app.example.com", "https://*.example.org"] }))]
pub struct Config {
    /// Origins whose pages are let in: `https://app.example.com`, `https://*.example.com` for all subdomains,
    /// `http://localhost:*` for any port, `null`, or `*` alone for all origins.
    #[schemars(length(min = 1))]
    allow_origins: Vec<String>,
    /// Methods that pages may use, or `*` alone for all.
    #[serde(default = "methods")]
    allow_methods: Vec<String>,
    /// Request headers that pages may set beyond the harmless ones, or `*`. Without credentials `*` does not stand for
    /// `authorization`, which can be listed beside it.
    #[serde(default)]
    allow_headers: Vec<String>,
    /// Response headers that pages may read beyond the harmless ones, or `*`, which needs `allow-credentials: false`.
    #[serde(default)]
    expose_headers: Vec<String>,
    /// Whether pages may send cookies and other credentials of their user.
    #[serde(default)]
    allow_credentials: bool,
    /// How long browsers may remember the answer to a preflight; `0s` for not at all.
    #[serde(default = "ten_minutes")]
    max_age: Span,
    /// Whether public pages may reach this API in a private network.
    #[serde(default)]
    allow_private_network: bool,
}

/// A configuration that has been checked, in the form in which it is sent.
pub struct Settings {
    pub origins: Vec<Origin>,
    pub methods: Allowed,
    pub headers: Allowed,
    pub expose: Option<String>,
    pub credentials: bool,
    pub max_age: String,
    pub private_network: bool,
}

/// What a preflight is told about methods or headers.
pub enum Allowed {
    Nothing,
    /// A list for the response field.
    These(String),
    /// What was asked for comes back: with credentials, browsers take `*` for a name (Fetch, "CORS-preflight fetch").
    Asked,
}

impl Settings {
    /// Everyone gets the same answer then, and caches need not tell origins apart.
    pub fn lets_in_everyone(&self) -> bool {
        self.origins.first() == Some(&Origin::Any)
    }
}

impl Config {
    pub fn check(self) -> Result<Settings, Problems> {
        let mut problems = Problems::default();
        let at = Pointer::from("/allow-origins");
        if self.allow_origins.is_empty() {
            problems.add(&at, "must name an origin, or `*` for everyone");
        }
        let mut origins = Vec::with_capacity(self.allow_origins.len());
        for (i, text) in self.allow_origins.iter().enumerate() {
            let Some(origin) = problems.note(at.then(i), Origin::parse(text)) else { continue };
            if origin == Origin::Any && self.allow_origins.len() > 1 {
                problems.add(at.then(i), "`*` stands for every origin, and so alone");
            }
            if self.allow_credentials && matches!(origin, Origin::Any | Origin::Opaque) {
                let message =
                    format!("`{text}` and `allow-credentials` would let any page act as its user: list origins");
                problems.add(at.then(i), message);
            }
            origins.push(origin);
        }
        let methods = names(&self.allow_methods, "/allow-methods", self.allow_credentials, &mut problems);
        let headers = names(&self.allow_headers, "/allow-headers", self.allow_credentials, &mut problems);
        let expose = match names(&self.expose_headers, "/expose-headers", self.allow_credentials, &mut problems) {
            Allowed::Nothing => None,
            Allowed::These(list) => Some(list),
            Allowed::Asked => {
                problems.add("/expose-headers", "browsers take `*` for a name with `allow-credentials`: list headers");
                None
            }
        };
        if self.max_age.0 > Duration::from_secs(86_400) {
            problems.add("/max-age", "must be at most `1d`; browsers believe no more");
        }
        problems.or(Settings {
            origins,
            methods,
            headers,
            expose,
            credentials: self.allow_credentials,
            max_age: self.max_age.seconds().to_string(),
            private_network: self.allow_private_network,
        })
    }
}

fn names(list: &[String], at: &str, credentials: bool, problems: &mut Problems) -> Allowed {
    for (i, name) in list.iter().enumerate() {
        if !is_token(name) {
            problems.add(Pointer::from(at).then(i), format!("`{name}` is not a name that HTTP allows"));
        }
    }
    if list.is_empty() {
        Allowed::Nothing
    } else if credentials && list.iter().any(|name| name == "*") {
        Allowed::Asked
    } else {
        Allowed::These(list.join(", "))
    }
}

/// RFC 9110 §5.6.2; `*` is one.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).into()
}

fn ten_minutes() -> Span {
    Span(Duration::from_secs(600))
}
