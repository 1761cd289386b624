//! What the operator writes.

use std::time::Duration;

use plugin_sdk::{Pointer, Problems, Span, names, serde_json};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{directives::FOREVER, freshness::Defaults, key::Recipe};

/// What is kept, for how long, and for whom, beyond what upstreams say with `Cache-Control`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "default-ttl": "10s", "stale-while-revalidate": "1m", "stale-if-error": "1h" }))]
pub struct Config {
    /// What tells resources apart, beside what `Vary` names.
    pub key: Key,
    /// How long responses are fresh whose upstream says nothing about it. Only for `default-ttl-statuses`. Nothing is kept
    /// then if left out.
    pub default_ttl: Option<Span>,
    /// Status codes to which `default-ttl` applies. By default those of successes and of permanent redirections: an error that a
    /// client provokes, such as 404 or 405, is stored only if the upstream says so.
    #[schemars(length(min = 1, max = 64), inner(range(min = 200, max = 599)))]
    pub default_ttl_statuses: Vec<u16>,
    /// Whether consumers have responses of their own. A consumer is a client that sends `Authorization` or a client certificate,
    /// or that an earlier plugin identifies.
    pub consumers: Consumers,
    /// For responses that say nothing but when they last changed: fresh for this percentage of the time since then, a day
    /// at most. 10 is usual; 0 turns it off.
    #[schemars(range(max = 100))]
    pub heuristic: u8,
    /// How long a stale response is given while a new one is fetched, where the upstream does not say it (RFC 5861).
    pub stale_while_revalidate: Span,
    /// How long a stale response is given when the upstream fails or answers with 500, 502, 503 or 504, where it does not
    /// say it (RFC 5861).
    pub stale_if_error: Span,
    /// How long a stale response that has an `ETag` or `Last-Modified` is kept to ask the upstream whether it has changed.
    pub keep_stale: Span,
    /// How long concurrent requests for the same key wait for the first one to fetch it; `0s` disables the
    /// lock. At most 1 minute.
    pub lock_timeout: Span,
    /// The longest body that is kept. A sixteenth of the gateway's `limits.cache-bytes` is a limit too.
    pub max_body_bytes: u64,
    /// Whether clients may ask for more (`no-cache`, `max-age`, `no-store`, …) or less (`max-stale`, `only-if-cached`).
    pub client_directives: ClientDirectives,
    /// The response header whose words are the tags by which responses can be purged.
    pub tags_header: String,
    /// The name of this cache in `Cache-Status` (RFC 9211); empty to leave that header out.
    pub name: String,
    /// Responses of up to 1 MiB are kept in the gateway's Redis as well (`state.backend.redis`), for other gateways and for the
    /// time after a restart.
    pub shared: bool,
    /// The bucket in which responses are; it must be granted to the plugin. Routes with the same bucket share them.
    pub bucket: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            key: Key::default(),
            default_ttl: None,
            default_ttl_statuses: vec![200, 203, 204, 300, 301, 308],
            consumers: Consumers::Isolate,
            heuristic: 0,
            stale_while_revalidate: Span(Duration::ZERO),
            stale_if_error: Span(Duration::ZERO),
            keep_stale: Span(Duration::from_secs(3600)),
            lock_timeout: Span(Duration::from_secs(5)),
            max_body_bytes: 8 * 1024 * 1024,
            client_directives: ClientDirectives::Respect,
            tags_header: "cache-tag".to_owned(),
            name: "gateway".to_owned(),
            shared: false,
            bucket: "cache".to_owned(),
        }
    }
}

/// What tells resources apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Key {
    /// Whether the client used `http` or `https`. Turn it off where both have the same resources.
    pub scheme: bool,
    /// The host that was asked for. Turn it off where all hosts have the same resources.
    pub host: bool,
    /// The query: all of it, none of it, `{ only: [NAME] }` or `{ except: [NAME] }`. Parameters that are not in the key are
    /// removed from requests that go on to the upstream, so that they cannot change what is stored.
    pub query: Query,
    /// Request headers. Prefer `Vary` from the upstream.
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
    /// Cookies.
    #[schemars(length(max = 16))]
    pub cookies: Vec<String>,
    /// Attributes that earlier plugins have set, such as `jwt.sub` for responses that are kept for each user.
    #[schemars(length(max = 16))]
    pub attributes: Vec<String>,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            scheme: true,
            host: true,
            query: Query::All,
            headers: Vec::new(),
            cookies: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

/// What of the query counts. Parameters stay in their order; their names are compared after percent-decoding.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Query {
    /// All of it.
    #[default]
    All,
    /// Nothing.
    None,
    /// These parameters.
    Only(Vec<String>),
    /// All but these parameters, such as `utm_source`.
    Except(Vec<String>),
}

/// Whether consumers share responses.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Consumers {
    /// Each has responses of its own.
    #[default]
    Isolate,
    /// Responses that say `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5), and those to clients that are not
    /// identified, are given to all.
    Share,
}

/// Whether clients have a say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientDirectives {
    /// Their `Cache-Control` counts (RFC 9111 §5.2.1).
    #[default]
    Respect,
    /// They get what everyone gets. What they may see is not changed by it.
    Ignore,
}

/// Checked.
pub(crate) struct Settings {
    pub(crate) recipe: Recipe,
    pub(crate) defaults: Defaults,
    pub(crate) keep_stale: u32,
    pub(crate) lock_timeout: Duration,
    pub(crate) max_body_bytes: u64,
    pub(crate) client_directives: ClientDirectives,
    pub(crate) consumers: Consumers,
    pub(crate) tags_header: String,
    pub(crate) name: String,
    pub(crate) shared: bool,
    pub(crate) bucket: String,
}

impl Config {
    pub(crate) fn check(self) -> Result<Settings, Problems> {
        let mut problems = Problems::default();
        let at = Pointer::from("/key");
        for (i, name) in self.key.headers.iter().enumerate() {
            let _ = problems.note(at.then("headers").then(i), names::check_token(name));
        }
        for (i, name) in self.key.cookies.iter().enumerate() {
            let _ = problems.note(at.then("cookies").then(i), names::check_token(name));
        }
        for (i, name) in self.key.attributes.iter().enumerate() {
            let _ = problems.note(at.then("attributes").then(i), names::check_attribute(name));
        }
        let _ = problems.note("/tags-header", names::check_token(&self.tags_header));
        if !self.name.is_empty() {
            let _ = problems.note("/name", names::check_token(&self.name));
            // RFC 8941 §3.3.4, of which `Cache-Status` is made.
            if !self.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                problems.add("/name", "must begin with a letter");
            }
        }
        if self.heuristic > 100 {
            problems.add("/heuristic", "is a percentage: 100 at most");
        }
        if self.lock_timeout.0 > Duration::from_secs(60) {
            problems.add("/lock-timeout", "must be a minute at most");
        }
        if self.default_ttl.is_some_and(|ttl| ttl.0 < Duration::from_secs(1)) {
            problems.add("/default-ttl", "must be a second at least; leave it out to keep nothing");
        }
        for (i, status) in self.default_ttl_statuses.iter().enumerate() {
            // RFC 9111 §3.3, §4.3.4: neither is a response that could be given by itself.
            if !(200..600).contains(status) || matches!(status, 206 | 304) {
                problems
                    .add(Pointer::from("/default-ttl-statuses").then(i), "must be from 200 to 599, and not 206 or 304");
            }
        }
        problems.or(Settings {
            defaults: Defaults {
                lifetime: self.default_ttl.map(seconds),
                statuses: self.default_ttl_statuses,
                heuristic: f64::from(self.heuristic) / 100.0,
                while_revalidate: seconds(self.stale_while_revalidate),
                if_error: seconds(self.stale_if_error),
            },
            recipe: Recipe::new(self.key),
            keep_stale: seconds(self.keep_stale),
            lock_timeout: self.lock_timeout.0,
            max_body_bytes: self.max_body_bytes,
            client_directives: self.client_directives,
            consumers: self.consumers,
            tags_header: self.tags_header,
            name: self.name,
            shared: self.shared,
            bucket: self.bucket,
        })
    }
}

fn seconds(span: Span) -> u32 {
    u32::try_from(span.seconds()).unwrap_or(FOREVER).min(FOREVER)
}
