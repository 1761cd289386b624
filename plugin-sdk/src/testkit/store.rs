//! The store, for one test in one thread: the gateway's rules, with a map for its memory.

use std::{collections::HashMap, time::Duration};

use gateway_rules::{
    lease::{self, Acquired, Holders, LeaseId},
    store::{self, add, check_key, check_value, number, step_key},
    take::{self, Count, Taken, take_all},
};

use crate::store::{Counting, Quota, Step, StoreError, SwapResult, Verdict, millis};

#[derive(Default)]
pub(crate) struct Store {
    entries: HashMap<Address, Entry>,
    counts: HashMap<(Address, Counting), Remembered>,
    holders: HashMap<Address, Holders>,
    /// The number of the last lease.
    leases: u128,
}

/// Bucket and key.
type Address = (String, String);

struct Entry {
    value: Vec<u8>,
    expires: Option<Duration>,
}

struct Remembered {
    count: Count,
    until: u64,
}

impl From<store::StoreError> for StoreError {
    fn from(_: store::StoreError) -> Self {
        Self::TooLarge
    }
}

impl From<take::Verdict> for Verdict {
    fn from(verdict: take::Verdict) -> Self {
        Self {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            reset_after: Duration::from_millis(verdict.reset_after_ms),
            retry_after: Duration::from_millis(verdict.retry_after_ms),
        }
    }
}

fn quota(quota: &Quota) -> gateway_rules::quota::Quota {
    gateway_rules::quota::Quota { limit: quota.limit, period_ms: millis(quota.period), burst: quota.burst }
}

fn address(bucket: &str, key: &str) -> Result<Address, StoreError> {
    check_key(bucket, key)?;
    Ok((bucket.to_owned(), key.to_owned()))
}

impl Store {
    fn live(&self, address: &Address, now: Duration) -> Option<&Entry> {
        self.entries.get(address).filter(|entry| entry.expires.is_none_or(|expires| now < expires))
    }

    pub(crate) fn get(&self, bucket: &str, key: &str, now: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.live(&address(bucket, key)?, now).map(|entry| entry.value.clone()))
    }

    pub(crate) fn set(
        &mut self,
        bucket: &str,
        key: &str,
        value: &[u8],
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<(), StoreError> {
        let address = address(bucket, key)?;
        check_value(value)?;
        self.entries.insert(address, Entry { value: value.to_vec(), expires: expiry(now, ttl_ms) });
        Ok(())
    }

    pub(crate) fn delete(&mut self, bucket: &str, key: &str) -> Result<(), StoreError> {
        let address = address(bucket, key)?;
        self.entries.remove(&address);
        self.counts.retain(|(of, _), _| *of != address);
        Ok(())
    }

    pub(crate) fn increment(
        &mut self,
        bucket: &str,
        key: &str,
        by: i64,
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<i64, StoreError> {
        let address = address(bucket, key)?;
        let (old, expires) = match self.live(&address, now) {
            None => (None, expiry(now, ttl_ms)),
            Some(entry) => (Some(number(&entry.value)?), entry.expires),
        };
        let sum = add(old, by)?;
        self.entries.insert(address, Entry { value: sum.to_string().into_bytes(), expires });
        Ok(sum)
    }

    pub(crate) fn compare_and_swap(
        &mut self,
        bucket: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<SwapResult, StoreError> {
        let address = address(bucket, key)?;
        [expected, value].into_iter().flatten().try_for_each(check_value)?;
        let current = self.live(&address, now).map(|entry| entry.value.clone());
        if current.as_deref() != expected {
            return Ok(SwapResult::Different(current));
        }
        match value {
            Some(value) => {
                self.entries.insert(address, Entry { value: value.to_vec(), expires: expiry(now, ttl_ms) });
            }
            None => drop(self.entries.remove(&address)),
        }
        Ok(SwapResult::Swapped)
    }

    pub(crate) fn set_ttl(
        &mut self,
        bucket: &str,
        key: &str,
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<bool, StoreError> {
        let address = address(bucket, key)?;
        if self.live(&address, now).is_none() {
            return Ok(false);
        }
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.expires = expiry(now, ttl_ms);
        }
        Ok(true)
    }

    /// Without a time to live the lease ends with its exchange.
    pub(crate) fn acquire(
        &mut self,
        bucket: &str,
        key: &str,
        limit: u32,
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<(LeaseId, Acquired), StoreError> {
        let address = address(bucket, key)?;
        lease::check_limit(limit)?;
        self.leases += 1;
        let id = LeaseId(self.leases);
        Ok((id, self.holders.entry(address).or_default().acquire(id, limit, ttl_ms, nanos(now))))
    }

    pub(crate) fn renew(
        &mut self,
        bucket: &str,
        key: &str,
        id: LeaseId,
        ttl_ms: Option<u64>,
        now: Duration,
    ) -> Result<bool, StoreError> {
        let address = address(bucket, key)?;
        let holders = self.holders.get_mut(&address);
        Ok(holders.is_some_and(|holders| holders.renew(id, ttl_ms, false, nanos(now))))
    }

    /// How many hold a key.
    pub(crate) fn present(&mut self, bucket: &str, key: &str, now: Duration) -> u32 {
        let holders = self.holders.get_mut(&(bucket.to_owned(), key.to_owned()));
        holders.map_or(0, |holders| holders.present(nanos(now)).0)
    }

    pub(crate) fn release(&mut self, bucket: &str, key: &str, id: LeaseId) -> Result<(), StoreError> {
        let address = address(bucket, key)?;
        if let Some(holders) = self.holders.get_mut(&address) {
            holders.release(id);
        }
        Ok(())
    }

    pub(crate) fn take(
        &mut self,
        bucket: &str,
        key: &str,
        of: &Quota,
        cost: u32,
        now: Duration,
    ) -> Result<Verdict, StoreError> {
        let counting = take::Counting::Steady;
        let step = take::Step { key: String::new(), quota: quota(of), counting, cost };
        let address = (address(bucket, key)?, Counting::Steady);
        let now = nanos(now);
        let taken = step.take(self.count(&address, now), now);
        self.remember(address, &taken, now);
        Ok(taken.verdict.into())
    }

    /// All of the steps, or none of them.
    pub(crate) fn take_all(
        &mut self,
        bucket: &str,
        group: &str,
        steps: &[Step],
        now: Duration,
    ) -> Result<Vec<Verdict>, StoreError> {
        if steps.len() > take::MAX_STEPS {
            return Err(StoreError::TooLarge);
        }
        let now = nanos(now);
        let addresses = steps.iter().map(|step| Ok((address(bucket, &step_key(group, &step.key))?, step.counting)));
        let addresses = addresses.collect::<Result<Vec<_>, StoreError>>()?;
        let step = |step: &Step| take::Step {
            key: step.key.clone(),
            quota: quota(&step.quota),
            counting: match step.counting {
                Counting::Steady => take::Counting::Steady,
                Counting::Sliding => take::Counting::Sliding,
            },
            cost: step.cost,
        };
        let steps: Vec<_> = steps.iter().map(step).collect();
        let taken = take_all(&steps, |step| self.count(&addresses[step], now), now);
        for (address, taken) in addresses.into_iter().zip(&taken) {
            self.remember(address, taken, now);
        }
        Ok(taken.into_iter().map(|taken| taken.verdict.into()).collect())
    }

    fn count(&self, address: &(Address, Counting), now: u64) -> Option<Count> {
        self.counts.get(address).filter(|remembered| now < remembered.until).map(|remembered| remembered.count)
    }

    fn remember(&mut self, address: (Address, Counting), taken: &Taken<Count>, now: u64) {
        if let Some((count, lasts)) = taken.remember {
            self.counts.insert(address, Remembered { count, until: now.saturating_add(lasts) });
        }
    }
}

fn expiry(now: Duration, ttl_ms: Option<u64>) -> Option<Duration> {
    ttl_ms.map(|ttl| now.saturating_add(Duration::from_millis(ttl)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
