//! How much may be sent again: a share of the traffic, so that retries cannot add up to a storm when everything
//! fails. Each request puts a fraction of a retry in, each retry takes a whole one out.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Retries are counted in thousandths.
const ONE: u64 = 1000;
/// What quiet times leave over for a burst, in retries.
const MOST: u64 = 10;

/// One worker's share of an upstream's budget.
pub(crate) struct Budget {
    /// Put in for each request.
    share: u64,
    /// Put in as time goes on, so that an upstream with little traffic has retries too: for each second.
    floor: u64,
    left: Cell<u64>,
    since: Cell<Option<Instant>>,
}

impl Budget {
    /// `percent` of the requests, and `per_second` retries whatever the traffic.
    pub(crate) fn new(percent: u8, per_second: u32) -> Self {
        let floor = u64::from(per_second) * ONE;
        Self { share: u64::from(percent) * ONE / 100, floor, left: Cell::new(floor), since: Cell::new(None) }
    }

    /// A request came.
    pub(crate) fn deposit(&self) {
        self.put(self.share);
    }

    /// Whether a request may be sent again.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        if let Some(since) = self.since.replace(Some(now)) {
            let passed = now.saturating_duration_since(since).min(Duration::from_secs(10)).as_millis() as u64;
            self.put(self.floor * passed / 1000);
        }
        let left = self.left.get();
        let enough = left >= ONE;
        if enough {
            self.left.set(left - ONE);
        }
        enough
    }

    fn put(&self, amount: u64) {
        self.left.set((self.left.get() + amount).min(MOST * ONE + self.floor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again_and_no_more() {
        let budget = Budget::new(20, 0);
        let now = Instant::now();
        let mut retries = 0;
        for _ in 0..1000 {
            budget.deposit();
            // Everything fails, and would be sent again for ever.
            while budget.withdraw(now) {
                retries += 1;
            }
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn quiet_times_are_not_saved_up_for_a_storm() {
        let budget = Budget::new(20, 0);
        (0..100_000).for_each(|_| budget.deposit());
        let now = Instant::now();
        assert_eq!((0..1000).filter(|_| budget.withdraw(now)).count(), 10);
    }

    #[test]
    fn some_retries_a_second_are_there_whatever_the_traffic() {
        let budget = Budget::new(0, 3);
        let start = Instant::now();
        let count = |at: Instant| (0..100).filter(|_| budget.withdraw(at)).count();
        assert_eq!(count(start), 3);
        assert_eq!(count(start), 0);
        assert_eq!(count(start + Duration::from_secs(1)), 3);
        assert_eq!(count(start + Duration::from_secs(3600)), 13);
    }
}
