//! What a call found that it would have to wait for. The call fails then, its instance is free for others, and once the
//! thing is there the call is made again from its beginning: so a plugin that waits seldom never needs a fiber.

use gateway_pipeline::{Exchange, Phase};
use gateway_state::redis::{Failure, Reply};

use super::{
    bindings::{self, http_client::CallError},
    bodies::gather,
    services::{Conversing, LocalFuture},
};

/// In the exchange's stash; no stage has this position.
const POSITION: usize = usize::MAX;
/// How often one call is made again. A plugin waits for a few things at most.
pub(super) const ROUNDS: usize = 16;

/// What an exchange waits for before its stage is called again.
pub(super) enum Awaited {
    Thing(LocalFuture<'static, Option<Finding>>),
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

impl Talk {
    pub(super) fn of(exchange: &Exchange) -> Option<&Self> {
        let mut kept = exchange.stash.iter().filter(|(at, _)| *at == POSITION);
        kept.find_map(|(_, kept)| kept.downcast_ref())
    }

    /// Takes it out of the stash.
    pub(super) fn take(exchange: &mut Exchange) -> Option<Self> {
        let index = exchange.stash.iter().position(|(at, kept)| *at == POSITION && kept.is::<Self>())?;
        exchange.stash.swap_remove(index).1.downcast().ok().map(|talk| *talk)
    }
}

/// What came of waiting, where only this exchange needs to know.
pub(super) struct Finding {
    pub(super) question: [u8; 32],
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
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

impl Called {
    pub(super) fn answer(exchange: &Exchange, question: &[u8; 32]) -> Option<Result<bindings::Reply, CallError>> {
        let kept = exchange.stash.iter().filter(|(at, _)| *at == POSITION);
        kept.filter_map(|(_, kept)| kept.downcast_ref::<Self>())
            .find(|called| called.question == *question)
            .map(|called| called.answer.clone())
    }

    /// Whether any was answered so for the present stage.
    pub(super) fn is_any(exchange: &Exchange) -> bool {
        exchange.stash.iter().any(|(at, kept)| *at == POSITION && kept.is::<Self>())
    }
}

impl Awaited {
    /// Notes that the exchange has to wait. The last one counts.
    pub(super) fn note(exchange: &mut Exchange, future: LocalFuture<'static, Option<Finding>>) {
        Self::put(exchange, Self::Thing(future));
    }

    /// Notes that the exchange has to wait for the answer to a plugin's own request.
    pub(super) fn note_call(exchange: &mut Exchange, answer: LocalFuture<'static, Called>) {
        Self::put(exchange, Self::Call(answer));
    }

    /// Notes that the exchange has to wait for a body.
    pub(super) fn note_body(exchange: &mut Exchange) {
        Self::put(exchange, Self::Body);
    }

    /// Notes that the exchange has to wait for the beginning of an answer.
    pub(super) fn note_talk(exchange: &mut Exchange, answer: LocalFuture<'static, Talk>) {
        Self::put(exchange, Self::Talk { going_on: false, answer });
    }

    /// Notes that the exchange has to wait for more of an answer.
    pub(super) fn note_more(exchange: &mut Exchange, answer: LocalFuture<'static, Talk>) {
        Self::put(exchange, Self::Talk { going_on: true, answer });
    }

    /// Whether it ends by itself, however often it is waited for: an answer has its time and its limit.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Self::Talk { going_on: true, .. })
    }

    fn put(exchange: &mut Exchange, awaited: Self) {
        Self::take(exchange);
        exchange.stash.push((POSITION, Box::new(awaited)));
    }

    pub(super) fn take(exchange: &mut Exchange) -> Option<Self> {
        let index = exchange.stash.iter().position(|(at, kept)| *at == POSITION && kept.is::<Self>())?;
        exchange.stash.swap_remove(index).1.downcast().ok().map(|awaited| *awaited)
    }

    pub(super) fn is_in(exchange: &Exchange) -> bool {
        exchange.stash.iter().any(|(at, kept)| *at == POSITION && kept.is::<Self>())
    }

    /// Waits, and leaves what was found with the exchange.
    pub(super) async fn arrive(self, exchange: &mut Exchange) {
        match self {
            Self::Thing(future) => {
                if let Some(finding) = future.await {
                    exchange.stash.push((POSITION, Box::new(finding)));
                }
            }
            Self::Call(answer) => {
                let called = answer.await;
                exchange.stash.push((POSITION, Box::new(called)));
            }
            Self::Talk { answer, .. } => {
                let talk = answer.await;
                exchange.stash.push((POSITION, Box::new(talk)));
            }
            Self::Body => {
                let limit = exchange.bounds.buffer_bytes;
                let place = match exchange.phase {
                    Phase::Request => &mut exchange.request_body,
                    Phase::Response | Phase::Complete => &mut exchange.response_body,
                };
                // It is left in its place; what is wrong with it is found again by who asks for it.
                let _ = gather::read(place, limit).await;
            }
        }
    }
}

/// What was found for a question.
pub(super) fn answer(exchange: &Exchange, question: &[u8; 32]) -> Option<Answer> {
    let kept = exchange.stash.iter().filter(|(at, _)| *at == POSITION);
    kept.filter_map(|(_, kept)| kept.downcast_ref::<Finding>())
        .find(|finding| finding.question == *question)
        .map(|finding| finding.answer.clone())
}

/// The stage is through: what was found for it is nobody else's.
pub(super) fn forget(exchange: &mut Exchange) {
    exchange.stash.retain(|(at, _)| *at != POSITION);
}
