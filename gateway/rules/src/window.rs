//! A sliding window: how many units were taken in the last period, however they were spread over it.
//!
//! The exact way would remember every step. What is remembered is the sum of the present window and of the one before,
//! of which as much counts as still lies within a period from now, as if it had been taken evenly. It is counted in units times
//! nanoseconds of the period, so that nothing is rounded.

use crate::{
    quota::{NANOS_PER_MILLI, Quota},
    verdict::{Taken, Verdict},
};

/// What is remembered between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Which window `current` belongs to: periods since the clock's beginning.
    index: u64,
    current: u64,
    previous: u64,
    period: u64,
}

/// Takes `cost` units of a window's `limit` at `now`, in nanoseconds. A cost of 0 only asks.
#[inline]
pub fn take(quota: Quota, before: Option<Window>, cost: u32, now: u64) -> Taken<Window> {
    if quota.limit == 0 {
        return Taken { verdict: Verdict::NEVER, remember: None, refuses_for: 0 };
    }
    let period = quota.period();
    let (index, passed) = (now / period, now % period);
    let (current, previous) = before.map_or((0, 0), |before| before.seen_from(index, period));
    let (limit, cost) = (u64::from(quota.limit), u64::from(cost));
    // Of the window before, what lies less than a period back.
    let rest = period - passed;
    let used = u128::from(previous) * u128::from(rest) + u128::from(current) * u128::from(period);
    let full = u128::from(limit) * u128::from(period);
    let allowed = used + u128::from(cost) * u128::from(period) <= full;
    let taken = if allowed { cost } else { 0 };
    let left = full.saturating_sub(used + u128::from(taken) * u128::from(period)) / u128::from(period);
    let current = current + taken;
    let reset = if current > 0 {
        rest.saturating_add(period)
    } else if previous > 0 {
        rest
    } else {
        0
    };
    let verdict = Verdict {
        allowed,
        remaining: u32::try_from(left).unwrap_or(quota.limit),
        reset_after_ms: reset.div_ceil(NANOS_PER_MILLI),
        retry_after_ms: match (allowed, retry(limit, cost, current, previous, period, rest)) {
            (true, _) => 0,
            (false, Some(nanos)) => nanos.div_ceil(NANOS_PER_MILLI),
            (false, None) => u64::MAX,
        },
    };
    let remember = (taken > 0).then(|| {
        let window = Window { index, current, previous, period };
        (window, rest.saturating_add(period))
    });
    let again = used + u128::from(taken + cost) * u128::from(period);
    let refuses_for = if again > full { retry(limit, cost, current, previous, period, rest).unwrap_or(0) } else { 0 };
    Taken { verdict, remember, refuses_for }
}

/// Until so much has slid out of the window that the step fits, in nanoseconds; none if it never will.
fn retry(limit: u64, cost: u64, current: u64, previous: u64, period: u64, rest: u64) -> Option<u64> {
    let room = limit.checked_sub(cost)?;
    // Within this window only the one before gets less.
    let nanos = if current <= room {
        // previous × r ≤ (room − current) × period, where r is what is left of this window.
        let fits = u128::from(room - current) * u128::from(period) / u128::from(previous.max(1));
        u128::from(rest).saturating_sub(fits)
    } else {
        // In the next one, this is the one before.
        let fits = u128::from(room) * u128::from(period) / u128::from(current.max(1));
        u128::from(rest) + u128::from(period).saturating_sub(fits)
    };
    Some(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Window {
    /// The window of a quota at `now`, in nanoseconds, with the units of it and of the one before.
    pub fn of(quota: Quota, current: u64, previous: u64, now: u64) -> Self {
        let period = quota.period();
        Self { index: now / period, current, previous, period }
    }

    /// Units of the present window and the one before. A window of another length begins anew.
    fn seen_from(self, index: u64, period: u64) -> (u64, u64) {
        match index.checked_sub(self.index) {
            _ if period != self.period => (0, 0),
            Some(0) => (self.current, self.previous),
            Some(1) => (0, self.current),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NANOS_PER_MILLI;

    struct Counter(Quota, Option<Window>);

    impl Counter {
        fn take(&mut self, cost: u32, now_ms: u64) -> Verdict {
            let taken = take(self.0, self.1, cost, now_ms * MS);
            self.1 = taken.remember.map(|(window, _)| window).or(self.1);
            taken.verdict
        }
    }

    fn ten_a_second() -> Counter {
        Counter(Quota { limit: 10, period_ms: 1000, burst: 10 }, None)
    }

    #[test]
    fn no_second_has_more_than_the_limit_wherever_it_begins() {
        let mut counter = ten_a_second();
        let mut taken = Vec::new();
        for now in (0..5000).step_by(7) {
            if counter.take(1, now).allowed {
                taken.push(now);
            }
        }
        for begin in 0..4000 {
            let within = taken.iter().filter(|at| (begin..begin + 1000).contains(*at)).count();
            // The estimate is fair as long as requests come evenly; here they come as fast as they may.
            assert!(within <= 12, "{within} from {begin}");
        }
        assert!((45..=52).contains(&taken.len()), "{}", taken.len());
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut counter = ten_a_second();
        let mut now = 900;
        for _ in 0..10 {
            assert!(counter.take(1, now).allowed);
        }
        for _ in 0..50 {
            let refused = counter.take(1, now);
            assert!(!refused.allowed && refused.retry_after_ms > 0);
            now += refused.retry_after_ms;
            assert!(counter.take(1, now).allowed, "{now}");
            while counter.take(1, now).allowed {}
        }
    }

    #[test]
    fn remaining_and_reset_tell_what_is_left() {
        let mut counter = ten_a_second();
        let verdict = counter.take(4, 250);
        assert_eq!((verdict.remaining, verdict.reset_after_ms), (6, 1750));
        assert_eq!(counter.take(0, 1500).remaining, 8);
        assert_eq!(
            counter.take(0, 2000),
            Verdict { allowed: true, remaining: 10, reset_after_ms: 0, retry_after_ms: 0 }
        );
    }

    #[test]
    fn more_than_the_limit_is_never_allowed_and_a_limit_of_zero_allows_nothing() {
        assert_eq!(ten_a_second().take(11, 0).retry_after_ms, u64::MAX);
        let mut nothing = Counter(Quota { limit: 0, period_ms: 1000, burst: 0 }, None);
        assert!(!nothing.take(1, 0).allowed);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut counter = Counter(Quota { limit: u32::MAX, period_ms: u64::MAX, burst: 1 }, None);
        assert!(counter.take(u32::MAX, u64::MAX / MS).allowed);
        assert!(!counter.take(u32::MAX, u64::MAX / MS).allowed);
    }
}
