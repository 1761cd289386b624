//! The only user of wasmtime: loads components, keeps their instances warm and makes pipeline stages of them.
//!
//! From a file to a call: `load` (compiled, linked, asked about itself) → `prepared` (with a configuration,
//! grants and limits; shared by all workers) → `pool` (a worker's warm `instance`s) → `stage`. What guests can
//! call is in `host`, and what the rest of the gateway must give for that in `services`.
//!
//! Invariants:
//! - An exchange is moved into an instance's store for a call and is back in its slot when the call has ended,
//!   however it ended.
//! - An instance that failed is never called again, because a trap leaves its store in no known state.
//! - Nothing that a guest hands over, says or keeps is without a bound.

mod awaited;
mod bindings;
mod breaker;
mod capacity;
mod catalogue;
mod clock;
mod consumer;
mod contention;
mod documents;
mod engine;
mod epoch;
mod facts;
mod fields;
mod gather;
mod held;
mod hook;
mod host;
mod idle;
mod instance;
mod limiter;
mod load;
mod output;
mod passing;
mod passwords;
mod pool;
mod pools;
mod prepared;
mod recording;
mod replay;
mod reply;
pub mod services;
mod stage;
mod state;
#[cfg(test)]
mod tests;
mod threads;

pub use catalogue::Endpoint;
pub use documents::Documents;
pub use engine::CodeCache;
pub use facts::{Facts, Wants};
pub use load::{Examined, LoadError, Loaded, Runtime, read, sha256};
pub use passwords::Passwords;
pub use pools::Pools;
pub use prepared::{Prepared, Problem, Settings};
