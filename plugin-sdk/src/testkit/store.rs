//! The store, for one test in one thread.

use std::{collections::HashMap, time::Duration};

use crate::store::{Quota, StoreError, Verdict};

const MAX_KEY: usize = 1024;
const MAX_VALUE: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct Store {
    entries: HashMap<(String, String), Entry>,
    /// Theoretical arrival times of the cell rate algorithm, in nanoseconds since the epoch.
    arrivals: HashMap<(String, String), u128>,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Duration>,
}

fn address(bucket: &str, key: &str) -> Result<(String, String), StoreError> {
    if key.len() > MAX_KEY { Err(StoreError::TooLarge) } else { Ok((bucket.to_owned(), key.to_owned())) }
}

impl Store {
    fn live(&self, address: &(String, String), now: Duration) -> Option<&Entry> {
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
        if value.len() > MAX_VALUE {
            return Err(StoreError::TooLarge);
        }
        let expires = ttl_ms.map(|ttl| now + Duration::from_millis(ttl));
        self.entries.insert(address(bucket, key)?, Entry { value: value.to_vec(), expires });
        Ok(())
    }

    pub(crate) fn delete(&mut self, bucket: &str, key: &str) -> Result<(), StoreError> {
        self.entries.remove(&address(bucket, key)?);
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
            None => (0, ttl_ms.map(|ttl| now + Duration::from_millis(ttl))),
            Some(entry) => {
                let number = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse::<i64>().ok());
                (number.ok_or(StoreError::TooLarge)?, entry.expires)
            }
        };
        let sum = old.checked_add(by).ok_or(StoreError::TooLarge)?;
        self.entries.insert(address, Entry { value: sum.to_string().into_bytes(), expires });
        Ok(sum)
    }

    /// One step of the generic cell rate algorithm: a key's arrival time runs ahead of the clock by one
    /// interval for each unit taken, and by no more than the burst.
    pub(crate) fn take(
        &mut self,
        bucket: &str,
        key: &str,
        quota: &Quota,
        cost: u32,
        now: Duration,
    ) -> Result<Verdict, StoreError> {
        let address = address(bucket, key)?;
        let now = now.as_nanos();
        let interval = (quota.period.as_nanos() / u128::from(quota.limit.max(1))).max(1);
        let capacity = interval * u128::from(if quota.limit == 0 { 0 } else { quota.burst });
        let arrival = self.arrivals.get(&address).copied().unwrap_or(0).max(now);
        let after = arrival + interval * u128::from(cost);
        let allowed = after - now <= capacity;
        let ahead = if allowed { after } else { arrival } - now;
        if allowed {
            self.arrivals.insert(address, after);
        }
        Ok(Verdict {
            allowed,
            remaining: u32::try_from(capacity.saturating_sub(ahead) / interval).unwrap_or(u32::MAX),
            reset_after: millis_up(ahead),
            retry_after: if allowed { Duration::ZERO } else { millis_up(after - now - capacity) },
        })
    }
}

/// Whole milliseconds, rounded up, so that who waits so long has waited long enough.
fn millis_up(nanos: u128) -> Duration {
    Duration::from_millis(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
