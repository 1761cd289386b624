//! What the gateway tells about itself: its log, its metrics, and the sinks that plugins write lines to.
//! Nothing here makes a request wait.

#![warn(unreachable_pub)]

mod calls;
mod cells;
mod exposition;
pub mod figures;
mod gauge;
mod labels;
mod leases;
pub mod live;
pub mod logging;
pub mod metrics;
mod name;
pub mod remote;
mod requests;
pub mod rotation;
mod series;
pub mod sinks;
mod spans;
pub mod tail;
pub mod text_format;
pub mod trace;
pub mod traps;
mod upstreams;
mod writer;
mod written;

pub use leases::LeaseMetrics;
pub use logging::Logging;
pub use metrics::Metrics;
pub use sinks::Sinks;
