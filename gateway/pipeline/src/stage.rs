//! What the pipeline runs. It does not know WebAssembly exists.

use std::{fmt, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use gateway_http::body::Body;
use gateway_telemetry::metrics::{CallFailure, CallMetrics};
use http::{HeaderMap, StatusCode};

use super::{
    exchange::Exchange,
    local_future::LocalFuture,
    messages::MessageFilter,
    touched::{NONE_OWNED, OwnedHeaders},
};

/// One step in a route's list: on the way in, on the way back, and when all is over.
///
/// The pipeline counts, times and traces calls, continues a stage that had to wait, and undoes the edits of one that failed. A stage
/// says what came of its turn, and nothing else. What it keeps of an exchange is in [`Exchange::state`].
pub trait Stage {
    /// The name in logs and metrics.
    fn name(&self) -> &Arc<str>;

    fn phases(&self) -> Phases;

    /// The headers that it sets or removes, as far as that is known without calling it.
    fn owned_headers(&self) -> &OwnedHeaders {
        &NONE_OWNED
    }

    fn on_request<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, Decision>;

    /// Called only when a response is there.
    fn on_response<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision>;

    /// Whether its response phase may ask for messages (`ResponseDecision::Messages`, or a body filter for events), so that they have
    /// to come in a form that can be read.
    fn filters_messages(&self) -> bool {
        false
    }

    /// Nothing can be changed any more, and no client waits for it.
    fn on_complete<'a>(&'a self, slot: &'a mut ExchangeSlot, outcome: &'a ExchangeOutcome) -> Step<'a, ()>;

    /// Ends when a stage that is pending can be called again.
    fn ready<'a>(&'a self, _: &'a mut ExchangeSlot) -> LocalFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The pending stage is not called again.
    fn abandon(&self, _: &mut ExchangeSlot) {}

    /// The worker begins to serve by the pipeline of this stage.
    fn start(&self) {}

    /// Whether `tick` is to be called.
    fn ticks(&self) -> bool {
        false
    }

    /// About once a second, while the worker serves by the pipeline of this stage.
    fn tick(&self) {}

    /// No request begins with this stage any more. Those in progress end with it.
    fn stop(&self) {}
}

/// Holds the exchange, so that a stage can take it out for the length of a call. It is back when the call
/// has ended, also when it was cancelled.
pub struct ExchangeSlot(pub Option<Box<Exchange>>);

/// A stage's turn, at once or later: most stages never wait, and then nothing is allocated.
pub enum Step<'a, T> {
    Done(Turn<T>),
    Wait(LocalFuture<'a, Turn<T>>),
}

/// What came of a stage's turn.
#[derive(Debug)]
pub enum Turn<T> {
    /// The stage has nothing to do in this phase.
    NotCalled,
    /// It could not be called.
    Refused(StageFailure),
    /// It cannot be called before something is there that it waits for (`Stage::ready`).
    Pending,
    Called {
        end: CallEnd<T>,
        /// How long the call ran, where that is not the time since the turn before or `Exchange::begin_call`: because it waited.
        ran: Option<Duration>,
    },
}

/// How a call ended.
#[derive(Debug)]
pub enum CallEnd<T> {
    Returned(T),
    Failed(StageFailure),
    /// It returned, and its edits stay; the stage continues with another call when what it waits for is there (`Stage::ready`).
    Pending,
}

impl<T> Turn<T> {
    /// A call that never waited.
    pub fn called(result: Result<T, StageFailure>) -> Self {
        Self::Called { end: result.into(), ran: None }
    }
}

impl<T> From<Result<T, StageFailure>> for CallEnd<T> {
    fn from(result: Result<T, StageFailure>) -> Self {
        match result {
            Ok(value) => Self::Returned(value),
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// Makes a body pass through a stage. Its calls outlive the stage's turn, and are counted in what it is given.
pub type BodyFilter = Box<dyn FnOnce(Body, Arc<CallMetrics>) -> Body>;

/// Makes a filter of messages. Its calls outlive the stage's turn, and are counted in what it is given.
pub type MessageFilterFactory = Box<dyn FnOnce(Arc<CallMetrics>) -> Rc<dyn MessageFilter>>;

/// What a stage says about a response.
#[derive(Default)]
pub enum ResponseDecision {
    #[default]
    Next,
    /// The response's body passes through this from here on.
    Filter(BodyFilter),
    /// The messages of the connection pass through this.
    Messages(MessageFilterFactory),
}

/// What a stage says about a request.
pub enum Decision {
    Next,
    /// The request goes on, and its body passes through this.
    Filter(BodyFilter),
    /// Boxed, because nearly all decisions are the other one, and are handed on several times.
    Respond(Box<Reply>),
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("Next"),
            Self::Filter(_) => f.write_str("Filter"),
            Self::Respond(reply) => f.debug_tuple("Respond").field(reply).finish(),
        }
    }
}

/// A response with its whole body.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The stage itself failed; the route's `on-error` decides what follows.
#[derive(Debug)]
pub struct StageFailure {
    pub kind: FailureKind,
    /// For the log, never for the client.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The stage reported an error.
    Error,
    /// It stopped in an unforeseen way: a trap, an illegal reply.
    Trap,
    /// It ran longer than it may.
    Timeout,
    /// It wanted more memory than it may have.
    Memory,
    /// No instance was free.
    Busy,
    /// The request has no room for its edits (`Exchange::no_room`): what the client sent is too large for it.
    TooLarge,
    /// It was not called, since it ran longer than it may too often.
    CircuitOpen,
}

impl FailureKind {
    /// As metrics count it.
    pub fn counted(self) -> CallFailure {
        match self {
            Self::Error | Self::TooLarge => CallFailure::Error,
            Self::Trap => CallFailure::Trap,
            Self::Timeout => CallFailure::Timeout,
            Self::Memory => CallFailure::Memory,
            Self::Busy => CallFailure::Busy,
            Self::CircuitOpen => CallFailure::CircuitOpen,
        }
    }
}

/// Which phases a stage takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    pub request: bool,
    pub response: bool,
    pub complete: bool,
}

/// How an exchange ended.
#[derive(Debug, Clone)]
pub struct ExchangeOutcome {
    /// Absent when the client left before a response began.
    pub status: Option<u16>,
    /// `Failure::reason` where the gateway itself answered or gave up.
    pub failure: Option<&'static str>,
    pub upstream: Option<std::sync::Arc<str>>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration_us: u64,
    pub upstream_us: Option<u64>,
    pub plugins_us: u64,
}

impl ExchangeSlot {
    pub fn new(exchange: Exchange) -> Self {
        Self(Some(Box::new(exchange)))
    }
}

impl std::ops::Deref for ExchangeSlot {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        self.0.as_ref().expect("a stage puts the exchange back before its call ends")
    }
}

impl std::ops::DerefMut for ExchangeSlot {
    fn deref_mut(&mut self) -> &mut Exchange {
        self.0.as_mut().expect("a stage puts the exchange back before its call ends")
    }
}
