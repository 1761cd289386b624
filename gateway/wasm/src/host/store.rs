//! State in granted buckets: in the process's memory, or in Redis, which is asked without waiting.

use gateway_rules::take::MAX_STEPS;
use gateway_state as state;
use gateway_state::{
    MemoryStore,
    redis::{Failure, Op, Redis, Reply},
};
use wasmtime::Result;

use crate::{
    bindings::store::{Counting, Host, Place, Quota, Step, StoreError, Verdict},
    identity::sha256,
    instance::state::State,
    pending_call::{self, CallResult, PendingCall},
    plugin_state::PluginState,
};

type StoreResult<T> = std::result::Result<T, StoreError>;
type HostResult<T> = Result<StoreResult<T>>;

impl Host for State {
    fn get(&mut self, bucket: String, key: String) -> HostResult<Option<Vec<u8>>> {
        match self.remote(&bucket)? {
            Ok(None) => self.ask(&bucket, |store, bucket| Ok(store.get(bucket, &key)?.map(Vec::from))),
            Ok(Some(redis)) => self.ask_remote(redis.get(&bucket, &key), |reply| match reply {
                Reply::Bytes(bytes) => Some(bytes.map(Vec::from)),
                _ => None,
            }),
            Err(error) => Ok(Err(error)),
        }
    }

    fn set(&mut self, bucket: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> HostResult<()> {
        self.has_effect();
        match self.remote(&bucket)? {
            Ok(None) => self.ask(&bucket, |store, bucket| store.set(bucket, &key, &value, ttl_ms)),
            Ok(Some(redis)) => self.ask_remote(redis.set(&bucket, &key, value, ttl_ms), done),
            Err(error) => Ok(Err(error)),
        }
    }

    fn delete(&mut self, bucket: String, key: String) -> HostResult<()> {
        self.has_effect();
        match self.remote(&bucket)? {
            Ok(None) => self.ask(&bucket, |store, bucket| store.delete(bucket, &key)),
            Ok(Some(redis)) => self.ask_remote(redis.delete(&bucket, &key), done),
            Err(error) => Ok(Err(error)),
        }
    }

    fn increment(&mut self, bucket: String, key: String, by: i64, ttl_ms: Option<u64>) -> HostResult<i64> {
        self.has_effect();
        match self.remote(&bucket)? {
            Ok(None) => self.ask(&bucket, |store, bucket| store.increment(bucket, &key, by, ttl_ms)),
            Ok(Some(redis)) => self.ask_remote(redis.increment(&bucket, &key, by, ttl_ms), |reply| match reply {
                Reply::Number(sum) => Some(sum),
                _ => None,
            }),
            Err(error) => Ok(Err(error)),
        }
    }

    fn take(&mut self, bucket: String, key: String, quota: Quota, cost: u32) -> HostResult<Verdict> {
        self.has_effect();
        let quota = counted(quota);
        match self.remote(&bucket)? {
            Ok(None) => self.ask(&bucket, |store, bucket| Ok(told(store.take(bucket, &key, quota, cost)?))),
            Ok(Some(redis)) => {
                let step = state::Step { key, quota, counting: state::Counting::Steady, cost };
                self.ask_remote(redis.take(&bucket, step), |reply| match reply {
                    Reply::Verdicts(verdicts) => verdicts.first().copied().map(told),
                    _ => None,
                })
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn take_all(&mut self, bucket: String, group: String, steps: Vec<Step>, place: Place) -> HostResult<Vec<Verdict>> {
        if steps.len() > MAX_STEPS {
            return Ok(Err(StoreError::TooLarge));
        }
        self.has_effect();
        let steps: Vec<_> = steps.into_iter().map(step).collect();
        match self.remote(&bucket)? {
            Ok(Some(redis)) if place == Place::Shared => {
                self.ask_remote(redis.take_all(&bucket, &group, steps), |reply| match reply {
                    Reply::Verdicts(verdicts) => Some(verdicts.into_iter().map(told).collect()),
                    _ => None,
                })
            }
            Ok(_) => self.ask(&bucket, |store, bucket| {
                Ok(store.take_all(bucket, &group, &steps)?.into_iter().map(told).collect())
            }),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn done(reply: Reply) -> Option<()> {
    (reply == Reply::Done).then_some(())
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

fn refused(failure: Failure) -> StoreError {
    match failure {
        Failure::TooLarge => StoreError::TooLarge,
        Failure::Unavailable(why) => StoreError::Unavailable(why),
    }
}

impl State {
    /// Where a granted bucket is, if it is not in the memory of the process.
    fn remote(&self, bucket: &str) -> HostResult<Option<std::sync::Arc<Redis>>> {
        if !self.identity.grants.store.allows(bucket) {
            return Ok(Err(StoreError::Denied(bucket.to_owned())));
        }
        Ok(Ok(self.readable()?.shared.remote.clone()))
    }

    fn ask<T>(
        &self,
        bucket: &str,
        question: impl FnOnce(&MemoryStore, state::Bucket<'_>) -> std::result::Result<T, state::StoreError>,
    ) -> HostResult<T> {
        let bucket = state::Bucket { name: bucket, route: self.route().unwrap_or_default() };
        // All of its errors are of this kind to a plugin.
        Ok(question(&self.readable()?.shared.store, bucket).map_err(|_| StoreError::TooLarge))
    }

    /// Asks once, and says `later`; when the phase is called again, says what was answered. The same question may
    /// be asked again in one call, and is another one then: which it is, is in its number.
    fn ask_remote<T>(
        &mut self,
        op: std::result::Result<Op, Failure>,
        read: impl FnOnce(Reply) -> Option<T>,
    ) -> HostResult<T> {
        let op = match op {
            Ok(op) => op,
            Err(failure) => return Ok(Err(refused(failure))),
        };
        let strange = || StoreError::Unavailable("another answer than asked for".to_owned());
        Ok(match self.inquire(op)? {
            Some(answer) => answer.map_err(refused).and_then(|reply| read(reply).ok_or_else(strange)),
            None => Err(StoreError::Later),
        })
    }

    /// The answer, if it is there; otherwise the exchange waits for it.
    pub(crate) fn inquire(&mut self, op: Op) -> Result<Option<std::result::Result<Reply, Failure>>> {
        let question = self.numbered(sha256(|sink| op.identity(sink)));
        let Some(redis) = self.readable()?.shared.remote.clone() else {
            return Ok(Some(Err(Failure::Unavailable("not there".to_owned()))));
        };
        // No request waits while a configuration is tried.
        let Ok(exchange) = self.exchange() else { return Ok(None) };
        let own = PluginState::existing(exchange);
        if let Some(pending_call::ResultValue::Stored(answer)) = own.and_then(|own| own.pending.answer(&question)) {
            return Ok(Some(answer));
        }
        Ok(match redis.ask(op) {
            Ok(asked) => {
                let wait = async move {
                    Some(CallResult { question, answer: pending_call::ResultValue::Stored(asked.answer().await) })
                };
                PluginState::wait_for(exchange, PendingCall::Thing(Box::pin(wait)));
                None
            }
            Err(failure) => Some(Err(failure)),
        })
    }
}
