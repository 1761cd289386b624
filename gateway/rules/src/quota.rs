//! One step of the generic cell rate algorithm, in whole numbers.
//!
//! The algorithm (ITU-T I.371, "virtual scheduling") remembers when the next cell would be due if all came
//! evenly. Equivalent, and exact without fractions, is the leaky bucket that is kept here: a *level* that
//! each unit raises and that drains evenly, `limit` units each period.
//!
//! The level is counted in units times nanoseconds of the period, so that nothing is ever rounded:
//!
//! - a unit raises it by `period`, in nanoseconds;
//! - a nanosecond drains it by `limit`;
//! - it is full at `burst × period`.
//!
//! A step is allowed if the level after it would not be over full; one that is not allowed changes nothing.
//! The largest product, `u32::MAX` times a year, is far inside 128 bits.
//!
//! The state in Redis does the same in `gateway/state/src/redis/take.lua`, in microseconds: it decides what is taken and what is
//! stored. Verdicts are always made here. A randomised test compares the two.

use crate::verdict::{Taken, Verdict};

/// `limit` units each `period_ms`, and up to `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// 0 allows nothing.
    pub limit: u32,
    /// At least 1 and at most [`Quota::MAX_PERIOD_MS`]: what is outside counts as the nearest of them.
    pub period_ms: u64,
    /// 0 allows nothing.
    pub burst: u32,
}

/// What is remembered between steps. An empty level is the same as no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    level: u128,
    /// The period that `level` is measured in, in nanoseconds.
    period: u64,
    /// When `level` was true, in nanoseconds of the store's clock.
    at: u64,
    /// When it is empty under the quota that it was taken from. From then on there is no memory of it, even if the quota has
    /// changed since: what is stored may be deleted then.
    until: u64,
}

pub(crate) const NANOS_PER_MILLI: u64 = 1_000_000;
pub(crate) const NANOS_PER_MICRO: u64 = 1_000;

impl Quota {
    /// The longest period: a year. Products of it with units stay within what a double holds exactly in the script for Redis.
    pub const MAX_PERIOD_MS: u64 = 366 * 24 * 3600 * 1000;

    /// The period that counts, in microseconds.
    #[inline]
    pub fn period_micros(self) -> u64 {
        self.period() / NANOS_PER_MICRO
    }

    /// The period that counts, in nanoseconds.
    #[inline]
    pub(crate) fn period(self) -> u64 {
        self.period_ms.clamp(1, Self::MAX_PERIOD_MS) * NANOS_PER_MILLI
    }

    /// Takes `cost` units at `now`, in nanoseconds. A cost of 0 only asks.
    #[inline]
    pub fn take(self, before: Option<Level>, cost: u32, now: u64) -> Taken<Level> {
        if self.limit == 0 || self.burst == 0 {
            return Taken { verdict: Verdict::NEVER, remember: None, refuses_for: 0 };
        }
        let period = self.period();
        let full = u128::from(self.burst) * u128::from(period);
        let rise = u128::from(cost) * u128::from(period);
        let level = before.map_or(0, |before| before.drained(self.limit, period, now));

        let allowed = level + rise <= full;
        let after = if allowed { level + rise } else { level };
        let verdict = Verdict {
            allowed,
            remaining: u32::try_from(full.saturating_sub(after) / u128::from(period)).unwrap_or(self.burst),
            reset_after_ms: self.millis_to_drain(after),
            retry_after_ms: match (allowed, cost > self.burst) {
                (true, _) => 0,
                (false, true) => u64::MAX,
                (false, false) => self.millis_to_drain(level + rise - full),
            },
        };
        let remember = (allowed && cost > 0).then(|| {
            // Whole microseconds, as Redis counts them.
            let micros = after.div_ceil(u128::from(self.limit) * u128::from(NANOS_PER_MICRO));
            let lasts = u64::try_from(micros).unwrap_or(u64::MAX).saturating_mul(NANOS_PER_MICRO);
            (Level { level: after, period, at: now, until: now.saturating_add(lasts) }, lasts)
        });
        let excess = if cost > self.burst { 0 } else { (after + rise).saturating_sub(full) };
        let refuses_for = u64::try_from(excess.div_ceil(u128::from(self.limit))).unwrap_or(u64::MAX);
        Taken { verdict, remember, refuses_for }
    }

    fn millis_to_drain(self, level: u128) -> u64 {
        let millis = level.div_ceil(u128::from(self.limit) * u128::from(NANOS_PER_MILLI));
        u64::try_from(millis).unwrap_or(u64::MAX)
    }
}

impl Level {
    /// The level of a quota at `now`, in nanoseconds: so many units, and a rest in units times microseconds of the period.
    pub fn of(quota: Quota, units: u64, rest: u64, now: u64) -> Self {
        let micros = u128::from(units) * u128::from(quota.period_micros()) + u128::from(rest);
        Self { level: micros * u128::from(NANOS_PER_MICRO), period: quota.period(), at: now, until: u64::MAX }
    }

    /// The level at `now`. A quota whose period has changed meets the units that were taken under the old one.
    fn drained(self, limit: u32, period: u64, now: u64) -> u128 {
        if now >= self.until {
            return 0;
        }
        let passed = u128::from(now.saturating_sub(self.at));
        let level = if period == self.period {
            self.level
        } else {
            self.level / u128::from(self.period) * u128::from(period) + self.rest_in(period)
        };
        level.saturating_sub(passed * u128::from(limit))
    }

    /// What is over whole units, of another period: in whole microseconds, as Redis counts it.
    fn rest_in(self, period: u64) -> u128 {
        let micros = |nanos: u64| u128::from(nanos / NANOS_PER_MICRO);
        let rest = self.level % u128::from(self.period) / u128::from(NANOS_PER_MICRO);
        rest * micros(period) / micros(self.period) * u128::from(NANOS_PER_MICRO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NANOS_PER_MILLI;

    /// Takes step by step, as the store does.
    struct Bucket {
        quota: Quota,
        level: Option<Level>,
    }

    impl Bucket {
        fn new(limit: u32, period_ms: u64, burst: u32) -> Self {
            Self { quota: Quota { limit, period_ms, burst }, level: None }
        }

        fn take(&mut self, cost: u32, now_ms: u64) -> Verdict {
            let taken = self.quota.take(self.level, cost, now_ms * MS);
            if let Some((level, _)) = taken.remember {
                self.level = Some(level);
            }
            taken.verdict
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_each_interval() {
        let mut bucket = Bucket::new(10, 1_000, 3);
        for left in [2, 1, 0] {
            let verdict = bucket.take(1, 0);
            assert!(verdict.allowed);
            assert_eq!(verdict.remaining, left);
        }
        let refused = bucket.take(1, 0);
        let expected = Verdict { allowed: false, remaining: 0, reset_after_ms: 300, retry_after_ms: 100 };
        assert_eq!(refused, expected);
        assert!(!bucket.take(1, 99).allowed);
        assert!(bucket.take(1, 100).allowed);
        assert!(!bucket.take(1, 100).allowed);
    }

    #[test]
    fn thirds_of_a_second_lose_nothing() {
        let mut bucket = Bucket::new(3, 1_000, 3);
        assert_eq!(bucket.take(1, 0).remaining, 2);
        assert_eq!(bucket.take(1, 0).remaining, 1);
        assert_eq!(bucket.take(1, 0).remaining, 0);
        assert_eq!(bucket.take(0, 1_000).remaining, 3);
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut bucket = Bucket::new(7, 1_000, 1);
        let mut now = 0;
        for _ in 0..100 {
            assert!(bucket.take(1, now).allowed);
            now += bucket.take(1, now).retry_after_ms;
        }
        // A seventh of a second, rounded up to a millisecond, each time.
        assert_eq!(now, 100 * 143);
    }

    #[test]
    fn a_refused_step_takes_nothing() {
        let mut bucket = Bucket::new(1, 1_000, 5);
        assert!(bucket.take(4, 0).allowed);
        assert!(!bucket.take(2, 0).allowed);
        assert!(bucket.take(1, 0).allowed);
    }

    #[test]
    fn more_than_the_burst_is_never_allowed_and_leaves_no_trace() {
        let mut bucket = Bucket::new(1, 1_000, 5);
        let verdict = bucket.take(6, 0);
        let expected = Verdict { allowed: false, remaining: 5, reset_after_ms: 0, retry_after_ms: u64::MAX };
        assert_eq!(verdict, expected);
        assert_eq!(bucket.level, None);
    }

    #[test]
    fn a_limit_or_burst_of_zero_allows_nothing() {
        for (limit, burst) in [(0, 5), (5, 0), (0, 0)] {
            let verdict = Bucket::new(limit, 1_000, burst).take(1, 0);
            assert!(!verdict.allowed);
            assert_eq!((verdict.remaining, verdict.retry_after_ms), (0, u64::MAX));
        }
    }

    #[test]
    fn a_cost_of_zero_only_asks() {
        let mut bucket = Bucket::new(1, 1_000, 2);
        assert_eq!(bucket.take(0, 0), Verdict { allowed: true, remaining: 2, reset_after_ms: 0, retry_after_ms: 0 });
        assert_eq!(bucket.level, None);
        bucket.take(2, 0);
        assert_eq!(bucket.take(0, 0).remaining, 0);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut bucket = Bucket::new(u32::MAX, u64::MAX, u32::MAX);
        assert!(bucket.take(u32::MAX, 0).allowed);
        assert!(!bucket.take(u32::MAX, 1).allowed);
        let mut slow = Bucket::new(1, u64::MAX, u32::MAX);
        assert!(slow.take(u32::MAX, 0).allowed);
        // What is longer than a year counts as a year.
        assert_eq!(slow.take(0, 3 * Quota::MAX_PERIOD_MS).remaining, 3);
        assert_eq!(slow.take(1, u64::MAX / MS).remaining, 582);
        slow.quota.period_ms = 1;
        assert!(slow.take(1, u64::MAX / MS).allowed);
    }

    #[test]
    fn a_period_of_zero_is_a_millisecond() {
        let mut bucket = Bucket::new(1, 0, 1);
        assert!(bucket.take(1, 0).allowed);
        assert_eq!(bucket.take(1, 0).retry_after_ms, 1);
    }

    #[test]
    fn units_taken_outlive_a_change_of_the_quota() {
        let mut bucket = Bucket::new(10, 1_000, 10);
        bucket.take(6, 0);
        bucket.quota = Quota { limit: 10, period_ms: 60_000, burst: 10 };
        assert_eq!(bucket.take(0, 0).remaining, 4);
        bucket.quota = Quota { limit: 10, period_ms: 60_000, burst: 3 };
        assert_eq!(bucket.take(1, 0).remaining, 0);
    }

    #[test]
    fn memory_lasts_until_the_burst_is_whole_again() {
        let quota = Quota { limit: 10, period_ms: 1_000, burst: 10 };
        let (_, lasts) = quota.take(None, 5, 0).remember.expect("the step was allowed");
        assert_eq!(lasts, 500 * MS);
    }
}
