//! What a call found that it would have to wait for. The call fails then, its instance is free for others, and once the
//! thing is there the call is made again from its beginning: so a plugin that waits seldom never needs a fiber.

use gateway_state::redis::{Failure, Reply};

use super::{
    bindings::{self, http_client::CallError},
    services::{Conversing, LocalFuture},
};

/// A pending call: what an exchange waits for before its stage is resumed.
pub(super) enum PendingCall {
    Thing(LocalFuture<'static, Option<CallResult>>),
    /// The answer to a plugin's own request, whose instance was wanted by others meanwhile.
    Call(LocalFuture<'static, Called>),
    /// The whole body of the message that the phase is about.
    Body,
    /// What an upstream of TCP answers.
    Talk {
        going_on: bool,
        answer: LocalFuture<'static, Talk>,
    },
}

/// A conversation with an upstream of TCP, between two calls of a phase.
pub(super) struct Talk {
    pub(super) conversation: Conversing,
    /// The plugin's own.
    pub(super) memo: Vec<u8>,
    /// An answer has no more bytes than this.
    pub(super) limit: usize,
    pub(super) upstream: String,
}

/// The result of a pending call, for this exchange only.
pub(super) struct CallResult {
    pub(super) question: [u8; 32],
    pub(super) answer: ResultValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResultValue {
    Yes,
    No,
    /// There was no room to find out.
    Busy,
    /// Of the store, where it is not in memory.
    Stored(Result<Reply, Failure>),
}

/// A plugin's own request that was answered while no instance waited for it.
pub(super) struct Called {
    pub(super) question: [u8; 32],
    pub(super) answer: Result<bindings::Reply, CallError>,
}

/// Of one stage's present call: what it waits for, and what was found for it. Gone when the call has ended.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) pending_call: Option<PendingCall>,
    pub(super) results: Vec<CallResult>,
    pub(super) calls: Vec<Called>,
    pub(super) talk: Option<Talk>,
}

/// What an exchange has waited for.
pub(super) enum Arrived {
    /// It is where everybody finds it.
    Nothing,
    /// The body can be read.
    Body,
    CallResult(CallResult),
    Call(Called),
    Talk(Talk),
}

impl Pending {
    /// What was found for a question.
    pub(super) fn answer(&self, question: &[u8; 32]) -> Option<ResultValue> {
        self.results.iter().find(|finding| finding.question == *question).map(|finding| finding.answer.clone())
    }

    /// What the plugin's own request was answered.
    pub(super) fn called(&self, question: &[u8; 32]) -> Option<Result<bindings::Reply, CallError>> {
        self.calls.iter().find(|called| called.question == *question).map(|called| called.answer.clone())
    }
}

impl PendingCall {
    /// Whether it ends by itself, however often it is waited for: an answer has its time and its limit.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Self::Talk { going_on: true, .. })
    }

    pub(super) async fn arrive(self) -> Arrived {
        match self {
            Self::Thing(future) => future.await.map_or(Arrived::Nothing, Arrived::CallResult),
            Self::Call(answer) => Arrived::Call(answer.await),
            Self::Talk { answer, .. } => Arrived::Talk(answer.await),
            Self::Body => Arrived::Body,
        }
    }
}
