//! Where clients connect, as it was typed.

use gateway_core::model::{ClientCertificateMode, ProxyHeaderMode, TlsVersion};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::part::{Name, Part};

/// An address that clients connect to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(crate) struct Listener {
    /// For `match.listeners` of routes; `address` is the name if left out.
    #[schemars(with = "Name")]
    pub name: Option<Part<String>>,
    /// IP address and port: `0.0.0.0:8080`, `[::]:8080`.
    pub address: Part<String>,
    /// Present for HTTPS.
    pub tls: Option<Part<ListenerTls>>,
    /// Accept the client's address in a PROXY protocol header (version 1 or 2) from load balancers in front
    /// of the gateway; it precedes the TLS handshake.
    pub proxy_protocol: Option<Part<ProxyProtocol>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["certificates"]))]
pub(crate) struct ListenerTls {
    /// Selected by SNI; the first one is the default.
    #[schemars(length(min = 1))]
    pub certificates: Vec<Part<Certificate>>,
    /// Minimum TLS version.
    pub min_version: Part<TlsVersion>,
    /// Client certificates (mTLS). Their contents become attributes such as `tls.client.subject` and
    /// `tls.client.san.dns`.
    pub client_certificates: Option<Part<ClientCertificates>>,
}

/// Paths are relative to the folder of this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Certificate {
    /// PEM file: the certificate, then its intermediates.
    pub cert: String,
    /// PEM file with the private key.
    pub key: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["ca"]))]
pub(crate) struct ClientCertificates {
    /// PEM files with the trusted CAs; system CAs are not trusted.
    #[schemars(length(min = 1))]
    pub ca: Vec<Part<String>>,
    /// `required`: handshakes without a certificate fail. `optional`: clients without a certificate have no
    /// `tls.client.fingerprint`; a certificate that is sent must be valid.
    pub mode: Part<ClientCertificateMode>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["from"]))]
pub(crate) struct ProxyProtocol {
    /// Networks or addresses of the load balancers whose PROXY headers are trusted. From other peers such a
    /// header is an invalid request.
    #[schemars(length(min = 1))]
    pub from: Vec<Part<String>>,
    /// `required`: connections without a header are closed. `optional`: the header may be missing; only for
    /// migrations, because clients of a load balancer that adds none can forge it.
    pub mode: Part<ProxyHeaderMode>,
}
