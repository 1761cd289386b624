//! Upstreams: endpoints, load balancing and health.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Uri, uri::PathAndQuery};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Balance, CertificateFiles, CircuitBreaker, PassiveHealth, Percent, Retry, UpstreamLimits, UpstreamTimeouts,
};

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Asked instead of the system's, if there are any.
    pub servers: Vec<SocketAddr>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    pub balance: Balance,
    pub health: Health,
    pub retry: Option<Retry>,
    pub circuit_breaker: Option<CircuitBreaker>,
    pub limits: UpstreamLimits,
    pub tls: UpstreamTls,
    pub protocol: Protocol,
    pub host: HostHeader,
    pub timeouts: UpstreamTimeouts,
    /// Maximum idle connections per endpoint and worker.
    pub idle_connections: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`, or `tcp` or `tls` with [`Protocol::Tcp`]; authority, no path.
    pub url: Uri,
    /// 0 for no new requests.
    pub weight: u32,
}

/// The protocol of endpoints. Over TLS it is agreed by ALPN; in clear text it has to be known before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge in clear text; an `https` endpoint that does not agree to it is not used.
    Http2,
    /// HTTP/2 with `https` endpoints that agree to it, HTTP/1.1 otherwise.
    Auto,
    /// Not HTTP: plugins speak to it. Said by the endpoints.
    #[serde(skip)]
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub active: Option<ActiveHealth>,
    pub passive: Option<PassiveHealth>,
    /// With fewer endpoints fit than this share, all of them are used.
    pub panic_threshold: Percent,
}

/// Asking endpoints how they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveHealth {
    pub question: HealthQuestion,
    /// Of the request by which an endpoint is asked.
    pub headers: HeaderMap,
    /// What `Host` says; the endpoint's authority if absent.
    pub host: Option<HeaderValue>,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many bad answers in a row, at least 1.
    pub unhealthy_after: u32,
    /// So many good answers in a row, at least 1.
    pub healthy_after: u32,
}

/// What endpoints are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthQuestion {
    /// A path, and ranges of status codes, both ends included, that are good answers.
    Path(PathAndQuery, Vec<(u16, u16)>),
    /// `grpc.health.v1.Health/Check` about this service; about the server if it is empty.
    Grpc(String),
    /// Nothing: that a connection can be opened is a good answer.
    Connect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM of the trusted CAs; the system's if absent.
    pub ca: Option<PathBuf>,
    /// The name sent as SNI and verified; the endpoint's host if absent.
    pub server_name: Option<String>,
    /// By which the gateway proves who it is.
    pub certificate: Option<CertificateFiles>,
    /// False disables certificate verification.
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}

/// What `Host` the upstream sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostHeader {
    /// The client's.
    #[default]
    Preserve,
    /// The endpoint's authority.
    Endpoint,
}

impl Protocol {
    /// Whether requests may have connections in common.
    pub fn shares_connections(self) -> bool {
        matches!(self, Self::Http2 | Self::Auto)
    }
}

impl Endpoint {
    /// Whether TLS is spoken to it.
    pub fn is_secure(url: &Uri) -> bool {
        matches!(url.scheme_str(), Some("https" | "tls"))
    }
}
