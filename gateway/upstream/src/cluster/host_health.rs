//! How one endpoint fares, as far as the whole process knows: what active checks say of it, and whether it is
//! ejected for how requests fared. Workers read and write it without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use gateway_core::model::PassiveHealth;

use super::window::Window;
use crate::monotonic_clock::span;

/// Points in time are in microseconds (`monotonic_clock`).
#[derive(Debug, Default)]
pub(crate) struct HostHealth {
    /// Unhealthy by active checks.
    unhealthy: AtomicBool,
    /// 0 if it never was.
    ejected_until: AtomicU64,
    /// Ejections in short order.
    ejections: AtomicU32,
    failures_in_a_row: AtomicU32,
    window: Window,
    /// Connecting to it took long, and failed.
    unreachable: AtomicBool,
    /// An operator wants no requests to go there.
    drained: AtomicBool,
    /// One more than what an operator says instead of the configuration; 0 for nothing.
    weight: AtomicU32,
}

impl HostHealth {
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    /// Whether that is news.
    pub(crate) fn set_unhealthy(&self, unhealthy: bool) -> bool {
        self.unhealthy.swap(unhealthy, Relaxed) != unhealthy
    }

    /// When it may be used again, if it is ejected.
    pub(crate) fn ejected_until(&self, now: u64) -> Option<u64> {
        Some(self.ejected_until.load(Relaxed)).filter(|until| *until > now)
    }

    pub(crate) fn is_healthy(&self, now: u64) -> bool {
        !self.is_unhealthy() && !self.is_unreachable() && self.ejected_until(now).is_none()
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.unreachable.load(Relaxed)
    }

    /// Whether that is news.
    pub(crate) fn set_unreachable(&self, unreachable: bool) -> bool {
        self.unreachable.swap(unreachable, Relaxed) != unreachable
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    pub(crate) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
    }

    /// What an operator says that its weight is.
    pub(crate) fn weight(&self) -> Option<u32> {
        self.weight.load(Relaxed).checked_sub(1)
    }

    pub(crate) fn set_weight(&self, weight: Option<u32>) {
        self.weight.store(weight.map_or(0, |weight| weight.saturating_add(1)), Relaxed);
    }

    /// A request ended. Whether the endpoint is to be ejected for it.
    pub(crate) fn observe(&self, policy: &PassiveHealth, now: u64, failed: bool) -> bool {
        let in_a_row = if failed {
            self.failures_in_a_row.fetch_add(1, Relaxed).saturating_add(1)
        } else {
            // Nearly always it is 0 already, and a load disturbs no other worker.
            if self.failures_in_a_row.load(Relaxed) != 0 {
                self.failures_in_a_row.store(0, Relaxed);
            }
            0
        };
        let over_rate = policy.failure_rate.is_some_and(|rate| {
            let length = span(policy.window);
            self.window.record(now, length, failed);
            failed && {
                let counts = self.window.counts(now, length);
                counts.total >= u64::from(policy.minimum_requests) && rate.is_reached(counts.failed, counts.total)
            }
        });
        let over_row = policy.consecutive_failures > 0 && in_a_row >= policy.consecutive_failures;
        failed && (over_rate || over_row)
    }

    /// Ejects it for as long as it has deserved, and says how long that is. To be called by one at a time.
    pub(crate) fn eject(&self, policy: &PassiveHealth, now: u64) -> u64 {
        let (first, most) = (span(policy.ejection_time), span(policy.max_ejection_time));
        let last = self.ejected_until.load(Relaxed);
        // One that has served for as long as it could be ejected begins anew.
        let in_short_order = last != 0 && now < last.saturating_add(most);
        let times = if in_short_order { self.ejections.load(Relaxed).saturating_add(1) } else { 1 };
        let length = first.saturating_mul(1 << (times - 1).min(32)).min(most);
        self.ejections.store(times, Relaxed);
        self.ejected_until.store(now + length, Relaxed);
        self.failures_in_a_row.store(0, Relaxed);
        self.window.clear();
        length
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use gateway_core::model::Percent;

    const SECOND: u64 = 1_000_000;

    fn policy() -> PassiveHealth {
        PassiveHealth {
            consecutive_failures: 3,
            failure_rate: None,
            minimum_requests: 10,
            window: Duration::from_secs(10),
            ejection_time: Duration::from_secs(1),
            max_ejection_time: Duration::from_secs(5),
            max_ejected: Percent(50),
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let health = HostHealth::default();
        let verdicts = [true, true, false, true, true, true].map(|failed| health.observe(&policy(), 1, failed));
        assert_eq!(verdicts, [false, false, false, false, false, true]);
    }

    #[test]
    fn a_share_of_failures_ejects_from_the_least_number_of_requests_on() {
        let policy = PassiveHealth { consecutive_failures: 0, failure_rate: Some(Percent(50)), ..policy() };
        let health = HostHealth::default();
        let verdicts: Vec<bool> = (0..12).map(|i| health.observe(&policy, 1, i % 2 == 0)).collect();
        assert_eq!(verdicts.iter().position(|eject| *eject), Some(10));
    }

    #[test]
    fn each_ejection_in_short_order_is_twice_as_long_up_to_the_longest() {
        let health = HostHealth::default();
        let mut now = 1;
        for length in [1, 2, 4, 5, 5] {
            assert_eq!(health.eject(&policy(), now), length * SECOND);
            assert!(!health.is_healthy(now + length * SECOND - 1));
            now += length * SECOND;
            assert!(health.is_healthy(now));
        }
        assert_eq!(health.eject(&policy(), now + 5 * SECOND), SECOND, "it has served for a while");
    }

    #[test]
    fn only_a_change_is_news() {
        let health = HostHealth::default();
        assert_eq!([true, true, false].map(|unhealthy| health.set_unhealthy(unhealthy)), [true, false, true]);
        assert!(health.is_healthy(1));
    }
}
