//! How the servers of the state are reached.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use redis::RedisError;
use thiserror::Error;

/// How the servers are reached.
#[derive(Clone)]
pub struct Settings {
    pub servers: Servers,
    /// Read before each connection, so that what has rotated in its file is used for the next one.
    pub credentials: ReadCredentials,
    /// Before every key.
    pub prefix: String,
    /// For an answer.
    pub timeout: Duration,
}

/// Which servers have the state. All URLs are `redis://` or `rediss://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    One(String),
    /// Some nodes, through which the others are found.
    Cluster(Vec<String>),
    /// The host of the URL is the name under which these Sentinels monitor the primary.
    Sentinels(String, Vec<String>),
}

/// What a connection is opened with, or why that cannot be read.
pub type ReadCredentials = Arc<dyn Fn() -> Result<Credentials, CredentialsError> + Send + Sync>;

/// What a connection is opened with cannot be read.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A secret.
    #[error("secret `{name}`: {source}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The file of authorities.
    #[error("{}: {source}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The state cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A URL that is none of a server.
    #[error("state: {0}")]
    Address(#[source] RedisError),
    /// The system has no thread for it.
    #[error("no thread for the state: {0}")]
    Thread(#[source] io::Error),
}

/// Is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What a connection is opened with.
#[derive(Debug, Default, Clone)]
pub struct Credentials {
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// For the Sentinels, which have users of their own.
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<Secret>,
    /// Authorities in PEM, instead of the system's.
    pub ca: Option<Vec<u8>>,
}
