//! State in granted buckets. Sizes are checked where it is kept.

use wasmtime::Result;

use crate::{
    plugin::{
        bindings::store::{Host, Quota, StoreError, Verdict},
        state::State,
    },
    state::{self, MemoryStore},
};

type Answer<T> = Result<std::result::Result<T, StoreError>>;

impl Host for State {
    fn get(&mut self, bucket: String, key: String) -> Answer<Option<Vec<u8>>> {
        self.ask(bucket, |store, bucket| Ok(store.get(bucket, &key)?.map(Vec::from)))
    }

    fn set(&mut self, bucket: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<()> {
        self.ask(bucket, |store, bucket| store.set(bucket, &key, &value, ttl_ms))
    }

    fn delete(&mut self, bucket: String, key: String) -> Answer<()> {
        self.ask(bucket, |store, bucket| store.delete(bucket, &key))
    }

    fn increment(&mut self, bucket: String, key: String, by: i64, ttl_ms: Option<u64>) -> Answer<i64> {
        self.ask(bucket, |store, bucket| store.increment(bucket, &key, by, ttl_ms))
    }

    fn take(&mut self, bucket: String, key: String, quota: Quota, cost: u32) -> Answer<Verdict> {
        let quota = state::Quota { limit: quota.limit, period_ms: quota.period_ms, burst: quota.burst };
        self.ask(bucket, |store, bucket| {
            let verdict = store.take(bucket, &key, quota, cost)?;
            Ok(Verdict {
                allowed: verdict.allowed,
                remaining: verdict.remaining,
                reset_after_ms: verdict.reset_after_ms,
                retry_after_ms: verdict.retry_after_ms,
            })
        })
    }
}

impl State {
    fn ask<T>(
        &self,
        bucket: String,
        question: impl FnOnce(&MemoryStore, &str) -> std::result::Result<T, state::StoreError>,
    ) -> Answer<T> {
        if !self.identity.grants.store.allows(&bucket) {
            return Ok(Err(StoreError::Denied(bucket)));
        }
        // All of its errors are of this kind to a plugin.
        Ok(question(&self.services()?.shared.store, &bucket).map_err(|_| StoreError::TooLarge))
    }
}
