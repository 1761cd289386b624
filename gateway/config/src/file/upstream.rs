//! Upstreams, as they are typed.

use gateway_core::model::{
    ActiveHealth, Balance, CircuitBreaker, HostHeader, PassiveHealth, Percent, Protocol, Retry, UpstreamLimits,
    UpstreamTimeouts,
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
