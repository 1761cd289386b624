//! Upstreams, as they are typed.

use std::collections::BTreeMap;

use gateway_core::model::{HostHeader, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::{
    part::Part,
    units::{Share, Span},
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Dns {
    /// IP addresses of name servers, with a port if it is not 53; the system's (`/etc/resolv.conf`) if left out.
    #[schemars(length(min = 1))]
    pub servers: Option<Vec<Part<String>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["endpoints"]))]
pub(crate) struct Upstream {
    /// Each is an address, or a name of which every address is an endpoint: `http://HOST:PORT`, `https://HOST:PORT`, or
    /// `tcp://HOST:PORT` and `tls://HOST:PORT` for services that plugins such as `thrift-json` speak to.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Part<Endpoint>>,
    /// Which endpoint gets the next request.
    pub balance: Part<Balance>,
    /// How endpoints are found to be unfit.
    pub health: Part<Health>,
    /// When a request is sent again; never, but for what was not sent at all, if left out.
    pub retry: Option<Part<Retry>>,
    /// Stops sending while too many requests fail.
    pub circuit_breaker: Option<Part<CircuitBreaker>>,
    /// What is too much for the upstream.
    pub limits: Part<UpstreamLimits>,
    /// For `https` and `tls` endpoints.
    pub tls: Option<Part<UpstreamTls>>,
    /// What is spoken to endpoints. gRPC needs `http2`, or `auto` over TLS; WebSocket needs `http1`.
    pub protocol: Part<Protocol>,
    /// The `Host` that the endpoint sees: the client's (`preserve`) or its own (`endpoint`).
    pub host: Part<HostHeader>,
    pub timeouts: Part<UpstreamTimeouts>,
    /// Unused connections kept to each endpoint, for each worker.
    #[schemars(range(max = 65_536))]
    pub idle_connections: Part<usize>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct UpstreamTimeouts {
    /// TCP and TLS.
    pub connect: Span,
    /// From sending a request to the head of its response, each time that it is sent; the route's `request` bounds all
    /// of them together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Span>,
    /// A response's body of which no byte comes; the general `body` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Span>,
    /// How long an unused connection is kept.
    pub idle: Span,
}

/// A URL, or a URL with a weight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Endpoint {
    Url(String),
    Weighted(WeightedEndpoint),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct WeightedEndpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`; `tcp://` or `tls://` for what plugins speak to.
    pub url: String,
    /// Its share of the requests, relative to the others; no new ones for 0.
    #[serde(default = "one")]
    #[schemars(range(max = 1_000))]
    pub weight: u32,
}

/// `round-robin` goes by turns, `random` by lot, both by weight; `least-requests` takes, of two chosen at random, the
/// one with fewer requests under way; a hash takes the same endpoint for the same key of the request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Balance {
    Plain(PlainBalance),
    Hash(HashBalance),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlainBalance {
    RoundRobin,
    LeastRequests,
    Random,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HashBalance {
    /// Requests with the same key go to the same endpoint, as long as it is there.
    pub hash: Part<HashKey>,
}

/// `client-address` (as far as trusted proxies tell), or one of `header`, `cookie` and `attribute`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum HashKey {
    Plain(PlainHashKey),
    Named(NamedHashKey),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlainHashKey {
    ClientAddress,
}

/// Exactly one of `header`, `cookie` and `attribute`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[schemars(extend("errorMessage" = "expected one of `header: NAME`, `cookie: NAME` and `attribute: NAME`"))]
pub(crate) struct NamedHashKey {
    /// A header of the request.
    pub header: Option<String>,
    /// A cookie of the request.
    pub cookie: Option<String>,
    /// An attribute that a plugin set, such as `jwt.sub`.
    pub attribute: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Health {
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
pub(crate) struct ActiveHealth {
    /// What is asked for, with GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The gRPC health protocol instead of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Part<GrpcHealth>>,
    /// Nothing is asked: that a connection can be opened is a good answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Part<TcpHealth>>,
    /// Header fields of each check, such as `host` or `authorization`. Without `host` it is the endpoint's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Part<String>>,
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

/// `grpc.health.v1.Health/Check`; `SERVING` is a good answer.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct GrpcHealth {
    /// The service asked about, such as `orders.v1.Orders`; the server as a whole if left out.
    pub service: String,
}

/// There is nothing to say about it.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct TcpHealth {}

/// A status, or a range of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Statuses {
    One(#[schemars(range(min = 100, max = 599))] u16),
    Range(String),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct PassiveHealth {
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

/// Only idempotent requests whose body is at hand are sent again, and those of which nothing was sent; never one whose
/// response has begun.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Retry {
    /// How often a request is sent again at most.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// `connect-failure`: no endpoint could be reached; `reset`: the connection broke before the response began;
    /// `timeout`: the response did not begin within `timeouts.response`; and statuses.
    #[schemars(length(min = 1))]
    pub on: Vec<Part<RetryCondition>>,
    /// How many retries there may be, as a share of the requests.
    pub budget: Share,
    /// So many retries a second are there for each worker, whatever the traffic.
    #[schemars(range(max = 10_000))]
    pub budget_floor: u32,
    /// The first retry waits for up to this, each further one for up to twice as long as the one before.
    pub backoff: Span,
    /// None waits for longer.
    pub backoff_at_most: Span,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RetryCondition {
    Plain(PlainRetryCondition),
    Status(#[schemars(range(min = 400, max = 599))] u16),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlainRetryCondition {
    ConnectFailure,
    Reset,
    Timeout,
}

/// Failures are statuses of 500 and above, and requests without a response.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct CircuitBreaker {
    /// Such a share of failures opens the circuit: requests are answered with 503 at once.
    pub failure_rate: Share,
    /// The share is not looked at before there were so many requests within the window.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,
    /// Over what time the share is counted.
    pub window: Span,
    /// How long it stays open before some requests are let through to see.
    pub open_for: Span,
    /// So many at a time are let through then; if as many end well it closes, if one fails it stays open.
    #[schemars(range(min = 1, max = 1_000))]
    pub probes: u32,
}

/// For the whole process. What is over a limit is answered with 503.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct UpstreamLimits {
    /// Connections; a worker that has none may open one nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<usize>,
    /// Requests that wait because of `connections`.
    #[schemars(range(max = 1_000_000))]
    pub pending: usize,
    /// Requests of which the response has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct UpstreamTls {
    /// PEM file with the authorities that are believed; the system's if left out.
    pub ca: Option<String>,
    /// The name that is asked for and verified; the endpoint's host if left out.
    pub server_name: Option<String>,
    /// By which the gateway proves who it is, where the endpoints ask for that.
    pub certificate: Option<Part<Certificate>>,
    /// `false` to believe anyone, who can then read and change everything: for tests only.
    pub verify: bool,
}

fn one() -> u32 {
    1
}
