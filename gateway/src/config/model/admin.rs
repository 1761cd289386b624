//! The operator's listener.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerTls;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// Empty: whoever comes from a loopback address may do everything.
    pub access: Vec<Access>,
}

/// Who may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub name: String,
    pub by: Proof,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The name of a secret.
    Token(String),
    /// A DNS name in the client's certificate, in lower case.
    Certificate(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    #[default]
    Read,
    Full,
}
