//! What guests can call: one module for each interface of wit/0.2, and WASI.
//!
//! Grants are enforced here, by name, on every call. A host function never blocks its worker. Those that can wait exist twice: as
//! ordinary functions, for plugins that are granted nothing to wait for, and in `waiting`, for calls on fibers.

mod bodies;
mod cache;
mod cache_lookup;
mod client;
mod crypto;
mod documents;
mod edits;
mod files;
mod http;
mod keyed;
mod leases;
mod log;
mod metrics;
mod secrets;
mod selection;
mod sinks;
mod store;
mod tcp;
mod upstreams;
mod waiting;
pub(crate) mod wasi;

use wasmtime::component::{HasSelf, Linker};

use crate::{
    bindings::{LinkOptions, Plugin},
    instance::state::State,
};

/// Offers everything to guests. Each component takes what it imports.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut features = LinkOptions::default();
    features.cache(true);
    Plugin::add_to_linker::<State, HasSelf<State>>(linker, &features, |state| state)?;
    wasi::add_to_linker(linker)
}

pub(crate) use waiting::add_to_linker as add_waiting_to_linker;
