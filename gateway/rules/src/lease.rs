//! Leases: a key of the store has several holders, each with a time to live of its own.

use std::{collections::BTreeMap, fmt};

pub use crate::store::MAX_HOLDERS;
use crate::store::StoreError;

/// The shortest time to live: renewals have to arrive within it, also while a machine is busy.
pub const MIN_TTL_MS: u64 = 1_000;

/// The longest time to live: for so long a holder that crashed counts.
pub const MAX_TTL_MS: u64 = 3_600_000;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The longest time for which an exchange waits for a key at once.
pub const MAX_WAIT_MS: u32 = 60_000;

/// How often an exchange may wait for keys in one phase.
pub const MAX_WAITS: u8 = 16;

/// What a holder takes in memory: its number, its time and its part of the map's nodes.
const HOLDER_BYTES: usize = 48;

/// A lease. Numbers are random, so that no two gateways use the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u128);

/// What `acquire` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// Whether the lease is held now.
    pub held: bool,
    /// The holders of the key after this step.
    pub holders: u32,
}

/// Which of those that wait for a key continue when it has room for another holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// In the order in which they began to wait, as many as there is room for.
    InTurn,
    /// All of them.
    All,
}

/// The holders of a key, with the times at which their leases end, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    ends: BTreeMap<LeaseId, u64>,
    /// No lease ends before.
    earliest: u64,
    latest: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The lease as plugins have it: with the scope in which it is held.
pub fn text(lease: LeaseId, is_local: bool) -> String {
    format!("{}{lease}", if is_local { 'l' } else { 's' })
}

/// Reads what [`text`] wrote: the lease, and whether it is held in the local scope.
pub fn parse(text: &str) -> Option<(LeaseId, bool)> {
    let is_local = match text.as_bytes().first()? {
        b'l' => true,
        b's' => false,
        _ => return None,
    };
    let digits = &text[1..];
    let is_canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    Some((LeaseId(u128::from_str_radix(digits, 16).ok().filter(|_| is_canonical)?), is_local))
}

/// The time to live that a lease gets.
pub fn ttl_ms(asked: u64) -> u64 {
    asked.clamp(MIN_TTL_MS, MAX_TTL_MS)
}

/// Checks how many may hold a key.
///
/// # Errors
///
/// More than [`MAX_HOLDERS`].
pub fn check_limit(limit: u32) -> Result<(), StoreError> {
    if limit > MAX_HOLDERS { Err(StoreError::TooManyHolders) } else { Ok(()) }
}

impl Holders {
    /// Adds a holder if there are fewer than `limit`. Without a time to live the lease stays until it is released.
    pub fn acquire(&mut self, lease: LeaseId, limit: u32, ttl_ms: Option<u64>, now: u64) -> Acquired {
        self.expire(now);
        let held = self.ends.len() < limit as usize;
        if held {
            self.put(lease, ttl_ms, now);
        }
        Acquired { held, holders: u32::try_from(self.ends.len()).unwrap_or(u32::MAX) }
    }

    /// Gives a lease its time to live anew, and says whether it is still held. With `insist`, one that has ended is held again,
    /// also over a limit.
    pub fn renew(&mut self, lease: LeaseId, ttl_ms: Option<u64>, insist: bool, now: u64) -> bool {
        self.expire(now);
        let end = self.ends.get(&lease).copied();
        // A lease without a time to live belongs to an exchange. Another call that renews it does not give it one.
        if insist || end.is_some_and(|end| end != u64::MAX) {
            self.put(lease, ttl_ms, now);
        }
        end.is_some()
    }

    /// Removes a holder.
    pub fn release(&mut self, lease: LeaseId) {
        if self.ends.remove(&lease) == Some(self.latest) {
            self.latest = self.ends.values().copied().max().unwrap_or_default();
        }
    }

    /// How many hold the key at present, and when the first of their leases may end; never before that.
    pub fn present(&mut self, now: u64) -> (u32, u64) {
        self.expire(now);
        (u32::try_from(self.ends.len()).unwrap_or(u32::MAX), self.earliest)
    }

    /// When the last lease ends; none if there is no holder.
    pub fn end(&self) -> Option<u64> {
        (!self.ends.is_empty()).then_some(self.latest)
    }

    /// The bytes that the holders take.
    pub fn bytes(&self) -> usize {
        self.ends.len() * HOLDER_BYTES
    }

    fn put(&mut self, lease: LeaseId, ttl: Option<u64>, now: u64) {
        let end = ttl.map_or(u64::MAX, |ttl| now.saturating_add(ttl_ms(ttl).saturating_mul(NANOS_PER_MILLI)));
        self.earliest = if self.ends.is_empty() { end } else { self.earliest.min(end) };
        self.latest = self.latest.max(end);
        self.ends.insert(lease, end);
    }

    /// Removes the leases that have ended. All of them are looked at only when one may have, since a request over the limit
    /// must not cost more with each holder.
    fn expire(&mut self, now: u64) {
        if self.ends.is_empty() || now < self.earliest {
            return;
        }
        self.ends.retain(|_, end| *end > now);
        self.earliest = self.ends.values().copied().min().unwrap_or_default();
        self.latest = self.ends.values().copied().max().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn each_holder_has_a_time_of_its_own() {
        let mut holders = Holders::default();
        let acquired = |held, count| Acquired { held, holders: count };
        assert_eq!(holders.acquire(LeaseId(1), 2, Some(1_000), 0), acquired(true, 1));
        assert_eq!(holders.acquire(LeaseId(2), 2, Some(3_000), 0), acquired(true, 2));
        assert_eq!(holders.acquire(LeaseId(3), 2, Some(1_000), 0), acquired(false, 2));
        assert!(holders.renew(LeaseId(1), Some(2_000), false, SECOND - 1));
        assert_eq!(holders.acquire(LeaseId(3), 2, Some(1_000), SECOND), acquired(false, 2), "it was renewed");
        assert_eq!(
            holders.acquire(LeaseId(3), 2, Some(1_000), 3 * SECOND - 1),
            acquired(true, 2),
            "the first has ended"
        );
        assert_eq!(holders.end(), Some(4 * SECOND - 1));
        holders.release(LeaseId(3));
        assert_eq!(holders.acquire(LeaseId(4), 1, Some(1_000), 3 * SECOND), acquired(true, 1), "all have ended");
    }

    #[test]
    fn a_lease_that_has_ended_is_held_again_only_if_its_exchange_is_alive() {
        let mut holders = Holders::default();
        holders.acquire(LeaseId(1), 1, Some(1_000), 0);
        assert!(!holders.renew(LeaseId(1), Some(1_000), false, SECOND));
        assert!(holders.acquire(LeaseId(2), 1, Some(1_000), SECOND).held);
        assert!(!holders.renew(LeaseId(1), Some(1_000), true, SECOND));
        assert_eq!(holders.acquire(LeaseId(3), 3, Some(1_000), SECOND).holders, 3);
    }

    #[test]
    fn a_lease_of_an_exchange_stays_without_a_time_and_leaves_none_behind() {
        let mut holders = Holders::default();
        holders.acquire(LeaseId(1), 2, None, 0);
        holders.acquire(LeaseId(2), 2, Some(2_000), 0);
        assert!(holders.renew(LeaseId(1), Some(1_000), false, 0));
        assert_eq!(holders.acquire(LeaseId(3), 1, None, SECOND).holders, 2, "it has no time to live");
        holders.release(LeaseId(1));
        assert_eq!(holders.end(), Some(2 * SECOND), "that of the one that is left");
    }

    #[test]
    fn a_lease_has_one_spelling() {
        let lease = LeaseId(0xabc);
        assert_eq!(parse(&text(lease, true)), Some((lease, true)));
        assert_eq!(parse(&text(lease, false)), Some((lease, false)));
        let digits = "0".repeat(29);
        for other in ["", "s", &format!("s{digits}ABC"), &format!("x{digits}abc"), &format!("s+{digits}bc"), "é"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
