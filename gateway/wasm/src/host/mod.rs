//! What guests can call: one module for each interface of wit/plugin.wit, and WASI.
//!
//! Grants are enforced here, by name, on every call. A host function never blocks its worker; those that wait
//! are `async` and only reached from a fiber.

mod bodies;
mod cache;
mod client;
pub(super) mod crypto;
mod documents;
pub(super) mod edits;
mod files;
mod http;
mod kept;
mod log;
mod metrics;
mod secrets;
pub(super) mod selection;
mod sinks;
mod store;
mod streams;
mod tcp;
pub(super) mod wasi;

use wasmtime::component::Linker;

use super::{bindings, state::State};

/// Offers everything to guests. Each component takes what it imports.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::add_to_linker(linker)?;
    wasi::add_to_linker(linker)
}
