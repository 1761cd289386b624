//! Conversations with upstreams of TCP that the operator granted by name (`tcp://` and `tls://` endpoints), in a protocol that
//! the plugin speaks itself. In the request phase, one at a time.
//!
//! Nothing here waits, and a plugin that talks costs no more than another: [`send`] puts a message on its way, the phase fails,
//! and is called again when there is news, which [`receive`] has. So look there first.
//!
//! ```
//! use plugin_sdk::{Decision, Error, Reply, Request, tcp::{self, Message}};
//!
//! /// Asks a service that answers each line with a line.
//! fn on_request(request: &Request) -> Result<Decision, Error> {
//!     let Some(answer) = tcp::receive(request)? else {
//!         let message = Message::new("lines", "PING\r\n").with_wants(1);
//!         return Err(tcp::send(request, message)?.into());
//!     };
//!     if !answer.bytes.ends_with(b"\n") {
//!         return Err(tcp::await_more(request, answer.bytes.len() + 1)?.into());
//!     }
//!     tcp::finish(request);
//!     Ok(Reply::new(200).with_body("text/plain", answer.bytes).into())
//! }
//! ```

use std::{fmt, time::Duration};

use crate::{Request, host};

/// What begins a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The name of an upstream in the gateway's configuration, with endpoints of TCP.
    pub upstream: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// The phase is called again when so many bytes of the answer are there; with 0, when the message was sent.
    pub wants: usize,
    /// For all of the conversation, of which whole milliseconds count; the gateway has a limit of its own, of a minute.
    pub timeout: Duration,
    /// It may be sent twice: once more if a connection that was kept turns out to be closed.
    pub repeatable: bool,
    /// Comes with the answer. 64 KiB at most.
    pub memo: Vec<u8>,
}

impl Message {
    /// A message that wants no answer, may take five seconds and is not sent twice.
    pub fn new(upstream: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            upstream: upstream.to_owned(),
            bytes: bytes.into(),
            wants: 0,
            timeout: Duration::from_secs(5),
            repeatable: false,
            memo: Vec::new(),
        }
    }

    /// Sets how many bytes of an answer there must be.
    #[must_use]
    pub fn with_wants(mut self, bytes: usize) -> Self {
        self.wants = bytes;
        self
    }

    /// Sets how long the conversation may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whether it may be sent twice.
    #[must_use]
    pub fn with_repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }

    /// Sets what comes with the answer.
    #[must_use]
    pub fn with_memo(mut self, memo: impl Into<Vec<u8>>) -> Self {
        self.memo = memo.into();
        self
    }
}

/// What has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The message's.
    pub memo: Vec<u8>,
    /// All that has come since the message was sent: as much as was wanted, or more.
    pub bytes: Vec<u8>,
}

/// What is wanted is on its way: fail with this, and be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnItsWay(());

/// Begins a conversation, on a connection that was kept or a new one, and ends one that there was. Do so before you have
/// changed anything, and fail then.
///
/// # Errors
///
/// See [`TcpError`].
pub fn send(request: &Request, message: Message) -> Result<OnItsWay, TcpError> {
    host::tcp_send(&request.0, message).map(|()| OnItsWay(()))
}

/// What has come; none if nothing was sent.
///
/// # Errors
///
/// See [`TcpError`].
pub fn receive(request: &Request) -> Result<Option<Answer>, TcpError> {
    host::tcp_receive(&request.0)
}

/// Waits until so many bytes have come, from the first one on, and for at least one that is new.
///
/// # Errors
///
/// See [`TcpError`].
pub fn await_more(request: &Request, wants: usize) -> Result<OnItsWay, TcpError> {
    host::tcp_await_more(&request.0, u32::try_from(wants).unwrap_or(u32::MAX)).map(|()| OnItsWay(()))
}

/// All that belongs to the conversation was received, so its connection is good for another one. Without this it is closed.
pub fn finish(request: &Request) {
    host::tcp_finish(&request.0);
}

impl fmt::Display for OnItsWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is on its way")
    }
}

impl std::error::Error for OnItsWay {}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpError {
    /// No such upstream, not granted, or not of TCP; the text names it.
    Denied(String),
    /// Nothing more came in time.
    Timeout,
    /// Nobody could be reached, or there is no room for another conversation; the text says why. Nothing was sent.
    Unreachable(String),
    /// The connection ended before all was there that was wanted; the text says how.
    Closed(String),
    /// More is wanted, or was to be sent, than the route's limit for bodies that plugins read.
    TooLarge(u64),
    /// Not in this phase, or there is no conversation.
    Unavailable,
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
            Self::Unavailable => f.write_str("there is no conversation in this phase"),
        }
    }
}

impl std::error::Error for TcpError {}
