//! Reading, changing and writing HTTP messages.

#![warn(unreachable_pub)]

pub mod authentication;
pub mod body;
pub mod cookies;
pub mod date;
pub mod deadline;
pub mod events;
pub mod field_name;
pub mod forwarded;
pub mod framing;
pub mod from_client;
pub mod grpc;
pub mod hop;
pub mod interim;
pub mod known_headers;
pub mod loops;
pub mod parameters;
pub mod pipe;
pub mod reply;
pub mod request_headers;
pub mod request_id;
pub mod resets;
pub mod secured;
pub mod spelling;
pub mod target;
pub mod trailers;

pub use gateway_rules::path;
