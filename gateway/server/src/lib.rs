//! Client connections of one worker: accepting, counting, draining.

#![warn(unreachable_pub)]

mod accept;
mod batch;
mod connection;
mod frames;
mod http2;
mod interim;
pub mod listener;
mod proxy_header;
mod rewind;
mod server;
mod state;
pub mod tls;
mod tunnel;
pub mod websocket;
mod wire;

pub use accept::Listening;
pub use server::{Beginning, Server};
