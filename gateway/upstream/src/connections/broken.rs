//! Why a connection brought no response, whichever protocol it speaks.

use std::{fmt, io};

use gateway_http::body::BodyError;

/// The most bytes that the head of a response may have.
pub(crate) const MAX_HEAD: usize = 256 * 1024;

/// Why there is no response.
pub(crate) enum Broken {
    /// Nothing of the request was sent, and it is as it was.
    Unsent(io::Error),
    /// The upstream closed, or the connection broke, before there was a response.
    Closed(io::Error),
    /// The upstream says that it has done nothing for it.
    Unprocessed(io::Error),
    /// The upstream takes no requests for now; nothing was sent.
    Busy,
    /// What came is not the head of a response.
    Malformed(String),
    /// The body of the request broke off.
    Body(BodyError),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(error) | Self::Closed(error) => {
                write!(f, "connection closed before a response: {}", chain(error))
            }
            Self::Unprocessed(error) => write!(f, "refused by the upstream: {}", chain(error)),
            Self::Busy => f.write_str("it takes no requests (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"),
            Self::Malformed(reason) => write!(f, "not a response: {reason}"),
            Self::Body(error) => write!(f, "{error}"),
        }
    }
}

/// An error with its causes, each of which prints only its own level.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
