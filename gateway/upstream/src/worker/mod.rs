//! What one worker has of an upstream: its endpoints with their connections (`endpoint`, `private`), which of them get requests
//! (`view`), and what may be sent (`pass`, `budget`).

mod budget;
mod endpoint;
mod permit;
mod private;
mod upstream;
mod view;

pub(crate) use endpoint::{Endpoint, InFlight, Opening, Owner};
pub(crate) use permit::RequestPermit;
pub use private::PrivateConnections;
pub use upstream::{Upstream, Upstreams};
