//! What the pipeline runs. It does not know WebAssembly exists.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use gateway_telemetry::metrics::CallFailure;
use http::{HeaderMap, StatusCode};

use super::{
    exchange::Exchange,
    touched::{NONE_OWNED, OwnedHeaders},
};

/// One step in a route's list: on the way in, on the way back, and when all is over.
pub trait Stage {
    /// The name in logs and metrics.
    fn name(&self) -> &str;

    fn phases(&self) -> Phases;

    /// The headers that it sets or removes, as far as that is known without calling it.
    fn owned_headers(&self) -> &OwnedHeaders {
        &NONE_OWNED
    }

    /// `position` is the stage's place in its pipeline: the key of its stash.
    fn on_request<'a>(&'a self, position: usize, slot: &'a mut Slot) -> Step<'a, Result<Decision, StageFailure>>;

    /// Called only when a response is there.
    fn on_response<'a>(&'a self, position: usize, slot: &'a mut Slot) -> Step<'a, Result<(), StageFailure>>;

    /// Nothing can be changed any more, and nobody waits for it.
    fn on_complete<'a>(
        &'a self,
        position: usize,
        slot: &'a mut Slot,
        outcome: &'a Outcome,
    ) -> Step<'a, Result<(), StageFailure>>;
}

/// Holds the exchange, so that a stage can take it out for the length of a call. It is back when the call
/// has ended, also when it was cancelled.
pub struct Slot(pub Option<Box<Exchange>>);

/// A call's result, at once or later: most stages never wait, and then nothing is allocated.
pub enum Step<'a, T> {
    Done(T),
    Wait(Pin<Box<dyn Future<Output = T> + 'a>>),
}

/// What a stage says about a request.
#[derive(Debug)]
pub enum Decision {
    Next,
    Respond(Reply),
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
pub struct Outcome {
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

impl Slot {
    pub fn new(exchange: Exchange) -> Self {
        Self(Some(Box::new(exchange)))
    }
}

impl std::ops::Deref for Slot {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        self.0.as_ref().expect("a stage puts the exchange back before its call ends")
    }
}

impl std::ops::DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut Exchange {
        self.0.as_mut().expect("a stage puts the exchange back before its call ends")
    }
}
