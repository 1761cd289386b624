//! What a call found that it would have to wait for. The call fails then, its instance is free for others, and once the
//! thing is there the call is made again from its beginning: so a plugin that waits seldom never needs a fiber.

use super::{gather, services::LocalFuture};
use crate::{
    pipeline::{Exchange, Phase},
    state::redis::{Failure, Reply},
};

/// In the exchange's stash; no stage has this position.
const POSITION: usize = usize::MAX;
/// How often one call is made again. A plugin waits for a few things at most.
pub(super) const ROUNDS: usize = 16;

/// What an exchange waits for before its stage is called again.
pub(super) enum Awaited {
    Thing(LocalFuture<'static, Option<Finding>>),
    /// The whole body of the message that the phase is about.
    Body,
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

impl Awaited {
    /// Notes that the exchange has to wait. The last one counts.
    pub(super) fn note(exchange: &mut Exchange, future: LocalFuture<'static, Option<Finding>>) {
        Self::put(exchange, Self::Thing(future));
    }

    /// Notes that the exchange has to wait for a body.
    pub(super) fn note_body(exchange: &mut Exchange) {
        Self::put(exchange, Self::Body);
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
