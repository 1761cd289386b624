//! Upstreams, as they are typed.

use std::{collections::BTreeMap, time::Duration};

use gateway_core::model::{
    Balance, CircuitBreaker, HostHeader, PassiveHealth, Percent, Protocol, Retry, UpstreamLimits, UpstreamTimeouts,
    Wait,
    units::{DAY, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::part::Part;

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
    /// The load balancing policy.
    pub balance: Part<Balance>,
    /// Health checks.
    pub health: Part<Health>,
    /// Retries. By default a request is sent again only if nothing of it was sent.
    pub retry: Option<Part<Retry>>,
    /// Circuit breaker.
    pub circuit_breaker: Option<Part<CircuitBreaker>>,
    /// Limits of the upstream.
    pub limits: Part<UpstreamLimits>,
    /// For `https` and `tls` endpoints.
    pub tls: Option<Part<UpstreamTls>>,
    /// The protocol of endpoints. gRPC needs `http2`, or `auto` over TLS; WebSocket needs `http1`.
    pub protocol: Part<Protocol>,
    /// The `Host` header sent to endpoints: the client's (`preserve`) or the endpoint's own (`endpoint`).
    pub host: Part<HostHeader>,
    pub timeouts: Part<UpstreamTimeouts>,
    /// Maximum idle connections per endpoint and worker.
    #[schemars(range(max = 65_536))]
    pub idle_connections: Part<usize>,
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
    /// `http://HOST:PORT` or `https://HOST:PORT`; `tcp://` or `tls://` for use by plugins.
    pub url: String,
    /// Its weight relative to other endpoints; with 0 it gets no new requests.
    #[serde(default = "one")]
    #[schemars(range(max = 1_000))]
    pub weight: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Health {
    /// Active health checks: requests to each endpoint at an interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Part<ActiveHealth>>,
    /// Passive health checks (outlier detection): endpoints are ejected when requests fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<Part<PassiveHealth>>,
    /// If fewer endpoints than this are healthy, all are used, so that the traffic does not overload the
    /// remaining ones. With `0%` only if none is healthy.
    pub panic_threshold: Percent,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ActiveHealth {
    /// The path to request with GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The gRPC health protocol instead of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Part<GrpcHealth>>,
    /// The check succeeds if a connection can be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Part<TcpHealth>>,
    /// Header fields of each check, such as `host` or `authorization`. Without `host` it is the endpoint's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Part<String>>,
    /// Statuses of a successful check: `[200, 204]` or `["200-299"]`.
    #[schemars(length(min = 1))]
    pub expect: Vec<Part<Statuses>>,
    /// Interval between two checks, with 10 % jitter.
    // So often that a check is no attack.
    #[serde(with = "HumanDuration::<50, DAY>")]
    pub interval: Duration,
    /// Timeout of a check, connecting included.
    #[serde(with = "Wait")]
    pub timeout: Duration,
    /// Consecutive failed checks after which an endpoint is unhealthy.
    #[schemars(range(min = 1, max = 1_000))]
    pub unhealthy_after: u32,
    /// Consecutive successful checks after which an endpoint is healthy.
    #[schemars(range(min = 1, max = 1_000))]
    pub healthy_after: u32,
}

/// `grpc.health.v1.Health/Check`; `SERVING` is a success.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct GrpcHealth {
    /// The service to check, such as `orders.v1.Orders`; the server as a whole by default.
    pub service: String,
}

/// It has no options.
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

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct UpstreamTls {
    /// PEM file with the trusted CAs; the system's by default.
    pub ca: Option<String>,
    /// The name for SNI and verification; the endpoint's host by default.
    pub server_name: Option<String>,
    /// The client certificate of the gateway (mTLS).
    pub certificate: Option<Part<Certificate>>,
    /// `false` disables certificate verification: for tests only.
    pub verify: bool,
}

fn one() -> u32 {
    1
}
