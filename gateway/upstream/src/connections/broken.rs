//! Why a connection brought no response, whichever protocol it speaks.

use std::io;

use gateway_http::body::BodyError;
use http::header::{InvalidHeaderName, MaxSizeReached};
use thiserror::Error;

/// The most bytes that the head of a response may have.
pub(crate) const MAX_HEAD: usize = 256 * 1024;

/// Why there is no response. Each level prints itself only; `gateway_core::error::chain` prints all of them.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    /// Nothing of the request was sent, and it is as it was.
    #[error("connection closed before a response")]
    Unsent(#[source] io::Error),
    /// The upstream closed, or the connection broke, before there was a response.
    #[error("connection closed before a response")]
    Closed(#[source] io::Error),
    /// The upstream says that it has done nothing for it.
    #[error("refused by the upstream")]
    Unprocessed(#[source] io::Error),
    /// The upstream takes no requests for now; nothing was sent.
    #[error("it takes no requests (SETTINGS_MAX_CONCURRENT_STREAMS is 0)")]
    Busy,
    /// What came is not the head of a response.
    #[error("not a response")]
    Malformed(#[from] Malformed),
    /// The request has no form in the connection's protocol.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// The body of the request broke off.
    #[error(transparent)]
    Body(BodyError),
}

/// Why bytes are not the head of a response.
#[derive(Debug, Error)]
pub(crate) enum Malformed {
    #[error("it does not begin with a version of HTTP")]
    Protocol,
    #[error("its head is over {MAX_HEAD} bytes")]
    TooLarge,
    #[error("it has over {0} fields")]
    TooManyFields(usize),
    #[error("it begins with an empty line")]
    EmptyLine,
    #[error("its status is no status")]
    Status,
    #[error("another transfer coding than chunked")]
    TransferCoding,
    /// They were not known to it (RFC 9112 §6.1).
    #[error("chunks in HTTP/1.0")]
    Chunks,
    #[error("its Content-Length is ambiguous")]
    Length,
    #[error(transparent)]
    Syntax(#[from] httparse::Error),
    #[error(transparent)]
    FieldName(#[from] InvalidHeaderName),
    #[error(transparent)]
    Fields(#[from] MaxSizeReached),
    #[error("its reason phrase is malformed")]
    Reason,
    #[error(transparent)]
    Http2(hyper::Error),
}

/// Why a request has no form in HTTP/2.
#[derive(Debug, Error)]
pub(crate) enum Unsendable {
    #[error("the authority cannot be sent")]
    Authority(#[source] http::Error),
    #[error("the head cannot be sent")]
    Head(#[source] MaxSizeReached),
}
