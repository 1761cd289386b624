//! A clock that a test moves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use gateway_state::Clock;

/// Microseconds since 1970.
#[derive(Clone)]
pub(super) struct Manual(pub(super) Arc<AtomicU64>);

impl Manual {
    /// A time in the first second of 2026.
    pub(super) fn in_2026(random: &mut Rng) -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600_000_000 + random.u64(..1_000_000))))
    }
}

impl Clock for Manual {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}
