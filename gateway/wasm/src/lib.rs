//! The only user of wasmtime: loads components, keeps their instances warm and makes pipeline stages of them.
//!
//! From a file to a call: `plugin` (compiled, linked, asked about itself; then with a configuration, grants and limits; shared by
//! all workers) → `pools` (a worker's warm instances) → `stage`. What guests can call is in `host`, and what the rest of the
//! gateway must give for that in `services`.
//!
//! Invariants:
//! - An exchange is moved into an instance's store for a call and is back in its slot when the call has ended,
//!   however it ended.
//! - An instance that failed is never called again, because a trap leaves its store in no known state.
//! - Nothing that a guest hands over, says or keeps is without a bound.

#![warn(missing_docs, unreachable_pub)]

mod admission;
mod bindings;
mod bodies;
mod body_filter;
mod cache;
mod engine;
mod event_filter;
mod fields;
mod hook;
mod host;
mod identity;
mod instance;
mod leases;
mod message_filter;
mod own_instance;
mod plugin;
mod plugin_state;
mod pools;
mod replay;
mod reply;
pub mod services;
mod stage;
mod stages;
mod stream_calls;
#[cfg(test)]
mod tests;
mod timers;
mod waits;

pub use engine::CodeCache;
pub use leases::Leases;
pub use plugin::{
    Endpoint, Examined, Facts, LoadError, Loaded, PluginMemory, Prepared, Problem, Runtime, Settings, TimerSettings,
    Wants, read, sha256,
};
pub use pools::Pools;
pub use services::{documents::Documents, passwords::Passwords, timers::Timers};
pub use waits::Waits;
