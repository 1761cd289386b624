//! Connections of one worker to endpoints: opening them (`connect`, `tls`), how many there may be (`permits`), the protocols
//! (`http1`, `http2`), and what is the same for both (`request_head`, `incoming`, `broken`).

pub(crate) mod broken;
pub(crate) mod connect;
pub(crate) mod http1;
pub(crate) mod http2;
mod http2_head;
pub(crate) mod incoming;
pub(crate) mod io;
pub(crate) mod permits;
pub(crate) mod request_head;
pub(crate) mod tls;
