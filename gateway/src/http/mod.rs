//! Reading, changing and writing HTTP messages.
pub mod body;
pub mod census;
pub mod cookies;
pub mod deadline;
pub mod field_name;
pub mod forwarded;
pub mod framing;
pub mod grpc;
pub mod hop;
pub mod parameters;
pub mod path;
pub mod reply;
pub mod request_id;
pub mod secured;
pub mod target;
pub mod trailers;
