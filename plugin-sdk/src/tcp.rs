//! Connections to upstreams with TCP endpoints (`tcp://`, `tls://`) that the operator granted by name, for protocols that the
//! plugin implements itself.
//!
//! The gateway pools the connections. A call has up to 16 connections at a time. Those that it does not release are closed when it
//! returns.
//!
//! ```
//! use plugin_sdk::{tcp::{self, Message}, testkit::TestHost};
//!
//! let host = TestHost::new();
//! host.answer_messages(|_| Ok(b"PONG\r\n".to_vec()));
//! host.run(|| {
//!     let connection = tcp::send(Message::new("lines", "PING\r\n").with_min_bytes(1))?;
//!     let mut line = Vec::new();
//!     while !line.ends_with(b"\n") {
//!         line.extend(connection.receive(1)?);
//!     }
//!     connection.release();
//!     assert_eq!(line, b"PONG\r\n");
//!     Ok::<(), tcp::TcpError>(())
//! })
//! .unwrap();
//! ```

use std::{fmt, time::Duration};

use crate::host;

/// A message, which begins to use a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The name of an upstream in the gateway's configuration, with TCP endpoints.
    pub upstream: String,
    /// The bytes that are sent.
    pub bytes: Vec<u8>,
    /// [`send`] returns when at least this many bytes of the answer have arrived; with 0, when the message was sent.
    pub min_bytes: usize,
    /// For all that happens on the connection until it is released, in whole milliseconds. The gateway's own limit is one minute.
    pub timeout: Duration,
    /// The message may be sent a second time, if a pooled connection turns out to be closed.
    pub repeatable: bool,
}

impl Message {
    /// A message with a time limit of five seconds that is not sent a second time.
    pub fn new(upstream: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            upstream: upstream.to_owned(),
            bytes: bytes.into(),
            min_bytes: 0,
            timeout: Duration::from_secs(5),
            repeatable: false,
        }
    }

    /// Sets how many bytes of the answer have to arrive before [`send`] returns.
    #[must_use]
    pub fn with_min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Sets the time limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whether the message may be sent a second time.
    #[must_use]
    pub fn with_repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }
}

/// A connection on which a message was sent. Dropping it closes the connection.
pub struct Connection(host::RawConnection);

/// Sends a message on a pooled or new connection and waits for the answer to begin.
///
/// # Errors
///
/// See [`TcpError`].
pub fn send(message: Message) -> Result<Connection, TcpError> {
    host::tcp_send(message).map(Connection)
}

impl Connection {
    /// Waits until at least this many bytes have arrived that were not returned before, and returns all that have.
    ///
    /// # Errors
    ///
    /// See [`TcpError`].
    pub fn receive(&self, min_bytes: usize) -> Result<Vec<u8>, TcpError> {
        host::tcp_receive(&self.0, u32::try_from(min_bytes).unwrap_or(u32::MAX))
    }

    /// Returns the connection to the pool. Call this only if the answer is complete.
    pub fn release(self) {
        host::tcp_release(self.0);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpError {
    /// No such upstream, not granted, or without TCP endpoints; the text names it.
    Denied(String),
    /// The time limit of the connection is over.
    Timeout,
    /// No endpoint could be connected to, or the upstream's limits are reached; the text says why. Nothing was sent.
    Unreachable(String),
    /// The connection ended before enough bytes had arrived; the text says how.
    Closed(String),
    /// More bytes were to be sent or received than the route's limit for buffered bodies, or than 1 MiB without a request.
    TooLarge(u64),
    /// While the plugin is configured, or too many connections.
    Unavailable,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(name) => write!(
                f,
                "no upstream `{name}` with endpoints such as `tcp://HOST:PORT`, or it is not granted: add `grants: {{ upstreams: [{name}] }}` to the plugin"
            ),
            Self::Timeout => f.write_str("the service did not answer in time"),
            Self::Unreachable(why) => write!(f, "the service could not be reached: {why}"),
            Self::Closed(how) => write!(f, "the connection ended: {how}"),
            Self::TooLarge(limit) => write!(f, "the message is over the limit of {limit} bytes"),
            Self::Unavailable => f.write_str("no connection while the plugin is configured, and up to 16 in a call"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TcpError {}
