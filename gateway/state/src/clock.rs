//! Time as the store sees it: only how much has passed, so that a change of the wall clock expires nothing.

use std::time::{Duration, Instant};

/// A clock that never goes back. Tests inject their own.
pub trait Clock: Send + Sync {
    /// Since some fixed moment.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic(Instant);

impl Default for Monotonic {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// The clock's reading in nanoseconds: enough for five centuries.
pub(super) fn nanos(clock: &impl Clock) -> u64 {
    u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX)
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
