//! A request on its way to an upstream, and its response on the way back: `send`, which is one `attempt` or several (`retry`), each
//! on a connection (`acquire`).

pub(crate) mod acquire;
mod attempt;
mod head;
mod request;
pub(crate) mod response;
mod retry;
mod send;
mod switched;

pub use request::{Deadlines, Outgoing};
pub use send::{UpstreamResponse, send};
pub use switched::Switched;
