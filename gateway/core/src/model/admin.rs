//! The operator's listener.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ListenerTls;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// Empty: loopback clients have full access, and all others are denied.
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

/// Shorter tokens can be guessed.
const TOKEN_BYTES: usize = 16;

/// Whether a secret can be an operator's token.
///
/// # Errors
///
/// What a token is.
pub fn check_token(token: &[u8]) -> Result<(), InvalidToken> {
    if token.len() < TOKEN_BYTES || !token.iter().all(u8::is_ascii_graphic) {
        return Err(InvalidToken);
    }
    Ok(())
}

/// A secret that cannot be an operator's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a token is at least {TOKEN_BYTES} visible ASCII characters")]
pub struct InvalidToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    #[default]
    Read,
    Full,
}
