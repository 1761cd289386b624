//! What the whole process knows of an upstream, shared by all workers in atomics: its endpoints (`group`), how each fares
//! (`standing`), its circuit breaker, and what it has to bear (`load`).

pub(crate) mod breaker;
mod group;
mod load;
mod standing;
mod window;

pub use group::{EndpointState, Group, Health, LoadedGroup};
pub(crate) use group::{Member, host, looks_again, port};
pub(crate) use standing::Standing;
