//! Upstreams, as they are typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{
    model::HostHeader,
    part::Part,
    units::{Share, Span},
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct Dns {
    /// IP addresses of name servers, with a port if it is not 53; the system's (`/etc/resolv.conf`) if left out.
    #[schemars(length(min = 1))]
    pub servers: Option<Vec<Part<String>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["endpoints"]))]
pub(in crate::config) struct Upstream {
    /// Each is an address, or a name of which every address is an endpoint.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Part<Endpoint>>,
    /// Which endpoint gets the next request.
    pub balance: Part<Balance>,
    /// How endpoints are found to be unfit.
    pub health: Part<Health>,
    /// For `https` endpoints.
    pub tls: Option<Part<UpstreamTls>>,
    /// The `Host` that the endpoint sees: the client's (`preserve`) or its own (`endpoint`).
    pub host: Part<HostHeader>,
    pub timeouts: Part<UpstreamTimeouts>,
    /// Unused connections kept to each endpoint, for each worker.
    #[schemars(range(max = 65_536))]
    pub idle_connections: Part<usize>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTimeouts {
    /// TCP and TLS.
    pub connect: Span,
    /// How long an unused connection is kept.
    pub idle: Span,
}

/// A URL, or a URL with a weight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Endpoint {
    Url(String),
    Weighted(WeightedEndpoint),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::config) struct WeightedEndpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    /// Its share of the requests, relative to the others.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub weight: u32,
}

/// `round-robin` goes by turns, `random` by lot, both by weight; `least-requests` takes, of two chosen at random, the
/// one with fewer requests under way; a hash takes the same endpoint for the same key of the request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Balance {
    Plain(PlainBalance),
    Hash(HashBalance),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum PlainBalance {
    RoundRobin,
    LeastRequests,
    Random,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::config) struct HashBalance {
    /// Requests with the same key go to the same endpoint, as long as it is there.
    pub hash: Part<HashKey>,
}

/// `client-address` (as far as trusted proxies tell), or one of `header`, `cookie` and `attribute`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum HashKey {
    Plain(PlainHashKey),
    Named(NamedHashKey),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum PlainHashKey {
    ClientAddress,
}

/// Exactly one of `header`, `cookie` and `attribute`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[schemars(extend("errorMessage" = "expected one of `header: NAME`, `cookie: NAME` and `attribute: NAME`"))]
pub(in crate::config) struct NamedHashKey {
    /// A header of the request.
    pub header: Option<String>,
    /// A cookie of the request.
    pub cookie: Option<String>,
    /// An attribute that a plugin set, such as `jwt.sub`.
    pub attribute: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// Endpoints are asked how they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Part<ActiveHealth>>,
    /// Endpoints are judged by how requests fare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<Part<PassiveHealth>>,
    /// Where a smaller share of the endpoints than this is fit, all are used: better a few failures than all the
    /// traffic on the last one. `0%` for only where none is fit.
    pub panic_threshold: Share,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["path"]))]
pub(in crate::config) struct ActiveHealth {
    /// What is asked for, with GET.
    pub path: String,
    /// The statuses of a good answer: `[200, 204]` or `["200-299"]`.
    #[schemars(length(min = 1))]
    pub expect: Vec<Part<Statuses>>,
    /// Between two checks, more or less a tenth.
    pub interval: Span,
    /// For connecting and answering.
    pub timeout: Span,
    /// So many bad answers in a row, and no more requests go there.
    #[schemars(range(min = 1, max = 1_000))]
    pub unhealthy_after: u32,
    /// So many good answers in a row, and requests go there again.
    #[schemars(range(min = 1, max = 1_000))]
    pub healthy_after: u32,
}

/// A status, or a range of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Statuses {
    One(#[schemars(range(min = 100, max = 599))] u16),
    Range(String),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct PassiveHealth {
    /// So many failures in a row eject an endpoint: statuses of 500 and above, and requests without a response.
    /// 0 for never.
    #[schemars(range(max = 1_000_000))]
    pub consecutive_failures: u32,
    /// Such a share of failures ejects an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<Share>,
    /// The share is not looked at before an endpoint has had so many requests within the window.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,
    /// Over what time the share is counted.
    pub window: Span,
    /// How long an endpoint stays ejected; twice as long the second time in short order, and so on.
    pub eject_for: Span,
    /// It never stays ejected for longer.
    pub eject_for_at_most: Span,
    /// No more of the endpoints are ejected at a time.
    pub max_ejected: Share,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// PEM file with the authorities that are believed; the system's if left out.
    pub ca: Option<String>,
    /// The name that is asked for and verified; the endpoint's host if left out.
    pub server_name: Option<String>,
}

fn one() -> u32 {
    1
}
