//! What became of spans.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceMetrics {
    pub(super) exported: AtomicU64,
    pub(super) dropped: [AtomicU64; LOST.len()],
}

/// In the order of `Lost`.
pub(super) const LOST: [&str; 3] = ["bound", "queue", "export"];

impl TraceMetrics {
    pub fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub fn dropped(&self, why: Lost, spans: u64) {
        self.dropped[why as usize].fetch_add(spans, Relaxed);
    }
}

/// Why spans were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// There were too many of one request.
    Bound,
    /// Too many waited.
    Queue,
    /// The collector could not be reached, or did not take them.
    Export,
}
