//! State in granted buckets: in the process's memory, or in Redis.

use std::sync::Arc;

use gateway_rules::take::MAX_STEPS;
use gateway_state as state;
use gateway_state::{
    MemoryStore,
    redis::{Failure, Op, Redis, Reply},
};
use wasmtime::Result;

use crate::{
    bindings::store::{
        Acquisition, Addition, Counting, Entry, Expiry, Host, Operation, OperationResult, Quota, Scope, Step,
        StoreError, Swap, SwapResult, Verdict, Wake,
    },
    instance::state::State,
};

pub(super) type StoreResult<T> = std::result::Result<T, StoreError>;
pub(super) type HostResult<T> = Result<StoreResult<T>>;

/// Operations of one batch.
const OPERATIONS: usize = 64;

/// A key, who wants to hold it, and for how long.
pub(super) struct Acquire {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) limit: u32,
    pub(super) ttl_ms: u64,
    pub(super) scope: Scope,
}

/// A key, when it has room for another holder, and for how long an exchange waits for that.
pub(super) struct WaitForLease {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) limit: u32,
    pub(super) wait_ms: u32,
    pub(super) wake: Wake,
    pub(super) scope: Scope,
}

/// For buckets in the memory of the process.
impl Host for State {
    fn get(&mut self, bucket: String, key: String) -> HostResult<Option<Vec<u8>>> {
        self.in_memory(&bucket, |store, bucket| Ok(store.get(bucket, &key)?.map(Vec::from)))
    }

    fn set(&mut self, bucket: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> HostResult<()> {
        self.in_memory(&bucket, |store, bucket| store.set(bucket, &key, &value, ttl_ms))
    }

    fn delete(&mut self, bucket: String, key: String) -> HostResult<()> {
        self.in_memory(&bucket, |store, bucket| store.delete(bucket, &key))
    }

    fn increment(&mut self, bucket: String, key: String, by: i64, ttl_ms: Option<u64>) -> HostResult<i64> {
        self.in_memory(&bucket, |store, bucket| store.increment(bucket, &key, by, ttl_ms))
    }

    fn compare_and_swap(
        &mut self,
        bucket: String,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> HostResult<SwapResult> {
        self.in_memory(&bucket, |store, bucket| {
            let swap = store.compare_and_swap(bucket, &key, expected.as_deref(), value.as_deref(), ttl_ms)?;
            Ok(swap_result(swap))
        })
    }

    fn set_ttl(&mut self, bucket: String, key: String, ttl_ms: Option<u64>) -> HostResult<bool> {
        self.in_memory(&bucket, |store, bucket| store.set_ttl(bucket, &key, ttl_ms))
    }

    fn acquire(
        &mut self,
        bucket: String,
        key: String,
        limit: u32,
        ttl_ms: u64,
        scope: Scope,
    ) -> HostResult<Acquisition> {
        self.acquire_in_memory(Acquire { bucket, key, limit, ttl_ms, scope })
    }

    fn renew(&mut self, bucket: String, key: String, lease: String, ttl_ms: u64) -> HostResult<bool> {
        self.renew_in_memory(&bucket, &key, &lease, ttl_ms)
    }

    fn release(&mut self, bucket: String, key: String, lease: String) -> HostResult<()> {
        self.release_in_memory(&bucket, &key, &lease)
    }

    /// Wherever the bucket is: nothing is waited for before the call has returned.
    fn wait_for_lease(
        &mut self,
        bucket: String,
        key: String,
        limit: u32,
        wait_ms: u32,
        wake: Wake,
        scope: Scope,
    ) -> HostResult<bool> {
        self.let_wait_for_lease(WaitForLease { bucket, key, limit, wait_ms, wake, scope })
    }

    fn batch(&mut self, bucket: String, operations: Vec<Operation>) -> HostResult<Vec<StoreResult<OperationResult>>> {
        if operations.len() > OPERATIONS {
            return Ok(Err(StoreError::TooLarge));
        }
        let results = operations.into_iter().map(|operation| {
            let bucket = bucket.clone();
            Ok(match operation {
                Operation::Get(key) => self.get(bucket, key)?.map(OperationResult::Value),
                Operation::Set(Entry { key, value, ttl_ms }) => {
                    self.set(bucket, key, value, ttl_ms)?.map(|()| OperationResult::Done)
                }
                Operation::Delete(key) => self.delete(bucket, key)?.map(|()| OperationResult::Done),
                Operation::Increment(Addition { key, by, ttl_ms }) => {
                    self.increment(bucket, key, by, ttl_ms)?.map(OperationResult::Sum)
                }
                Operation::CompareAndSwap(Swap { key, expected, value, ttl_ms }) => {
                    self.compare_and_swap(bucket, key, expected, value, ttl_ms)?.map(OperationResult::Swap)
                }
                Operation::SetTtl(Expiry { key, ttl_ms }) => {
                    self.set_ttl(bucket, key, ttl_ms)?.map(OperationResult::Exists)
                }
            })
        });
        results.collect::<Result<_>>().map(Ok)
    }

    fn take(&mut self, bucket: String, key: String, quota: Quota, cost: u32) -> HostResult<Verdict> {
        self.in_memory(&bucket, |store, bucket| Ok(told(store.take(bucket, &key, counted(quota), cost)?)))
    }

    fn take_all(&mut self, bucket: String, group: String, steps: Vec<Step>, _: Scope) -> HostResult<Vec<Verdict>> {
        if steps.len() > MAX_STEPS {
            return Ok(Err(StoreError::TooLarge));
        }
        let steps: Vec<_> = steps.into_iter().map(step).collect();
        self.in_memory(&bucket, |store, bucket| {
            Ok(store.take_all(bucket, &group, &steps)?.into_iter().map(told).collect())
        })
    }
}

/// For buckets wherever they are.
impl State {
    pub(super) async fn store_get(&mut self, bucket: String, key: String) -> HostResult<Option<Vec<u8>>> {
        match self.remote(&bucket)? {
            Ok(None) => self.get(bucket, key),
            Ok(Some(redis)) => {
                request(&redis, redis.get(&bucket, &key), |reply| match reply {
                    Reply::Bytes(bytes) => Some(bytes.map(Vec::from)),
                    _ => None,
                })
                .await
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_set(
        &mut self,
        bucket: String,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> HostResult<()> {
        match self.remote(&bucket)? {
            Ok(None) => self.set(bucket, key, value, ttl_ms),
            Ok(Some(redis)) => request(&redis, redis.set(&bucket, &key, value, ttl_ms), done).await,
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_delete(&mut self, bucket: String, key: String) -> HostResult<()> {
        match self.remote(&bucket)? {
            Ok(None) => self.delete(bucket, key),
            Ok(Some(redis)) => request(&redis, redis.delete(&bucket, &key), done).await,
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_increment(
        &mut self,
        bucket: String,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> HostResult<i64> {
        match self.remote(&bucket)? {
            Ok(None) => self.increment(bucket, key, by, ttl_ms),
            Ok(Some(redis)) => {
                request(&redis, redis.increment(&bucket, &key, by, ttl_ms), |reply| match reply {
                    Reply::Number(sum) => Some(sum),
                    _ => None,
                })
                .await
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_compare_and_swap(&mut self, bucket: String, swap: Swap) -> HostResult<SwapResult> {
        let Swap { key, expected, value, ttl_ms } = swap;
        match self.remote(&bucket)? {
            Ok(None) => self.compare_and_swap(bucket, key, expected, value, ttl_ms),
            Ok(Some(redis)) => {
                let op = redis.compare_and_swap(&bucket, &key, expected, value, ttl_ms);
                request(&redis, op, |reply| match reply {
                    Reply::Swap(swap) => Some(swap_result(swap)),
                    _ => None,
                })
                .await
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_set_ttl(&mut self, bucket: String, key: String, ttl_ms: Option<u64>) -> HostResult<bool> {
        match self.remote(&bucket)? {
            Ok(None) => self.set_ttl(bucket, key, ttl_ms),
            Ok(Some(redis)) => {
                request(&redis, redis.set_ttl(&bucket, &key, ttl_ms), |reply| match reply {
                    Reply::Exists(exists) => Some(exists),
                    _ => None,
                })
                .await
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_batch(
        &mut self,
        bucket: String,
        operations: Vec<Operation>,
    ) -> HostResult<Vec<StoreResult<OperationResult>>> {
        let redis = match self.remote(&bucket)? {
            Ok(Some(redis)) if operations.len() <= OPERATIONS => redis,
            Ok(_) => return self.batch(bucket, operations),
            Err(error) => return Ok(Err(error)),
        };
        // All are sent before the first reply is waited for.
        let asked: Vec<_> = operations
            .into_iter()
            .map(|operation| {
                let op = match operation {
                    Operation::Get(key) => redis.get(&bucket, &key),
                    Operation::Set(Entry { key, value, ttl_ms }) => redis.set(&bucket, &key, value, ttl_ms),
                    Operation::Delete(key) => redis.delete(&bucket, &key),
                    Operation::Increment(Addition { key, by, ttl_ms }) => redis.increment(&bucket, &key, by, ttl_ms),
                    Operation::CompareAndSwap(Swap { key, expected, value, ttl_ms }) => {
                        redis.compare_and_swap(&bucket, &key, expected, value, ttl_ms)
                    }
                    Operation::SetTtl(Expiry { key, ttl_ms }) => redis.set_ttl(&bucket, &key, ttl_ms),
                };
                op.and_then(|op| redis.ask(op))
            })
            .collect();
        let mut results = Vec::with_capacity(asked.len());
        for asked in asked {
            let reply = match asked {
                Ok(asked) => asked.answer().await,
                Err(failure) => Err(failure),
            };
            results.push(understood(reply, |reply| match reply {
                Reply::Bytes(bytes) => Some(OperationResult::Value(bytes.map(Vec::from))),
                Reply::Done => Some(OperationResult::Done),
                Reply::Number(sum) => Some(OperationResult::Sum(sum)),
                Reply::Swap(swap) => Some(OperationResult::Swap(swap_result(swap))),
                Reply::Exists(exists) => Some(OperationResult::Exists(exists)),
                _ => None,
            }));
        }
        Ok(Ok(results))
    }

    pub(super) async fn store_take(
        &mut self,
        bucket: String,
        key: String,
        quota: Quota,
        cost: u32,
    ) -> HostResult<Verdict> {
        match self.remote(&bucket)? {
            Ok(None) => self.take(bucket, key, quota, cost),
            Ok(Some(redis)) => {
                let step = state::Step { key, quota: counted(quota), counting: state::Counting::Steady, cost };
                request(&redis, redis.take(&bucket, step), |reply| match reply {
                    Reply::Verdicts(verdicts) => verdicts.first().copied().map(told),
                    _ => None,
                })
                .await
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn store_take_all(
        &mut self,
        bucket: String,
        group: String,
        steps: Vec<Step>,
        scope: Scope,
    ) -> HostResult<Vec<Verdict>> {
        match self.remote(&bucket)? {
            Ok(Some(redis)) if scope == Scope::Shared && steps.len() <= MAX_STEPS => {
                let steps = steps.into_iter().map(step).collect();
                request(&redis, redis.take_all(&bucket, &group, steps), |reply| match reply {
                    Reply::Verdicts(verdicts) => Some(verdicts.into_iter().map(told).collect()),
                    _ => None,
                })
                .await
            }
            Ok(_) => self.take_all(bucket, group, steps, scope),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Whether the bucket is granted.
    pub(super) fn check_bucket(&self, bucket: &str) -> StoreResult<()> {
        match self.identity.grants.store.allows(bucket) {
            true => Ok(()),
            false => Err(StoreError::Denied(bucket.to_owned())),
        }
    }

    /// Where a granted bucket is, if it is not in the memory of the process.
    pub(super) fn remote(&self, bucket: &str) -> HostResult<Option<Arc<Redis>>> {
        if let Err(error) = self.check_bucket(bucket) {
            return Ok(Err(error));
        }
        let remote = self.services()?.shared.remote.clone();
        if remote.is_some() && !self.is_configured {
            return Ok(Err(StoreError::Unavailable("Redis is not asked while a plugin is configured".to_owned())));
        }
        Ok(Ok(remote))
    }

    pub(super) fn in_memory<T>(
        &self,
        bucket: &str,
        operation: impl FnOnce(&MemoryStore, state::Bucket<'_>) -> std::result::Result<T, state::StoreError>,
    ) -> HostResult<T> {
        if let Err(error) = self.check_bucket(bucket) {
            return Ok(Err(error));
        }
        let bucket = state::Bucket { name: bucket, route: self.route().unwrap_or_default() };
        // All of its errors are of this kind to a plugin.
        Ok(operation(&self.services()?.shared.store, bucket).map_err(|_| StoreError::TooLarge))
    }
}

/// Sends a request to Redis and waits for the reply. A call that is cancelled meanwhile does not undo the request.
pub(super) async fn request<T>(
    redis: &Redis,
    op: std::result::Result<Op, Failure>,
    read: impl FnOnce(Reply) -> Option<T>,
) -> HostResult<T> {
    let reply = match op.and_then(|op| redis.ask(op)) {
        Ok(asked) => asked.answer().await,
        Err(failure) => Err(failure),
    };
    Ok(understood(reply, read))
}

pub(super) fn understood<T>(
    reply: std::result::Result<Reply, Failure>,
    read: impl FnOnce(Reply) -> Option<T>,
) -> StoreResult<T> {
    let strange = || StoreError::Unavailable("another reply than expected".to_owned());
    reply.map_err(refused).and_then(|reply| read(reply).ok_or_else(strange))
}

fn done(reply: Reply) -> Option<()> {
    (reply == Reply::Done).then_some(())
}

fn swap_result(swap: state::Swap) -> SwapResult {
    match swap {
        state::Swap::Swapped => SwapResult::Swapped,
        state::Swap::Different(current) => SwapResult::Different(current.map(Vec::from)),
    }
}

fn counted(quota: Quota) -> state::Quota {
    state::Quota { limit: quota.limit, period_ms: quota.period_ms, burst: quota.burst }
}

fn step(step: Step) -> state::Step {
    let counting = match step.counting {
        Counting::Steady => state::Counting::Steady,
        Counting::Sliding => state::Counting::Sliding,
    };
    state::Step { key: step.key, quota: counted(step.quota), counting, cost: step.cost }
}

fn told(verdict: state::Verdict) -> Verdict {
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        reset_after_ms: verdict.reset_after_ms,
        retry_after_ms: verdict.retry_after_ms,
    }
}

pub(super) fn refused(failure: Failure) -> StoreError {
    match failure {
        Failure::TooLarge => StoreError::TooLarge,
        Failure::Unavailable(why) => StoreError::Unavailable(why),
    }
}
