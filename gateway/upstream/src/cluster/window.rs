//! How many of the latest requests failed, counted by all workers without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A window moves on by a tenth of its length at a time.
const SLOTS: u64 = 10;
const BITS: u64 = 20;
const MOST: u64 = (1 << BITS) - 1;

/// Requests and failures of the last so many microseconds. Each slot holds which tenth it is of, its requests and
/// its failures in one number, so that they are always of a piece. A slot counts up to a million; then it is full.
#[derive(Debug, Default)]
pub(crate) struct Window([AtomicU64; SLOTS as usize]);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) failed: u64,
}

impl Window {
    /// `now` and `length` in microseconds.
    pub(crate) fn record(&self, now: u64, length: u64, failed: bool) {
        let tick = tick(now, length);
        let slot = &self.0[(tick % SLOTS) as usize];
        let add = |old: u64| {
            let fresh = old >> (2 * BITS) != tag(tick);
            let (total, bad) = if fresh { (0, 0) } else { (old >> BITS & MOST, old & MOST) };
            // Full: what else comes in this tenth does not change the share.
            let more = u64::from(total < MOST);
            Some(tag(tick) << (2 * BITS) | (total + more) << BITS | (bad + (more & u64::from(failed))))
        };
        // The closure never refuses.
        let _ = slot.fetch_update(Relaxed, Relaxed, add);
    }

    pub(crate) fn counts(&self, now: u64, length: u64) -> Counts {
        let last = tick(now, length);
        let mut counts = Counts::default();
        for tick in last - (SLOTS - 1)..=last {
            let slot = self.0[(tick % SLOTS) as usize].load(Relaxed);
            if slot >> (2 * BITS) == tag(tick) {
                counts.total += slot >> BITS & MOST;
                counts.failed += slot & MOST;
            }
        }
        counts
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Relaxed));
    }
}

/// Which tenth of a window it is. Never near 0, so that there are always as many before it.
fn tick(now: u64, length: u64) -> u64 {
    now / (length / SLOTS).max(1) + SLOTS
}

fn tag(tick: u64) -> u64 {
    tick & ((1 << (64 - 2 * BITS)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 10_000_000;

    fn counts(window: &Window, now: u64) -> (u64, u64) {
        let counts = window.counts(now, LENGTH);
        (counts.total, counts.failed)
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let window = Window::default();
        window.record(1, LENGTH, true);
        window.record(5_000_000, LENGTH, false);
        assert_eq!(counts(&window, 5_000_000), (2, 1));
        assert_eq!(counts(&window, 9_999_999), (2, 1));
        assert_eq!(counts(&window, 10_000_000), (1, 0));
        assert_eq!(counts(&window, 15_000_000), (0, 0));
        assert_eq!(counts(&window, u64::MAX >> 1), (0, 0));
    }

    #[test]
    fn a_slot_is_used_again_for_a_later_tenth() {
        let window = Window::default();
        window.record(0, LENGTH, true);
        window.record(LENGTH, LENGTH, false);
        assert_eq!(counts(&window, LENGTH), (1, 0));
    }

    #[test]
    fn a_full_slot_keeps_its_share() {
        let window = Window::default();
        for _ in 0..MOST + 10 {
            window.record(0, LENGTH, true);
        }
        assert_eq!(counts(&window, 0), (MOST, MOST));
        window.clear();
        assert_eq!(counts(&window, 0), (0, 0));
    }

    #[test]
    fn many_threads_lose_no_count() {
        let window = Window::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|i| window.record(7, LENGTH, i % 2 == 0)));
            }
        });
        assert_eq!(counts(&window, 7), (40_000, 20_000));
    }
}
