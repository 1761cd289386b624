//! The interface of wit/plugin.wit, version 0.1.0, in Rust: what guests import, and the types of what they
//! may export. A later version gets a module of its own beside this one.

pub(super) use generated::{
    exports::gateway::plugin::{
        attendance::PhaseSet,
        catalogue::Endpoint,
        lifecycle::{ConfigProblem, Manifest},
        observer::Outcome,
        request_filter::Decision,
        response_stream::{Part, Passage},
    },
    gateway::plugin::{
        bodies, cache, crypto, documents, files, http,
        http::{Edit, EditError, Fields, Item, Named, RefusedEdit, Reply, Values},
        http_client, log, metrics, secrets, sinks, store, streams, tcp,
    },
};
use wasmtime::component::{HasSelf, Linker};

pub use super::host::{edits::Edits, selection::Selection};
use super::state::State;

/// The package of every interface here.
pub(super) const PACKAGE: &str = "gateway:plugin/";
pub(super) const VERSION: &str = "0.1.0";

/// The handle that stands for the request of the exchange at hand. There is only one, and it is only lent.
pub struct Request;

/// The handle that stands for its response.
pub struct Response;

/// What `bindgen!` makes. Exports are optional, so of its exports only the types are used.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "plugin",
        imports: {
            "gateway:plugin/bodies": async | trappable,
            "gateway:plugin/http-client": async | trappable,
            default: trappable,
        },
        with: {
            "gateway:plugin/http.request": super::Request,
            "gateway:plugin/http.response": super::Response,
            "gateway:plugin/http.selection": super::Selection,
            "gateway:plugin/http.edits": super::Edits,
        },
    });
}

/// Offers all of the interface to guests.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    generated::Plugin::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}
