//! Leases in the memory of the process.

use std::time::Duration;

use gateway_rules::{
    lease::{self, Acquired, Holders, LeaseId},
    store::StoreError,
};

use super::{
    clock::{Clock, nanos},
    memory::{Bucket, Key, Kind, MemoryStore, compose},
    shard::{Guard, Value},
};

/// A lease that no other has.
pub fn new_lease() -> LeaseId {
    LeaseId(fastrand::u128(..))
}

impl<C: Clock> MemoryStore<C> {
    /// Adds a holder of a key if there are fewer than `limit`. Without a time to live, the lease stays until it is released or
    /// evicted.
    ///
    /// # Errors
    ///
    /// The key is too large, the limit too high, or the store too small for that many holders.
    pub fn acquire<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        lease: LeaseId,
        limit: u32,
        ttl_ms: Option<u64>,
    ) -> Result<Acquired, StoreError> {
        lease::check_limit(limit)?;
        let mut acquired = Acquired { held: false, holders: 0 };
        let fits = self.holders(bucket.into(), key, |holders, now| {
            acquired = holders.acquire(lease, limit, ttl_ms, now);
            (!acquired.held, Some(lease).filter(|_| acquired.held))
        })?;
        if fits { Ok(acquired) } else { Err(StoreError::ValueTooLarge) }
    }

    /// Gives a lease its time to live anew, and says whether it is still held.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn renew_lease<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        lease: LeaseId,
        ttl_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        let mut is_held = false;
        self.holders(bucket.into(), key, |holders, now| {
            is_held = holders.renew(lease, ttl_ms, false, now);
            (false, None)
        })?;
        Ok(is_held)
    }

    /// The lease of an exchange stays held; if its entry was evicted, it is held again.
    ///
    /// # Errors
    ///
    /// The key is too large, or the store too small for that many holders.
    pub fn keep_lease<'a>(&self, bucket: impl Into<Bucket<'a>>, key: &str, lease: LeaseId) -> Result<(), StoreError> {
        let fits = self.holders(bucket.into(), key, |holders, now| {
            let is_new = !holders.renew(lease, None, true, now);
            (false, Some(lease).filter(|_| is_new))
        })?;
        if fits { Ok(()) } else { Err(StoreError::ValueTooLarge) }
    }

    /// Removes a holder of a key. It is no error if there is no such holder.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn release_lease<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        let bucket = bucket.into();
        self.holders(bucket, key, |holders, _| {
            holders.release(lease);
            (false, None)
        })?;
        // After the release, which a waiting exchange sees if it looks for room later than this.
        if !self.waiters.is_empty() {
            self.look_for_room(&compose(Kind::Lease, bucket.name, key)?);
        }
        Ok(())
    }

    /// The key of the holders, for `LeaseWait`.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn lease_key(&self, bucket: &str, key: &str) -> Result<Key, StoreError> {
        compose(Kind::Lease, bucket, key)
    }

    /// Wakes exchanges that wait for a key if it has room. Returns the time in which no lease of it ends unless it is released.
    pub(crate) fn look_for_room(&self, key: &[u8]) -> Duration {
        let mut present = (0, u64::MAX);
        let mut at = 0;
        // The entry stays its payer's.
        let _ = self.change_holders(0, key, |holders, now| {
            (present, at) = (holders.present(now), now);
            (present.0 > 0, None)
        });
        let (holders, earliest) = present;
        self.waiters.room(key, holders);
        Duration::from_nanos(earliest.saturating_sub(at))
    }

    /// Changes the holders of a key, at a time that is read under the lock. `change` says whether they refuse a request at
    /// present, and which holder is new: it is removed again if there is no room for it, and false is returned.
    fn holders(
        &self,
        bucket: Bucket<'_>,
        key: &str,
        change: impl FnOnce(&mut Holders, u64) -> (bool, Option<LeaseId>),
    ) -> Result<bool, StoreError> {
        self.change_holders(self.payer(bucket), &compose(Kind::Lease, bucket.name, key)?, change)
    }

    fn change_holders(
        &self,
        payer: u64,
        key: &[u8],
        change: impl FnOnce(&mut Holders, u64) -> (bool, Option<LeaseId>),
    ) -> Result<bool, StoreError> {
        let mut shard = self.shard(key);
        let now = nanos(&self.clock);
        let mut value = shard.take_holders(key, now).unwrap_or_default();
        let (refuses, new) = change(&mut value, now);
        let value = Value::Holders(value);
        let fits = shard.has_room_for(key, &value);
        let Value::Holders(mut value) = value else { return Ok(false) };
        if let Some(new) = new.filter(|_| !fits) {
            value.release(new);
        }
        let Some(end) = value.end() else {
            shard.remove(key);
            return Ok(fits);
        };
        // Those that hold a key at present limit it, so others are evicted before.
        let guard = if refuses { Guard::Refusing(end) } else { Guard::Exhausted(end) };
        if !shard.put(payer, key, Value::Holders(value), guard, end, now) {
            // The store has become smaller. What was taken out does not stay behind as something else.
            shard.remove(key);
        }
        Ok(fits)
    }
}

#[cfg(test)]
mod tests {
    use gateway_rules::lease::MAX_HOLDERS;

    use super::*;
    use crate::DEFAULT_BYTES;

    fn acquire(store: &MemoryStore, key: &str, limit: u32) -> (LeaseId, Acquired) {
        let lease = new_lease();
        (lease, store.acquire("b", key, lease, limit, Some(60_000)).unwrap())
    }

    #[test]
    fn no_more_hold_a_key_than_may_however_many_threads_ask() {
        let store = MemoryStore::default();
        let held: usize = std::thread::scope(|scope| {
            let ask = || (0..500).filter(|_| acquire(&store, "k", 1_000).1.held).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(held, 1_000);
    }

    #[test]
    fn what_is_released_is_free_and_nothing_stays_behind() {
        let store = MemoryStore::default();
        let (lease, acquired) = acquire(&store, "k", 1);
        assert!(acquired.held);
        assert_eq!(acquire(&store, "k", 1).1, Acquired { held: false, holders: 1 });
        store.delete("b", "k").unwrap();
        assert!(!acquire(&store, "k", 1).1.held, "leases are not deleted with the value");
        assert_eq!(store.get("b", "k"), Ok(None));
        assert_eq!(store.increment("b", "k", 1, None), Ok(1), "a value of the same key");
        store.delete("b", "k").unwrap();
        assert_eq!(store.renew_lease("b", "k", lease, Some(60_000)), Ok(true));
        store.release_lease("b", "k", lease).unwrap();
        assert_eq!(store.renew_lease("b", "k", lease, Some(60_000)), Ok(false));
        assert!(store.is_empty() && store.bytes() == 0);
        store.keep_lease("b", "k", lease).unwrap();
        assert!(!acquire(&store, "k", 1).1.held, "its exchange is alive");
    }

    #[test]
    fn holders_are_bounded_and_counted_as_memory() {
        let store = MemoryStore::new(16 * 4096);
        let leases: Vec<_> = (0..1_000)
            .map_while(|_| {
                let lease = new_lease();
                store.acquire("b", "k", lease, 10_000, Some(60_000)).is_ok().then_some(lease)
            })
            .collect();
        assert!((20..200).contains(&leases.len()), "{}", leases.len());
        assert!(store.bytes() <= 4096);
        let again = store.acquire("b", "k", new_lease(), 10_000, Some(60_000));
        assert_eq!(again, Err(StoreError::ValueTooLarge), "and those before still count");
        store.release_lease("b", "k", leases[0]).unwrap();
        assert!(store.acquire("b", "k", new_lease(), 10_000, Some(60_000)).is_ok());
        let store = MemoryStore::new(DEFAULT_BYTES);
        assert_eq!(store.acquire("b", "k", new_lease(), MAX_HOLDERS + 1, None), Err(StoreError::TooManyHolders));
    }

    #[test]
    fn what_is_held_stays_counted_whatever_comes_and_goes_meanwhile() {
        let store = MemoryStore::new(1 << 20);
        assert!(acquire(&store, "slow", 1).1.held);
        for n in 0..20_000 {
            store.set("b", &n.to_string(), &[0; 100], None).unwrap();
            let (lease, acquired) = acquire(&store, &n.to_string(), 1);
            assert!(acquired.held);
            store.release_lease("b", &n.to_string(), lease).unwrap();
        }
        assert!(!acquire(&store, "slow", 1).1.held);
    }
}
