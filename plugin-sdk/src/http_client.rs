//! Calls to the upstreams that the operator granted by name; never to a URL of the plugin's choosing.

use std::{fmt, time::Duration};

use crate::{Reply, host};

/// A request of the plugin's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name of an upstream in the gateway's configuration.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path_with_query: String,
    /// Name and value, one entry for each field line.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Until the whole response is there; whole milliseconds count.
    pub timeout: Duration,
}

impl Call {
    /// A call without headers and body that may take five seconds.
    pub fn new(method: &str, upstream: &str, path_with_query: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            method: method.to_owned(),
            path_with_query: path_with_query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// A `GET`.
    pub fn get(upstream: &str, path_with_query: &str) -> Self {
        Self::new("GET", upstream, path_with_query)
    }

    /// A `POST`.
    pub fn post(upstream: &str, path_with_query: &str) -> Self {
        Self::new("POST", upstream, path_with_query)
    }

    /// Adds a header line.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body and its `content-type`.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with_header("content-type", content_type)
    }

    /// Sets how long the call may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it and waits for the whole response.
    ///
    /// # Errors
    ///
    /// See [`CallError`]. A response is a response, whatever its status.
    pub fn send(self) -> Result<Reply, CallError> {
        host::send(self)
    }

    /// Sends it without waiting for the response, so that several calls can be in progress at a time: up to 16.
    ///
    /// ```
    /// use plugin_sdk::{Reply, http_client::{Call, CallError}, testkit::TestHost};
    ///
    /// let host = TestHost::new();
    /// host.answer_calls(|call| Ok(Reply::new(200).with_text(&*call.upstream)));
    /// host.run(|| {
    ///     let profile = Call::get("profiles", "/anna").start()?;
    ///     let orders = Call::get("orders", "/?user=anna").start()?;
    ///     assert_eq!(profile.wait()?.into_text(), "profiles");
    ///     assert_eq!(orders.wait()?.into_text(), "orders");
    ///     Ok::<(), CallError>(())
    /// })
    /// .unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn start(self) -> Result<PendingCall, CallError> {
        host::start(self).map(PendingCall)
    }
}

/// A call in progress. Dropping it cancels the call, and so does the end of the phase.
pub struct PendingCall(host::RawPendingCall);

impl PendingCall {
    /// Waits for the whole response.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn wait(self) -> Result<Reply, CallError> {
        host::wait_for_call(&self.0)
    }
}

impl fmt::Debug for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingCall")
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// No such upstream, or not granted.
    Denied(String),
    /// The method, target or a header is not valid; the text says which.
    Invalid(String),
    /// The call took too long.
    Timeout,
    /// No connection, or it broke.
    Unreachable(String),
    /// The response's body is over the gateway's limit for buffered bodies.
    TooLarge,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "call denied: {why}"),
            Self::Invalid(why) => write!(f, "call invalid: {why}"),
            Self::Timeout => f.write_str("call timed out"),
            Self::Unreachable(why) => write!(f, "upstream unreachable: {why}"),
            Self::TooLarge => f.write_str("the response to the call is too large"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CallError {}
