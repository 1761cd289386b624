//! The rules of an exchange: what plugins may do to it, and how much.
//!
//! The gateway applies them, and so does the test kit of the SDK, so that a plugin that passes its tests passes in the gateway. The
//! crate knows neither sockets nor WebAssembly, and depends on nothing but `http`. With the feature `config`, types that the
//! gateway's configuration names can be read from it; the feature `crypto` adds cryptography.

#![deny(missing_docs)]
#![warn(unreachable_pub)]

pub mod attributes;
pub mod authority;
pub mod bounds;
pub mod call;
#[cfg(feature = "crypto")]
pub mod crypto;
pub mod data_grants;
pub mod edit;
pub mod edits;
pub mod fields;
pub mod headers;
pub mod identity;
pub mod lease;
pub mod messages;
pub mod metric;
pub mod path;
pub mod quota;
pub mod reply;
pub mod selection;
mod size;
pub mod store;
pub mod stored_response;
pub mod take;
pub mod timers;
pub mod units;
mod verdict;
pub mod window;
