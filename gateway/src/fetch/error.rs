//! Why a component cannot be had.

use std::{io, time::Duration};

use docker_credential::CredentialRetrievalError;
use gateway_core::error::chain;
use oci_client::{ParseError, errors::OciDistributionError};
use reqwest::StatusCode;
use thiserror::Error;

use super::Digest;

/// Why a component cannot be had.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// There is no thread or no event loop to fetch it on.
    #[error(transparent)]
    Start(io::Error),
    #[error("it did not come within {0:?}")]
    Timeout(Duration),
    #[error("{}", chain(.0))]
    Http(#[source] reqwest::Error),
    #[error("the server answers with {0}")]
    Status(StatusCode),
    #[error("it is over {} MiB", .0 >> 20)]
    TooLarge(usize),
    #[error("its SHA-256 is {found}, and `sha256` says {wanted}")]
    AnotherDigest { found: Digest, wanted: Digest },
    #[error("`{0}` is no reference: {1}")]
    Reference(String, #[source] ParseError),
    #[error("{}", chain(.0))]
    Registry(#[source] OciDistributionError),
    #[error("it is an index of several artifacts, and not one with a component")]
    Index,
    #[error("it has {found} layers of {wanted}, and not one: {types}")]
    Layers { found: usize, wanted: &'static str, types: String },
    #[error("its digest `{0}` is not of SHA-256")]
    LayerDigest(String),
    #[error(
        "Docker's configuration has an identity token for {0}, which is not supported: log in with a name and a password"
    )]
    IdentityToken(String),
    #[error("{helper}, which Docker's configuration names for {registry}, does not tell its credentials")]
    CredentialHelper { helper: String, registry: String },
    #[error("Docker's configuration, about {0}: {1}")]
    Credentials(String, #[source] CredentialRetrievalError),
}

impl FetchError {
    /// The registry cannot be reached, or is out of order: what was fetched before is as good as it was.
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::Registry(OciDistributionError::RequestError(_)) => true,
            Self::Registry(OciDistributionError::ServerError { code, .. }) => *code >= 500,
            _ => false,
        }
    }
}
