//! From a request to the head of an upstream's response: which endpoint, which connection, what can go wrong.
//!
//! What the whole process knows of an upstream is in `cluster`, what one worker has of it in `worker`. Connections belong to a
//! worker and are kept in plain lists; nothing on a request's way is shared or locked.

#![warn(missing_docs, unreachable_pub)]

mod balancing;
mod cluster;
mod connections;
mod health;
mod messages;
mod monotonic_clock;
pub mod reflection;
mod refused;
pub mod tcp;
mod worker;

pub use balancing::hash_of;
pub use cluster::{Cluster, EndpointState, Health, LoadedCluster};
pub use connections::tls::ClientTls;
pub use health::Watch;
pub use messages::{Deadlines, Outgoing, Switched, UpstreamResponse, send};
pub use refused::Refused;
pub use worker::{PrivateConnections, Upstream, Upstreams};
