#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod config;
mod edits;
mod error;
mod export;
mod host;
mod outcome;
mod plugin;
mod reply;
mod request;
mod response;
mod selection;
mod span;
mod stop;

pub mod body;
pub mod cache;
pub mod clock;
pub mod cookies;
pub mod credentials;
pub mod crypto;
pub mod documents;
pub mod files;
pub mod http_client;
pub mod json;
pub mod log;
pub mod messages;
pub mod metrics;
pub mod names;
pub mod query;
pub mod secrets;
pub mod sinks;
pub mod store;
pub mod tcp;
#[cfg(not(target_family = "wasm"))]
pub mod testkit;
pub mod upstreams;

pub use schemars;
pub use serde;
pub use serde_json;

pub use body::{Body, BodyError};
pub use config::{ConfigProblem, NoConfig, Pointer, Problems, given};
pub use edits::{Edit, Edits, RefusedEdit};
pub use error::{EditError, Error};
pub use outcome::Outcome;
pub use plugin::{
    Catalogue, Endpoint, MessageFilter, Observer, Phases, Plugin, RequestBodyFilter, RequestFilter, RequestStream,
    ResponseBodyFilter, ResponseFilter, ResponseStream, Timer, Timers,
};
pub use reply::{Decision, Problem, Reply, ResponseDecision};
pub use request::Request;
pub use response::Response;
pub use selection::{Item, Selection, Values};
pub use span::Span;

/// What `export_plugin!` expands to; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::plugin_name;
    #[cfg(target_family = "wasm")]
    pub use crate::host::{exports, generated::*};
}
