//! What the whole process knows of an upstream, shared by all workers in atomics: its endpoints (`hosts`), how each fares
//! (`health`), its circuit breaker, and what it has to bear (`load`).

pub(crate) mod breaker;
mod host_health;
mod hosts;
mod load;
mod window;

pub(crate) use host_health::HostHealth;
pub use hosts::{Cluster, EndpointState, Health, LoadedCluster};
pub(crate) use hosts::{Host, host_of, looks_again, port};
