//! How an exchange ended.

use std::time::Duration;

/// How an exchange ended, as observers are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Absent when the client left before a response began.
    pub status: Option<u16>,
    /// Why the gateway itself answered or gave up, as in its metrics: `upstream-timeout`, `client-closed`, …
    pub failure: Option<String>,
    /// The name of the upstream that was chosen.
    pub upstream: Option<String>,
    /// Bytes of the request's body, without framing.
    pub request_bytes: u64,
    /// Bytes of the response's body, without framing.
    pub response_bytes: u64,
    /// From the head of the request to the last byte of the response.
    pub duration: Duration,
    /// From the request's dispatch to the head of the upstream's response.
    pub upstream_duration: Option<Duration>,
    /// In the request and response phases of all plugins together.
    pub plugins_duration: Duration,
}
