//! Leases of the store that exchanges hold, and exchanges that wait for one.

use std::sync::{Arc, atomic::AtomicU64};

use super::gauge::GaugeGuard;

/// Those of one bucket and one worker.
#[derive(Debug, Default)]
pub struct LeaseMetrics {
    pub(super) held: Arc<AtomicU64>,
    pub(super) waiting: Arc<AtomicU64>,
}

impl LeaseMetrics {
    /// An exchange holds a lease until the guard is dropped.
    pub fn held(&self) -> GaugeGuard {
        GaugeGuard::count(&self.held)
    }

    /// An exchange waits for a lease until the guard is dropped.
    pub fn waiting(&self) -> GaugeGuard {
        GaugeGuard::count(&self.waiting)
    }

    /// Whether nothing is counted at present.
    pub fn is_unused(&self) -> bool {
        [&self.held, &self.waiting].into_iter().all(|gauge| gauge.load(std::sync::atomic::Ordering::Relaxed) == 0)
    }
}
