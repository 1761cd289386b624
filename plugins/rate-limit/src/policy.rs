//! One limit, and where a client stands with it.

use std::time::Duration;

use plugin_sdk::store::{Quota, Verdict};

use crate::span::Span;

/// A limit that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// In headers and in the store.
    pub(crate) name: String,
    pub(crate) quota: Quota,
}

/// What a client is told about one limit. Seconds are rounded up, as who waits so long must have waited enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Units left at once.
    pub(crate) remaining: u32,
    /// Until there is one unit more.
    pub(crate) next_s: u64,
    /// Until the whole burst is there again.
    pub(crate) reset_s: u64,
    /// Until the refused request would be allowed, at least 1; absent if it was not refused.
    pub(crate) retry_s: Option<u64>,
}

impl Policy {
    pub(crate) fn new(name: String, limit: u32, per: Span, burst: u32) -> Self {
        Self { name, quota: Quota { limit, period: per.0, burst } }
    }

    /// Where the store keeps the count of this limit for a client.
    pub(crate) fn key(&self, client: &str) -> String {
        format!("{}/{client}", self.name)
    }

    /// How long an empty burst takes to come back.
    pub(crate) fn recovery_nanos(&self) -> u128 {
        self.refill_nanos(self.quota.burst)
    }

    pub(crate) fn standing(&self, verdict: &Verdict) -> Standing {
        // `reset_after` is when the last of the missing units is back; all but the first of them come after
        // the next one. This is never too early: the store rounds up and the division down.
        let missing = self.quota.burst.saturating_sub(verdict.remaining);
        let later =
            Duration::from_nanos(u64::try_from(self.refill_nanos(missing.saturating_sub(1))).unwrap_or(u64::MAX));
        let mut next = verdict.reset_after.saturating_sub(later);
        if !verdict.allowed {
            // The two roundings must not make the next unit later than the moment to try again.
            next = next.min(verdict.retry_after);
        }
        Standing {
            remaining: verdict.remaining,
            next_s: whole_seconds(next),
            reset_s: whole_seconds(verdict.reset_after),
            retry_s: (!verdict.allowed).then(|| whole_seconds(verdict.retry_after).max(1)),
        }
    }

    /// How long `units` take to come back, rounded down.
    fn refill_nanos(&self, units: u32) -> u128 {
        u128::from(units) * self.quota.period.as_nanos() / u128::from(self.quota.limit.max(1))
    }
}

/// The standings of a request that was allowed, as text for an attribute.
pub(crate) fn write(standings: &[Standing]) -> String {
    let texts = standings.iter().map(|s| format!("{} {} {}", s.remaining, s.next_s, s.reset_s));
    texts.collect::<Vec<_>>().join(",")
}

/// Reads what [`write`] wrote for so many limits. Another plugin may have written there too.
pub(crate) fn read(text: &str, count: usize) -> Option<Vec<Standing>> {
    let standings = text.split(',').map(|part| {
        let mut numbers = part.split(' ');
        let standing = Standing {
            remaining: numbers.next()?.parse().ok()?,
            next_s: numbers.next()?.parse().ok()?,
            reset_s: numbers.next()?.parse().ok()?,
            retry_s: None,
        };
        numbers.next().is_none().then_some(standing)
    });
    standings.collect::<Option<Vec<_>>>().filter(|standings| standings.len() == count)
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
