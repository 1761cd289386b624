//! Where clients connect, as it was typed.

use gateway_core::model::{ClientCertificateMode, ProxyHeaderMode, TlsVersion};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::part::Part;

/// An address that clients connect to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(crate) struct Listener {
    /// IP address and port: `0.0.0.0:8080`, `[::]:8080`.
    pub address: Part<String>,
    /// Present for HTTPS.
    pub tls: Option<Part<ListenerTls>>,
    /// Present where load balancers before the gateway say who the client is in a PROXY protocol header, version 1
    /// or 2, before anything else on the connection, TLS included.
    pub proxy_protocol: Option<Part<ProxyProtocol>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["certificates"]))]
pub(crate) struct ListenerTls {
    /// Chosen by the name that the client asks for; the first one answers all others.
    #[schemars(length(min = 1))]
    pub certificates: Vec<Part<Certificate>>,
    /// The oldest that is accepted.
    pub min_version: Part<TlsVersion>,
    /// Present where clients show certificates of their own (mTLS). What is in them becomes attributes such as
    /// `tls.client.subject` and `tls.client.san.dns`.
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
    /// PEM files with the authorities whose certificates are accepted; no others are.
    #[schemars(length(min = 1))]
    pub ca: Vec<Part<String>>,
    /// `required`: without a certificate there is no connection. `optional`: without one there is no
    /// `tls.client.fingerprint`; one that is shown must be valid all the same.
    pub mode: Part<ClientCertificateMode>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["from"]))]
pub(crate) struct ProxyProtocol {
    /// Networks or addresses of the load balancers whose headers are believed. Everybody else is an ordinary
    /// client, whose header is no valid request.
    #[schemars(length(min = 1))]
    pub from: Vec<Part<String>>,
    /// `required`: their connections begin with a header or are closed. `optional`: they may begin without one, for
    /// the time of a migration only: clients of a balancer that adds none could write their own.
    pub mode: Part<ProxyHeaderMode>,
}
