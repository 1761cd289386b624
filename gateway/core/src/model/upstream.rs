//! Upstreams: endpoints, load balancing and health.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ActiveHealth, Balance, CertificateFiles, CircuitBreaker, PassiveHealth, Percent, Retry, UpstreamLimits,
    UpstreamTimeouts,
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
