//! The store, for one test in one thread.

use std::{collections::HashMap, time::Duration};

use crate::store::{Counting, Quota, Step, StoreError, Verdict, millis};

const MAX_KEY: usize = 1024;
const MAX_VALUE: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct Store {
    entries: HashMap<(String, String), Entry>,
    levels: HashMap<(String, String), Level>,
    windows: HashMap<(String, String), Window>,
}

/// Sums of the present period and the one before.
#[derive(Clone, Copy, Default)]
struct Window {
    index: u128,
    current: u128,
    previous: u128,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Duration>,
}

/// What was taken of a quota and has not come back yet: nanoseconds of the period for each unit.
#[derive(Clone, Copy)]
struct Level {
    level: u128,
    at: u128,
}

fn address(bucket: &str, key: &str) -> Result<(String, String), StoreError> {
    if bucket.len() + key.len() > MAX_KEY { Err(StoreError::TooLarge) } else { Ok((bucket.to_owned(), key.to_owned())) }
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

    /// One step of the generic cell rate algorithm, as a bucket that each unit fills by one period and that
    /// drains `limit` times as fast as the clock runs: so nothing is rounded.
    pub(crate) fn take(
        &mut self,
        bucket: &str,
        key: &str,
        quota: &Quota,
        cost: u32,
        now: Duration,
    ) -> Result<Verdict, StoreError> {
        let address = address(bucket, key)?;
        let never = Duration::from_millis(u64::MAX);
        if quota.limit == 0 || quota.burst == 0 {
            return Ok(Verdict { allowed: false, remaining: 0, reset_after: never, retry_after: never });
        }
        let now = now.as_nanos();
        let period = u128::from(millis(quota.period).max(1)) * NANOS_PER_MILLI;
        let limit = u128::from(quota.limit);
        let full = u128::from(quota.burst) * period;
        let before = self.levels.get(&address).copied().unwrap_or(Level { level: 0, at: now });
        let level = before.level.saturating_sub(now.saturating_sub(before.at) * limit);
        let risen = level + u128::from(cost) * period;
        let allowed = risen <= full;
        let after = if allowed { risen } else { level };
        self.levels.insert(address, Level { level: after, at: now });
        Ok(Verdict {
            allowed,
            remaining: u32::try_from(full.saturating_sub(after) / period).unwrap_or(quota.burst),
            reset_after: drained(after, limit),
            retry_after: match (allowed, cost > quota.burst) {
                (true, _) => Duration::ZERO,
                (false, true) => never,
                (false, false) => drained(risen - full, limit),
            },
        })
    }

    /// All of the steps, or none of them.
    pub(crate) fn take_all(
        &mut self,
        bucket: &str,
        group: &str,
        steps: &[Step],
        now: Duration,
    ) -> Result<Vec<Verdict>, StoreError> {
        let (levels, windows) = (self.levels.clone(), self.windows.clone());
        let verdicts = self.each(bucket, group, steps, now, None)?;
        if verdicts.iter().all(|verdict| verdict.allowed) {
            return Ok(verdicts);
        }
        (self.levels, self.windows) = (levels, windows);
        let asked = self.each(bucket, group, steps, now, Some(0))?;
        let told = verdicts.into_iter().zip(asked);
        Ok(told.map(|(verdict, asked)| if verdict.allowed { asked } else { verdict }).collect())
    }

    fn each(
        &mut self,
        bucket: &str,
        group: &str,
        steps: &[Step],
        now: Duration,
        cost: Option<u32>,
    ) -> Result<Vec<Verdict>, StoreError> {
        let step = |step: &Step| {
            let (key, cost) = (format!("{group}\0{}", step.key), cost.unwrap_or(step.cost));
            match step.counting {
                Counting::Steady => self.take(bucket, &key, &step.quota, cost, now),
                Counting::Sliding => self.slide(bucket, &key, &step.quota, cost, now),
            }
        };
        steps.iter().map(step).collect()
    }

    fn slide(
        &mut self,
        bucket: &str,
        key: &str,
        quota: &Quota,
        cost: u32,
        now: Duration,
    ) -> Result<Verdict, StoreError> {
        let address = address(bucket, key)?;
        let period = u128::from(millis(quota.period).max(1)) * NANOS_PER_MILLI;
        let (index, rest) = (now.as_nanos() / period, period - now.as_nanos() % period);
        let (limit, cost) = (u128::from(quota.limit), u128::from(cost));
        let before = self.windows.get(&address).copied().unwrap_or_default();
        let (mut current, previous) = match index.saturating_sub(before.index) {
            0 => (before.current, before.previous),
            1 => (0, before.current),
            _ => (0, 0),
        };
        let used = previous * rest + current * period;
        let allowed = limit > 0 && used + cost * period <= limit * period;
        let retry = match limit.checked_sub(cost) {
            _ if allowed => 0,
            None => u128::MAX,
            Some(room) if current <= room => rest.saturating_sub((room - current) * period / previous.max(1)),
            Some(room) => rest + period.saturating_sub(room * period / current.max(1)),
        };
        if allowed {
            current += cost;
        }
        self.windows.insert(address, Window { index, current, previous });
        let reset = if current > 0 { rest + period } else { u128::from(previous > 0) * rest };
        let left = (limit * period).saturating_sub(previous * rest + current * period) / period;
        Ok(Verdict {
            allowed,
            remaining: u32::try_from(left).unwrap_or(quota.limit),
            reset_after: drained(reset, 1),
            retry_after: drained(retry, 1),
        })
    }
}

const NANOS_PER_MILLI: u128 = 1_000_000;

/// Until so much has drained: whole milliseconds, rounded up, so that who waits so long has waited long enough.
fn drained(level: u128, limit: u128) -> Duration {
    Duration::from_millis(u64::try_from(level.div_ceil(limit * NANOS_PER_MILLI)).unwrap_or(u64::MAX))
}
