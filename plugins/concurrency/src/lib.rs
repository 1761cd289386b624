//! Limits how many requests of a client are in progress at once, over all workers.
//!
//! Each request holds a lease in the gateway's store. The gateway renews it for as long as the exchange lasts and releases it at
//! its end, so there is nothing to do here after the request phase.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use plugin_sdk::{
    Decision, Error, Plugin, Pointer, Problem, Problems, Request, RequestFilter, Span, export_plugin, metrics, names,
    serde_json,
    store::{Bucket, Scope, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many requests may be in progress at once, and whose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "limit": 10, "key": { "attribute": "jwt.sub" } }))]
struct Config {
    /// Maximum number of concurrent requests per client, up to 65536.
    #[schemars(range(max = MAX_LIMIT))]
    limit: NonZeroU32,
    /// What tells clients apart.
    #[serde(default)]
    key: Key,
    /// Handling of requests without the header or attribute of the key.
    #[serde(default)]
    missing: Missing,
    /// Routes that give the same name here count together; each counts for itself if left out.
    shared: Option<String>,
    /// What a request over the limit is answered with: 429, or 503 where the limit protects the service.
    #[serde(default)]
    status: Status,
    /// When a client that is turned away may come again, `1s` to `1h`.
    #[serde(default = "second")]
    retry_after: Span,
    /// The bucket of the store in which the counts are; it must be granted to the plugin.
    #[serde(default = "own_bucket")]
    bucket: String,
    /// How long the requests of a gateway that was killed still count, `1s` to `1h`. Requests may take longer.
    #[serde(default = "half_a_minute")]
    lease_ttl: Span,
    /// Handling of requests while the store is unavailable.
    #[serde(default)]
    on_store_failure: OnStoreFailure,
}

/// What happens to requests that cannot be counted.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnStoreFailure {
    /// They pass without being counted.
    #[default]
    Allow,
    /// They are answered with 503.
    Deny,
    /// Each gateway counts its own requests.
    Local,
}

/// What tells clients apart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Key {
    /// The client's address; of IPv6 its /64.
    #[default]
    ClientAddress,
    /// Nothing: one count for all clients.
    Route,
    /// The first value of a header. Clients choose it freely, unless an earlier plugin has checked it.
    Header(String),
    /// An attribute that an earlier plugin has set, such as `jwt.sub`.
    Attribute(String),
}

/// What becomes of a request that lacks the key.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    /// The client's address takes its place.
    #[default]
    ClientAddress,
    /// The request passes without being counted.
    Skip,
}

/// A status for what is over the limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u16")]
#[schemars(with = "u16", extend("enum" = [429, 503], "default" = 429))]
struct Status(Option<NonZeroU32>);

impl TryFrom<u16> for Status {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            429 => Ok(Self(None)),
            503 => Ok(Self(NonZeroU32::new(503))),
            _ => Err("must be 429 or 503"),
        }
    }
}

impl Status {
    fn code(self) -> u16 {
        if self.0.is_some() { 503 } else { 429 }
    }
}

/// The holders that a key of the store can have.
const MAX_LIMIT: u32 = 65_536;

struct Concurrency {
    limit: u32,
    key: Key,
    missing: Missing,
    shared: Option<String>,
    status: u16,
    retry_after: u64,
    bucket: Bucket,
    lease_ttl: Duration,
    on_store_failure: OnStoreFailure,
}

impl Plugin for Concurrency {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let at = Pointer::from("/key");
        match &config.key {
            Key::Header(name) => drop(problems.note(at.then("header"), names::check_token(name))),
            Key::Attribute(name) => drop(problems.note(at.then("attribute"), names::check_attribute(name))),
            Key::ClientAddress | Key::Route => {}
        }
        if config.shared.as_ref().is_some_and(|name| name.is_empty() || name.len() > 64) {
            problems.add("/shared", "must be a name of 1 to 64 bytes");
        }
        if config.limit.get() > MAX_LIMIT {
            problems.add("/limit", format!("must be {MAX_LIMIT} at most"));
        }
        for (place, span) in [("/retry-after", config.retry_after), ("/lease-ttl", config.lease_ttl)] {
            if !(1..=3600).contains(&span.seconds()) {
                problems.add(place, "must be from 1s to 1h");
            }
        }
        let bucket = Bucket::new(config.bucket.clone());
        // A missing grant should stop the gateway, not the first request. Another failure may pass.
        if let Err(StoreError::Denied(_)) = bucket.get("") {
            let name = &config.bucket;
            problems.add(
                "/bucket",
                format!("the bucket `{name}` is not granted; add it to the plugin's `grants: {{ store: [{name}] }}`"),
            );
        }
        problems.or(Self {
            limit: config.limit.get(),
            key: config.key,
            missing: config.missing,
            shared: config.shared,
            status: config.status.code(),
            retry_after: config.retry_after.seconds(),
            bucket,
            lease_ttl: config.lease_ttl.0,
            on_store_failure: config.on_store_failure,
        })
    }
}

impl RequestFilter for Concurrency {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let Some(key) = self.key(request) else { return Ok(Decision::Next) };
        let acquire = |scope| self.bucket.acquire(&key, self.limit, self.lease_ttl, scope);
        let acquisition = match acquire(Scope::Shared) {
            Ok(acquisition) => acquisition,
            Err(error @ StoreError::Denied(_)) => return Err(error.into()),
            Err(error) => {
                metrics::add("concurrency_store_failures", 1, &[("route", &request.route())]);
                plugin_sdk::debug!("a request is not counted: {error}");
                match self.on_store_failure {
                    // The limit protects; without it the service still works.
                    OnStoreFailure::Allow => return Ok(Decision::Next),
                    OnStoreFailure::Deny => {
                        let detail = "the service is not available, try again later";
                        return Ok(Problem::new(503).detail(detail).member("request-id", request.id()).into());
                    }
                    OnStoreFailure::Local => acquire(Scope::Local)?,
                }
            }
        };
        Ok(if acquisition.lease.is_some() { Decision::Next } else { self.refuse(request).into() })
    }
}

export_plugin!(Concurrency: request);

impl Concurrency {
    /// Whom the request counts for; nobody, if it is not counted.
    fn key(&self, request: &Request) -> Option<String> {
        let value = match &self.key {
            Key::ClientAddress => Some(network(&request.client_address())),
            Key::Route => Some("all".to_owned()),
            Key::Header(name) => request.header_bytes(name).and_then(|value| digest(name, &value)),
            Key::Attribute(name) => request.attribute(name).and_then(|value| digest(name, value.as_bytes())),
        };
        let value = match (value, self.missing) {
            (Some(value), _) => value,
            (None, Missing::ClientAddress) => network(&request.client_address()),
            (None, Missing::Skip) => return None,
        };
        Some(match &self.shared {
            Some(name) => format!("shared={name}/{value}"),
            None => format!("route={}/{value}", request.route()),
        })
    }

    fn refuse(&self, request: &Request) -> Problem {
        metrics::add("concurrency_denied", 1, &[("route", &request.route())]);
        // For the access log only; where there is no room for it, the answer is still the right one.
        let _ = request.set_attribute("concurrency.outcome", "denied");
        Problem::new(self.status)
            .detail("too many requests at once, try again later")
            .member("request-id", request.id())
            .with_header("retry-after", self.retry_after.to_string())
    }
}

/// One IPv4 client, or one customer's IPv6 network.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => format!("address={:x}/64", address.to_bits() >> 64),
        Ok(IpAddr::V4(address)) => format!("address={address}"),
        Err(_) => "address=".to_owned(),
    }
}

/// What clients send may be a credential or of any length, so the store gets 128 bits of its digest. An empty value
/// tells nobody apart.
fn digest(name: &str, value: &[u8]) -> Option<String> {
    let hex = |byte: &u8| format!("{byte:02x}");
    (!value.is_empty())
        .then(|| format!("{name}={}", Sha256::digest(value).iter().take(16).map(hex).collect::<String>()))
}

fn second() -> Span {
    Span(Duration::from_secs(1))
}

fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

fn own_bucket() -> String {
    "concurrency".into()
}
