//! HTTP/1.1 towards upstreams (RFC 9112). A connection has one request at a time, and belongs to its exchange
//! while that lasts: no task drives it, nothing is handed from one task to another, and dropping it ends it.
//!
//! A head is written from the request as it is, and read without copying: the fields of a response share the memory
//! that they were read into, and so does its body.

mod buffer;
mod chunked;
mod connection;
mod encode;
mod exchange;
mod fields;
mod parse;
mod reading;
mod sending;

pub(crate) use connection::Connection;
pub(crate) use reading::Reading;
