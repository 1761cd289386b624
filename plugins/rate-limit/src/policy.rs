//! One limit, and where a client stands with it.

use std::{ops::Deref, time::Duration};

use plugin_sdk::{
    Span,
    store::{Counting, Quota, Step, Verdict},
};

/// A limit that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// In headers and in the store.
    pub(crate) name: String,
    pub(crate) quota: Quota,
    pub(crate) counting: Counting,
    /// As `RateLimit-Policy` says it.
    described: String,
}

/// The limits that hold for a request: at least one, the one that recovers soonest first.
pub(crate) struct Policies {
    list: Vec<Policy>,
    /// As `RateLimit-Policy` says them.
    pub(crate) described: String,
}

impl Policies {
    pub(crate) fn new(mut list: Vec<Policy>) -> Self {
        list.sort_by_key(Policy::recovery_nanos);
        let described: Vec<&str> = list.iter().map(|policy| policy.described.as_str()).collect();
        Self { described: described.join(", "), list }
    }
}

impl Deref for Policies {
    type Target = [Policy];

    fn deref(&self) -> &[Policy] {
        &self.list
    }
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
    pub(crate) fn new(name: String, limit: u32, per: Span, burst: u32, counting: Counting) -> Self {
        // A window is whole seconds or none: "sub-second precision is not supported".
        let seconds = per.0.as_secs();
        let whole = seconds > 0 && per.0.subsec_nanos() == 0;
        let window = if whole { format!(";w={seconds}") } else { String::new() };
        let described = format!("\"{name}\";q={limit}{window}");
        Self { name, quota: Quota { limit, period: per.0, burst }, counting, described }
    }

    /// A request's step of this limit, within the group of its client.
    pub(crate) fn step(&self, cost: u32) -> Step {
        Step { key: self.name.clone(), quota: self.quota, counting: self.counting, cost }
    }

    /// How long an empty burst takes to come back.
    fn recovery_nanos(&self) -> u128 {
        self.refill_nanos(self.quota.burst)
    }

    pub(crate) fn standing(&self, verdict: &Verdict) -> Standing {
        if self.counting == Counting::Sliding {
            let next = if verdict.allowed { verdict.reset_after } else { verdict.retry_after };
            return Self::told(verdict, next);
        }
        // `reset_after` is when the last of the missing units is back; all but the first of them come after
        // the next one. This is never too early: the store rounds up and the division down.
        let missing = self.quota.burst.saturating_sub(verdict.remaining);
        let later = u64::try_from(self.refill_nanos(missing.saturating_sub(1))).unwrap_or(u64::MAX);
        let mut next = verdict.reset_after.saturating_sub(Duration::from_nanos(later));
        if !verdict.allowed {
            // The two roundings must not make the next unit later than the moment to try again.
            next = next.min(verdict.retry_after);
        }
        Self::told(verdict, next)
    }

    fn told(verdict: &Verdict, next: Duration) -> Standing {
        Standing {
            remaining: verdict.remaining,
            next_s: whole_seconds(next),
            reset_s: whole_seconds(verdict.reset_after),
            retry_s: (!verdict.allowed).then(|| whole_seconds(verdict.retry_after).max(1)),
        }
    }

    /// How long `units` take to come back, rounded down.
    fn refill_nanos(&self, units: u32) -> u128 {
        let (period, limit) = (self.quota.period.as_nanos(), self.quota.limit.max(1));
        // Division of 128 bits is a long loop in WebAssembly, and nearly nothing needs them.
        match u64::try_from(period).ok().and_then(|period| period.checked_mul(u64::from(units))) {
            Some(product) => u128::from(product / u64::from(limit)),
            None => u128::from(units) * period / u128::from(limit),
        }
    }
}

/// The standings of a request that was allowed, as text for an attribute.
pub(crate) fn write(standings: &[Standing]) -> String {
    let mut text = String::with_capacity(32 * standings.len());
    for standing in standings {
        if !text.is_empty() {
            text.push(',');
        }
        let mut digits = itoa::Buffer::new();
        text.push_str(digits.format(standing.remaining));
        for seconds in [standing.next_s, standing.reset_s] {
            text.push(' ');
            text.push_str(digits.format(seconds));
        }
    }
    text
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
