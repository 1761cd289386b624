//! Where clients connect.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// For `match.listeners` of routes; the address as it is written, if it has no name.
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    pub proxy_protocol: Option<ProxyProtocol>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The first one answers clients that name no server or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: TlsVersion,
    pub client_certificates: Option<ClientCertificates>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, leaf first.
    pub cert: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM of the trusted CAs; at least one.
    pub ca: Vec<PathBuf>,
    pub mode: ClientCertificateMode,
}

/// What becomes of clients that show no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificateMode {
    /// Their handshake fails.
    #[default]
    Required,
    /// They are served, and nothing is said about them.
    Optional,
}

/// Whose word about the client's address stands before everything else on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// At least one.
    pub from: Vec<IpNet>,
    pub mode: ProxyHeaderMode,
}

impl ProxyProtocol {
    /// Whether connections from there begin with a header.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        // A socket for both families shows IPv4 peers as IPv6 addresses.
        let peer = peer.to_canonical();
        self.from.iter().any(|network| network.contains(&peer))
    }
}

/// What becomes of a trusted peer's connection without a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeaderMode {
    /// It is closed.
    #[default]
    Required,
    /// The peer is the client.
    Optional,
}
