//! What workers ask the thread for, and counts of what became of it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::{
    failure::Failure,
    ops::{Op, Reply},
};

/// Upper bounds of the buckets of request durations, in microseconds; one more bucket holds the rest.
pub const DURATION_BOUNDS: [u64; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// Requests to Redis so far, by result. Pings are not counted.
#[derive(Debug, Default)]
pub struct Counts {
    pub ok: AtomicU64,
    /// The server did not reply in time.
    pub timeouts: AtomicU64,
    /// The server replied with an error, or the connection broke.
    pub errors: AtomicU64,
    /// Not sent: the server was unavailable, or too many requests were waiting.
    pub skipped: AtomicU64,
    /// Durations of the requests with the result `ok`, by bucket.
    pub durations: [AtomicU64; DURATION_BOUNDS.len() + 1],
    /// The sum of these durations.
    pub micros: AtomicU64,
}

impl Counts {
    pub(super) fn succeeded(&self, micros: u64) {
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < micros);
        self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A question and where its answer goes.
pub(super) struct Ask {
    pub(super) op: Op,
    pub(super) answer: oneshot::Sender<Result<Reply, Failure>>,
}
