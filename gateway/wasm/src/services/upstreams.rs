//! How plugins reach upstreams. The crate that sends requests is above this one, so it implements these traits.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_pipeline::Reply;
use gateway_telemetry::trace::Trace;
use http::{HeaderMap, Method, uri::PathAndQuery};

/// A future that stays on its worker.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The upstreams as one worker reaches them.
pub trait Upstreams {
    /// Sends a request and waits for its whole response, whatever its status.
    ///
    /// # Errors
    ///
    /// There is no whole response. `Closed` is for conversations; a request that breaks off is `Unreachable`.
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>>;

    /// Whether there is an upstream of this name that a request of a client can be sent to.
    fn takes_requests(&self, _upstream: &str) -> bool {
        false
    }

    /// Begins a conversation with an upstream of TCP. The outer result is known at once, the inner one when the answer has begun.
    ///
    /// # Errors
    ///
    /// `Unknown` if no upstream of TCP has this name.
    fn converse(&self, _upstream: &str, _opening: Opening) -> Result<LocalFuture<'static, Conversing>, CallError> {
        Err(CallError::Unknown)
    }

    /// What is the same for two gateways only if an upstream has the same endpoints and TLS trust; none if it is not
    /// shared.
    fn fingerprint(&self, _upstream: &str) -> Option<String> {
        None
    }
}

/// A request of a plugin's own.
#[derive(Debug)]
pub struct UpstreamCall {
    /// The name of the upstream, which the plugin has a grant for.
    pub upstream: String,
    /// Any method but `CONNECT`.
    pub method: Method,
    /// Path and query, as they are sent.
    pub target: PathAndQuery,
    /// Without hop-by-hop and framing fields, and without `host`.
    pub headers: HeaderMap,
    /// The whole body; empty for none.
    pub body: Bytes,
    /// For the whole response, retries included.
    pub timeout: Duration,
    /// The largest response body that can be handed over, in bytes.
    pub limit: usize,
    /// Where it is recorded, if it is.
    pub trace: Option<Rc<Trace>>,
}

/// What begins a conversation.
#[derive(Debug)]
pub struct Opening {
    /// The message.
    pub bytes: Vec<u8>,
    /// How many bytes of an answer there must be; 0 for none.
    pub wants: usize,
    /// An answer has no more bytes than this.
    pub limit: usize,
    /// For all of the conversation.
    pub until: Instant,
    /// It may be sent twice.
    pub repeatable: bool,
    /// Where it is recorded, if it is.
    pub trace: Option<Rc<Trace>>,
}

/// A conversation, or why there is none.
pub type Conversing = Result<Box<dyn Conversation>, CallError>;

/// A message was sent and answered, in part or in whole. Dropped, it closes its connection.
pub trait Conversation {
    /// All that has come.
    fn heard(&self) -> &[u8];

    /// Waits until `wants` bytes have been received, counted from the first one, and for at least one more than there are.
    ///
    /// # Errors
    ///
    /// Not as much has come, and no more will.
    fn hear(&mut self, wants: usize) -> LocalFuture<'_, Result<(), CallError>>;

    /// The answer is whole, and the connection good for another conversation.
    fn finish(self: Box<Self>);
}

/// Why there is no whole answer. Texts are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// No upstream has this name, or not one that can be called so.
    Unknown,
    /// No whole answer within the time limit.
    Timeout,
    /// No connection, or no response on it; with the cause.
    Unreachable(String),
    /// The connection ended before the answer was there.
    Closed(String),
    /// The answer is larger than the limit of the call.
    TooLarge,
}

/// For where no worker runs: no upstream can be reached.
pub struct NoUpstreams;

impl Upstreams for NoUpstreams {
    fn call(&self, _: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        Box::pin(async { Err(CallError::Unreachable("the gateway does not serve yet".to_owned())) })
    }
}
