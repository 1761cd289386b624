//! The ordered list of stages that a route's exchanges go through: forwards for the request, backwards for
//! the response over the stages that ran, and once more when all is over.
//!
//! Modules use those to their right: `pipeline`, `alone` → `turn` → `entry` → `stage` → `edits`, `headers`, `identity`, `transaction` →
//! `exchange` → `caller`, `heads`, `messages` → `local_future`, `spellings`, `states`, `touched`, `undo`.
//!
//! Invariant: this crate does not know that WebAssembly exists.

#![warn(unreachable_pub)]

mod alone;
mod caller;
mod edits;
mod entry;
mod exchange;
mod headers;
mod heads;
mod identity;
mod local_future;
mod messages;
mod pipeline;
mod spellings;
mod stage;
mod states;
#[cfg(test)]
mod tests;
mod touched;
mod transaction;
mod turn;
mod undo;

pub use alone::Alone;
pub use entry::{Entry, Scope};
pub use exchange::{EditError, Exchange, NoRoom, Phase, Start};
pub use gateway_rules::{bounds::Bounds, fields::is_owned_by_the_gateway, headers::Change};
pub use heads::{RequestHead, ResponseHead};
pub use identity::{Trait, TraitSource, UnknownCaller};
pub use local_future::LocalFuture;
pub use messages::{Close, Forwarded, Message, MessageFilter, MessageFilters, MessageResult, Passage, Side};
pub use pipeline::{Passed, Pipeline, Returned, Verdict};
pub use stage::{
    BodyFilter, CallEnd, Decision, ExchangeOutcome, ExchangeSlot, FailureKind, MessageFilterFactory, Phases, Reply,
    ResponseDecision, Stage, StageFailure, Step, Turn,
};
pub use touched::OwnedHeaders;
