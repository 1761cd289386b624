//! The interface of wit/0.2, in Rust: what guests import, and the types of what they
//! may export. A later version gets a module of its own beside this one.

#![expect(unreachable_pub, reason = "`bindgen!` re-exports the types of handles, which have to be public for that")]

pub(super) use generated::{
    LinkOptions, Plugin,
    exports::gateway::plugin::{
        active_phases::PhaseSet,
        catalogue::Endpoint,
        lifecycle::{ConfigProblem, Manifest},
        message_filter,
        observer::Outcome,
        timers::Timer,
    },
    gateway::plugin::{
        bodies,
        bodies::{BodyError, Chunk, ChunkResult},
        cache, crypto, documents, files, http,
        http::{Decision, Edit, EditError, Fields, Item, NamedValue, RefusedEdit, Reply, ResponseDecision, Values},
        http_client, log, metrics, secrets, sinks, store, tcp, upstreams,
    },
};

/// The package of every interface here.
pub(super) const PACKAGE: &str = "gateway:plugin/";
pub(super) const VERSION: &str = "0.2.0";

/// The handle that stands for the request of the exchange at hand. There is only one, and it is only lent.
pub struct Request;

/// The handle that stands for its response.
pub struct Response;

/// The handle of a selection: its place among those of the instance.
pub struct SelectionHandle;

/// The handle of a list of edits: its place among those of the instance.
pub struct EditsHandle;

/// A connection to a TCP upstream: its number among those of the present call.
pub struct ConnectionHandle;

/// A request to an upstream in progress: its number among those of the present call.
pub struct PendingCallHandle;

/// What `bindgen!` makes. Exports are optional, so of its exports only the types are used.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/0.2",
        world: "plugin",
        // Those that can wait are replaced where they can be reached from a fiber (`host::waiting`).
        imports: { default: trappable },
        with: {
            "gateway:plugin/http.request": super::Request,
            "gateway:plugin/http.response": super::Response,
            "gateway:plugin/http.selection": super::SelectionHandle,
            "gateway:plugin/http.edits": super::EditsHandle,
            "gateway:plugin/tcp.connection": super::ConnectionHandle,
            "gateway:plugin/http-client.pending-call": super::PendingCallHandle,
        },
    });
}
