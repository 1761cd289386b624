//! How an exchange ended.

use std::time::Duration;

/// How an exchange ended, for observers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Absent if the client disconnected before a response began.
    pub status: Option<u16>,
    /// Why the gateway itself responded or gave up, as in its metrics: `upstream-timeout`, `client-closed`, …
    pub failure: Option<String>,
    /// The name of the upstream that was chosen.
    pub upstream: Option<String>,
    /// Body bytes of the request, without framing.
    pub request_bytes: u64,
    /// Body bytes of the response, without framing.
    pub response_bytes: u64,
    /// From the head of the request to the last byte of the response.
    pub duration: Duration,
    /// From the request's dispatch to the head of the upstream's response, without the time in which plugins had chunks of the request
    /// body.
    pub upstream_duration: Option<Duration>,
    /// In the request and response phases of all plugins together, and with chunks of bodies.
    pub plugins_duration: Duration,
    /// The last state of the plugin's own [`RequestStream`](crate::RequestStream).
    pub request_stream_state: Option<Vec<u8>>,
    /// The last state of the plugin's own [`ResponseStream`](crate::ResponseStream).
    pub response_stream_state: Option<Vec<u8>>,
    /// The last state of the plugin's own [`MessageFilter`](crate::MessageFilter).
    pub message_state: Option<Vec<u8>>,
}
