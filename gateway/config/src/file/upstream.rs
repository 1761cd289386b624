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
    pub panic_threshold: Percent,
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
    // So often that a check is no attack.
    #[serde(with = "HumanDuration::<50, DAY>")]
    pub interval: Duration,
    /// For connecting and answering.
    #[serde(with = "Wait")]
    pub timeout: Duration,
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
