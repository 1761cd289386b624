//! Gauges that count what there is at the moment.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// One of the things that a gauge counts: an open connection, a living instance. It counts until dropped.
#[derive(Debug)]
pub struct GaugeGuard(Arc<AtomicU64>);

impl GaugeGuard {
    pub(super) fn count(gauge: &Arc<AtomicU64>) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
