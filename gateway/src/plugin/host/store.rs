//! State in granted buckets.

use std::time::Duration;

use wasmtime::Result;

use crate::plugin::{
    bindings::store::{Host, Quota, StoreError, Verdict},
    services::{self, Store},
    state::State,
};

const KEY_BYTES: usize = 1024;
const VALUE_BYTES: usize = 1024 * 1024;
/// A bucket that is granted as one of all still needs a sensible name.
const BUCKET_BYTES: usize = 128;

type Answer<T> = Result<std::result::Result<T, StoreError>>;

impl Host for State {
    fn get(&mut self, bucket: String, key: String) -> Answer<Option<Vec<u8>>> {
        with_store(self, bucket, &key, 0, |store, bucket| store.get(bucket, &key).map(|value| value.map(Into::into)))
    }

    fn set(&mut self, bucket: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<()> {
        let bytes = value.len();
        with_store(self, bucket, &key, bytes, |store, bucket| store.set(bucket, &key, value.into(), ttl(ttl_ms)))
    }

    fn delete(&mut self, bucket: String, key: String) -> Answer<()> {
        with_store(self, bucket, &key, 0, |store, bucket| store.delete(bucket, &key))
    }

    fn increment(&mut self, bucket: String, key: String, by: i64, ttl_ms: Option<u64>) -> Answer<i64> {
        with_store(self, bucket, &key, 0, |store, bucket| store.increment(bucket, &key, by, ttl(ttl_ms)))
    }

    fn take(&mut self, bucket: String, key: String, quota: Quota, cost: u32) -> Answer<Verdict> {
        with_store(self, bucket, &key, 0, |store, bucket| {
            let verdict = match settled(&quota) {
                Some(verdict) => verdict,
                None => {
                    let period = Duration::from_millis(quota.period_ms);
                    let quota = services::Quota { limit: quota.limit, period, burst: quota.burst };
                    store.take(bucket, &key, quota, cost)?
                }
            };
            Ok(Verdict {
                allowed: verdict.allowed,
                remaining: verdict.remaining,
                reset_after_ms: millis(verdict.reset_after),
                retry_after_ms: millis(verdict.retry_after),
            })
        })
    }
}

fn with_store<T>(
    state: &State,
    bucket: String,
    key: &str,
    value_bytes: usize,
    ask: impl FnOnce(&dyn Store, &str) -> std::result::Result<T, services::StoreError>,
) -> Answer<T> {
    if bucket.len() > BUCKET_BYTES || !state.identity.grants.store.allows(&bucket) {
        return Ok(Err(StoreError::Denied(bucket)));
    }
    if key.len() > KEY_BYTES || value_bytes > VALUE_BYTES {
        return Ok(Err(StoreError::TooLarge));
    }
    Ok(ask(&*state.services()?.shared.store, &bucket).map_err(|error| match error {
        services::StoreError::TooLarge => StoreError::TooLarge,
        services::StoreError::Unavailable(reason) => StoreError::Unavailable(reason),
    }))
}

/// What needs no counting: a quota of nothing, and one without an end.
fn settled(quota: &Quota) -> Option<services::Verdict> {
    let period = Duration::from_millis(quota.period_ms);
    if quota.limit == 0 || quota.burst == 0 {
        return Some(services::Verdict { allowed: false, remaining: 0, reset_after: period, retry_after: period });
    }
    let free = services::Verdict {
        allowed: true,
        remaining: quota.burst,
        reset_after: Duration::ZERO,
        retry_after: Duration::ZERO,
    };
    period.is_zero().then_some(free)
}

fn ttl(ms: Option<u64>) -> Option<Duration> {
    ms.map(Duration::from_millis)
}

/// Rounded up: who comes back after so long must not be too early.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
