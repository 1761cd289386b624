//! Points in time as numbers, which fit into an atomic.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Before any request.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the process began to have upstreams; never 0, which stands for "not at all".
pub(super) fn micros(at: Instant) -> u64 {
    span(at.saturating_duration_since(*START)) + 1
}

pub(super) fn instant(micros: u64) -> Instant {
    *START + Duration::from_micros(micros.saturating_sub(1))
}

pub(super) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1).min(u64::MAX >> 1)
}
