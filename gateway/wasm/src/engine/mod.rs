//! What all components share: the wasmtime engine, the clock behind time limits, and the limits of memory.

pub(crate) mod clock;
mod config;
pub(crate) mod epoch;
pub(crate) mod limiter;
pub(crate) mod threads;

pub use config::CodeCache;
pub(crate) use config::{Slots, TABLES, engine};
