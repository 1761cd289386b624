//! Why an upstream tells no descriptors.

use std::{io, net::SocketAddr, time::Duration};

use gateway_core::error::chain;
use gateway_http::body::BodyError;
use http::{Uri, header::InvalidHeaderValue};
use prost::DecodeError;
use thiserror::Error;

use super::super::{
    connections::broken::{Broken, Unsendable},
    health::names::LookupError,
};

/// Why an upstream tells no descriptors.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct ReflectionError(#[from] pub(super) Reason);

/// Of several endpoints the one that was asked last.
#[derive(Debug, Error)]
pub(super) enum Reason {
    /// There is no thread or no event loop to ask on.
    #[error(transparent)]
    Start(io::Error),
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    #[error("no endpoint is known")]
    NoEndpoint,
    #[error(transparent)]
    Tls(io::Error),
    #[error("{0}: {1}")]
    Name(Uri, #[source] Box<LookupError>),
    #[error("{0}: {text}", text = chain(.1))]
    Endpoint(SocketAddr, #[source] EndpointError),
}

/// Why one endpoint tells no descriptors. Each level prints itself only.
#[derive(Debug, Error)]
pub(super) enum EndpointError {
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error("it speaks no HTTP/2")]
    NoHttp2,
    #[error("it went away at once")]
    Gone,
    /// Its URL cannot be the value of `Host`.
    #[error(transparent)]
    Host(#[from] InvalidHeaderValue),
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error(transparent)]
    Response(#[from] Broken),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("status {0}")]
    Status(u16),
    #[error("gRPC status {0}")]
    GrpcStatus(String),
    /// There is no such service.
    #[error("it has no reflection")]
    Unimplemented,
    #[error("its answer is not of the protocol")]
    NotOfProtocol,
    #[error("reflection: {message} (code {code})")]
    Refused { code: i32, message: String },
    #[error("an answer of over {0} bytes")]
    TooLarge(usize),
    #[error("its descriptors are over {0} bytes")]
    DescriptorsTooLarge(usize),
    #[error("a descriptor")]
    Descriptor(#[source] DecodeError),
    #[error("its files import others without end")]
    Endless,
    #[error("its files import each other in a circle")]
    Circle,
}
