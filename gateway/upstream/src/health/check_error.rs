//! Why a health check failed.

use std::{io, time::Duration};

use gateway_http::body::BodyError;
use http::{StatusCode, header::InvalidHeaderValue};
use thiserror::Error;

use crate::connections::broken::Broken;

/// Each level prints itself only; `gateway_core::error::chain` prints all of them.
#[derive(Debug, Error)]
pub(super) enum CheckError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error("the endpoint went away at once")]
    Gone,
    /// The endpoint's URL cannot be the value of `Host`.
    #[error(transparent)]
    Host(#[from] InvalidHeaderValue),
    #[error(transparent)]
    Response(#[from] Broken),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("gRPC status {}", .0.as_deref().unwrap_or("missing"))]
    GrpcStatus(Option<String>),
    #[error("an answer of over {0} bytes")]
    TooLarge(usize),
    #[error("the answer is no message")]
    NoMessage,
    #[error("serving status {}", .0.map_or_else(|| "unknown".to_owned(), |status| status.to_string()))]
    ServingStatus(Option<u8>),
}
