//! Which keys were invalidated since a response was kept under them (RFC 9111 §4.4).
//!
//! A key has a response for each consumer, and one unsafe request invalidates all of them. They are not searched for: a
//! counter for each key tells what is older. Several keys share a counter, which forgets too much and never too little.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use ahash::RandomState;

/// So many that a few thousand unsafe requests in a minute seldom meet.
const COUNTERS: usize = 16 * 1024;

pub(super) struct Invalidations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Invalidations {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, hasher: RandomState::new() }
    }
}

impl Invalidations {
    /// A response that is kept now is valid as long as its key's count is this.
    pub(super) fn count(&self, bucket: &str, key: &str) -> u64 {
        self.counter((bucket, key)).load(Ordering::Acquire)
    }

    pub(super) fn invalidate(&self, bucket: &str, key: &str) {
        self.counter((bucket, key)).fetch_add(1, Ordering::Release);
    }

    fn counter(&self, key: impl Hash) -> &AtomicU64 {
        let index = usize::try_from(self.hasher.hash_one(key) % COUNTERS as u64).unwrap_or(0);
        &self.counters[index]
    }
}
