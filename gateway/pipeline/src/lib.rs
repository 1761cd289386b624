//! The ordered list of stages that a route's exchanges go through: forwards for the request, backwards for
//! the response over the stages that ran, and once more when all is over.
//!
//! Modules use those to their right: `pipeline` → `stage` → `exchange` → `heads`, `caller`, `spellings`, `touched`, `undo`. What edits an
//! exchange or goes back (`edits`, `headers`, `identity`, `transaction`) uses `exchange`.
//!
//! Invariant: this crate does not know that WebAssembly exists.

mod caller;
mod edits;
mod exchange;
mod headers;
mod heads;
mod identity;
mod pipeline;
mod spellings;
mod stage;
#[cfg(test)]
mod tests;
mod touched;
mod transaction;
mod undo;

pub use exchange::{EditError, Exchange, NoRoom, Phase, Start};
pub use gateway_rules::{bounds::Bounds, fields::is_owned_by_the_gateway, headers::Change};
pub use heads::{RequestHead, ResponseHead};
pub use identity::{Trait, TraitSource, UnknownCaller};
pub use pipeline::{Entry, Passed, Pipeline, Returned, Verdict};
pub use stage::{Decision, FailureKind, Outcome, Phases, Reply, Slot, Stage, StageFailure, Step};
pub use touched::OwnedHeaders;
