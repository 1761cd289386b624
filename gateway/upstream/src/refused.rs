//! Why a request got no response.

use std::time::Duration;

use gateway_core::error::Failure;

/// No response will come.
#[derive(Debug)]
pub struct Refused {
    /// What went wrong, and with that the status for the client.
    pub failure: Failure,
    /// For the log; empty where there is nothing to say.
    pub cause: String,
    /// When it is worth asking again, if that is known.
    pub retry_after: Option<Duration>,
    /// Nothing of the request was sent; it is as it was.
    pub(crate) unsent: bool,
}

impl Refused {
    pub(crate) fn new(failure: Failure, cause: impl Into<String>) -> Self {
        Self { failure, cause: cause.into(), retry_after: None, unsent: false }
    }

    pub(crate) fn unsent(failure: Failure, cause: impl Into<String>) -> Self {
        Self { unsent: true, ..Self::new(failure, cause) }
    }
}
