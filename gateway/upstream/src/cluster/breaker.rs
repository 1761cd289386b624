//! The circuit breaker of one upstream, for all workers: closed while things go well; open, when too many
//! requests failed, so that requests fail immediately and the upstream can recover; half-open, when a few are
//! let through to see. Points in time are in microseconds (`monotonic_clock`).

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

use gateway_core::model::CircuitBreaker;

use super::window::Window;
use crate::monotonic_clock::span;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: AtomicU8,
    /// When an open circuit becomes half-open.
    open_until: AtomicU64,
    window: Window,
    /// Requests let through while half-open: under way, and ended well.
    probes: AtomicU32,
    successes: AtomicU32,
}

/// What came of asking to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Closed.
    Through,
    /// To see how it goes; the end of it must be told.
    Probe,
    /// Not for so many microseconds.
    Refused(u64),
}

/// What an ended request changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
}

impl Breaker {
    pub(crate) fn admit(&self, policy: &CircuitBreaker, now: u64) -> Admission {
        match self.state.load(SeqCst) {
            CLOSED => Admission::Through,
            OPEN => {
                let until = self.open_until.load(SeqCst);
                if now < until {
                    return Admission::Refused(until - now);
                }
                if self.state.compare_exchange(OPEN, HALF_OPEN, SeqCst, SeqCst).is_ok() {
                    self.successes.store(0, SeqCst);
                }
                self.probe(policy)
            }
            _ => self.probe(policy),
        }
    }

    fn probe(&self, policy: &CircuitBreaker) -> Admission {
        let one_more = |probes: u32| (probes < policy.half_open_requests).then_some(probes + 1);
        match self.probes.fetch_update(SeqCst, SeqCst, one_more) {
            Ok(_) => Admission::Probe,
            // They will not take longer than it was closed for before.
            Err(_) => Admission::Refused(span(policy.open_duration)),
        }
    }

    /// A request that was let through has ended; `failed` is unknown where it was broken off.
    pub(crate) fn ended(&self, policy: &CircuitBreaker, probe: bool, failed: Option<bool>, now: u64) -> Option<Change> {
        if probe {
            self.probes.fetch_sub(1, SeqCst);
        }
        let failed = failed?;
        match self.state.load(SeqCst) {
            CLOSED => {
                let length = span(policy.window);
                self.window.record(now, length, failed);
                if !failed {
                    return None;
                }
                let counts = self.window.counts(now, length);
                let enough = counts.total >= u64::from(policy.minimum_requests);
                let over = enough && policy.failure_rate.is_reached(counts.failed, counts.total);
                (over && self.open(policy, CLOSED, now)).then_some(Change::Opened)
            }
            // Who was let through before it opened says nothing new.
            HALF_OPEN if probe && failed => self.open(policy, HALF_OPEN, now).then_some(Change::Opened),
            HALF_OPEN if probe => {
                let enough = self.successes.fetch_add(1, SeqCst) + 1 >= policy.half_open_requests;
                let closes = enough && self.state.compare_exchange(HALF_OPEN, CLOSED, SeqCst, SeqCst).is_ok();
                closes.then_some(Change::Closed)
            }
            _ => None,
        }
    }

    fn open(&self, policy: &CircuitBreaker, from: u8, now: u64) -> bool {
        // Before the state, so that no reader sees it open with a time in the past.
        self.open_until.store(now + span(policy.open_duration), SeqCst);
        self.window.clear();
        self.state.compare_exchange(from, OPEN, SeqCst, SeqCst).is_ok()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.load(SeqCst) != CLOSED
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use gateway_core::model::Percent;

    const SECOND: u64 = 1_000_000;

    fn policy() -> CircuitBreaker {
        CircuitBreaker {
            failure_rate: Percent(50),
            minimum_requests: 10,
            window: Duration::from_secs(10),
            open_duration: Duration::from_secs(5),
            half_open_requests: 2,
        }
    }

    fn after(breaker: &Breaker, failures: usize, successes: usize, now: u64) -> Option<Change> {
        let outcomes = std::iter::repeat_n(false, successes).chain(std::iter::repeat_n(true, failures));
        outcomes.filter_map(|failed| breaker.ended(&policy(), false, Some(failed), now)).last()
    }

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        assert_eq!(after(&breaker, 10, 0, 1), Some(Change::Opened));
        breaker
    }

    #[test]
    fn it_opens_at_the_share_and_not_before_the_least_number_of_requests() {
        let breaker = Breaker::default();
        assert_eq!(after(&breaker, 9, 0, 1), None);
        assert_eq!(breaker.admit(&policy(), 1), Admission::Through);
        assert_eq!(after(&breaker, 1, 0, 1), Some(Change::Opened));
        assert_eq!(breaker.admit(&policy(), SECOND), Admission::Refused(4 * SECOND + 1));
        let breaker = Breaker::default();
        assert_eq!(after(&breaker, 20, 21, 1), None);
        assert_eq!(after(&breaker, 1, 0, 1), Some(Change::Opened));
    }

    #[test]
    fn failures_of_long_ago_do_not_open_it() {
        let breaker = Breaker::default();
        assert_eq!(after(&breaker, 9, 0, 1), None);
        assert_eq!(after(&breaker, 9, 0, 11 * SECOND), None);
        assert!(!breaker.is_open());
    }

    #[test]
    fn half_open_it_lets_a_few_through_and_closes_when_they_end_well() {
        let breaker = opened();
        let now = 6 * SECOND;
        let admitted = [(); 3].map(|()| breaker.admit(&policy(), now));
        assert_eq!(admitted, [Admission::Probe, Admission::Probe, Admission::Refused(5 * SECOND)]);
        assert_eq!(breaker.ended(&policy(), true, Some(false), now), None);
        assert_eq!(breaker.admit(&policy(), now), Admission::Probe);
        assert_eq!(breaker.ended(&policy(), true, Some(false), now), Some(Change::Closed));
        assert_eq!(breaker.admit(&policy(), now), Admission::Through);
    }

    #[test]
    fn one_failure_while_half_open_opens_it_again() {
        let breaker = opened();
        let now = 6 * SECOND;
        assert_eq!(breaker.admit(&policy(), now), Admission::Probe);
        assert_eq!(breaker.ended(&policy(), true, Some(true), now), Some(Change::Opened));
        assert_eq!(breaker.admit(&policy(), now), Admission::Refused(5 * SECOND));
        assert_eq!(breaker.admit(&policy(), 11 * SECOND), Admission::Probe);
    }

    #[test]
    fn a_probe_that_is_broken_off_makes_room_for_another() {
        let breaker = opened();
        let now = 6 * SECOND;
        for _ in 0..10 {
            assert_eq!(breaker.admit(&policy(), now), Admission::Probe);
            assert_eq!(breaker.ended(&policy(), true, None, now), None);
        }
    }

    #[test]
    fn requests_from_before_it_opened_change_nothing() {
        let breaker = opened();
        assert_eq!(after(&breaker, 0, 100, 2), None);
        assert_eq!(after(&breaker, 100, 0, 2), None);
        assert_eq!(breaker.admit(&policy(), 2), Admission::Refused(5 * SECOND - 1));
    }
}
