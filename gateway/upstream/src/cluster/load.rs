//! What an upstream has to bear.

use std::sync::{Arc, atomic::AtomicUsize};

use super::breaker::Breaker;
use crate::connections::permits::Counts;

/// What an upstream has to bear. It outlives configurations, as the requests and connections do.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) breaker: Breaker,
    /// Requests in flight, where they are limited.
    pub(crate) requests: AtomicUsize,
    pub(crate) connections: Arc<Counts>,
}
