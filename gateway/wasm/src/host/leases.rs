//! Leases of keys in granted buckets: in the process's memory, or in Redis.

use std::{rc::Rc, sync::Arc, time::Duration};

use gateway_pipeline::Phase;
use gateway_rules::lease::{self, LeaseId};
use gateway_state::{self as state, LeaseWait, redis::Reply};

use super::store::{Acquire, HostResult, WaitForLease, refused, request, understood};
use crate::{
    bindings::store::{Acquisition, Scope, StoreError, Wake},
    instance::state::State,
    leases::{Lease, LeaseGuard, LeasePlace},
    plugin_state::{Awaited, PluginState},
};

impl State {
    /// In the memory of the process.
    pub(super) fn acquire_in_memory(&mut self, acquire: Acquire) -> HostResult<Acquisition> {
        let Acquire { bucket, key, limit, ttl_ms, scope } = acquire;
        if !self.has_room_for_lease() {
            return Ok(Err(StoreError::TooLarge));
        }
        let id = state::new_lease();
        // The memory does not outlive the exchange, so there is nothing that a time to live would be for.
        let ttl = self.lent().is_none().then_some(ttl_ms);
        let acquired = self.in_memory(&bucket, |store, bucket| store.acquire(bucket, &key, id, limit, ttl))?;
        let acquired = match acquired {
            Ok(acquired) => acquired,
            Err(error) => return Ok(Err(error)),
        };
        let store = self.services()?.shared.store.clone();
        let place = LeasePlace::Memory { store, bucket: bucket.clone(), route: self.route_of_lease(), key };
        self.acquired(Lease::new(id, place), id, acquired, ttl_ms, scope, &bucket).map(Ok)
    }

    /// Wherever the bucket is.
    pub(super) async fn store_acquire(&mut self, acquire: Acquire) -> HostResult<Acquisition> {
        let redis = match self.remote(&acquire.bucket)? {
            Ok(Some(redis)) if acquire.scope == Scope::Shared => redis,
            Ok(_) => return self.acquire_in_memory(acquire),
            Err(error) => return Ok(Err(error)),
        };
        let Acquire { bucket, key, limit, ttl_ms, scope } = acquire;
        if !self.has_room_for_lease() {
            return Ok(Err(StoreError::TooLarge));
        }
        let id = state::new_lease();
        let key = match redis.lease_key(&bucket, &key) {
            Ok(key) => key,
            Err(failure) => return Ok(Err(refused(failure))),
        };
        let asked = redis.acquire(key.clone(), id, limit, ttl_ms).and_then(|op| redis.ask(op));
        let asked = match asked {
            Ok(asked) => asked,
            Err(failure) => return Ok(Err(refused(failure))),
        };
        // From here on it may be held, whether a reply comes or the call is cancelled before.
        let lease = Lease::new(id, LeasePlace::Redis { redis, key });
        let acquired = understood(asked.answer().await, |reply| match reply {
            Reply::Acquired(acquired) => Some(acquired),
            _ => None,
        });
        match acquired {
            Ok(acquired) => self.acquired(lease, id, acquired, ttl_ms, scope, &bucket).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Lets the exchange wait without an instance, if the plugin then decides to. Nothing is waited for here.
    pub(super) fn let_wait_for_lease(&mut self, wait: WaitForLease) -> HostResult<bool> {
        let WaitForLease { bucket, key, limit, wait_ms, wake, scope } = wait;
        let remote = match self.remote(&bucket)? {
            Ok(remote) => remote.filter(|_| scope == Scope::Shared),
            Err(error) => return Ok(Err(error)),
        };
        if lease::check_limit(limit).is_err() {
            return Ok(Err(StoreError::TooLarge));
        }
        let services = self.services()?;
        let store = Arc::clone(&services.shared.store);
        let metrics = services.leases.metrics(&services.shared.metrics, services.worker, &bucket);
        let Some(exchange) = self.lent().filter(|exchange| exchange.phase == Phase::Request) else {
            return Ok(Err(StoreError::Unavailable("only the request phase can wait for a lease".to_owned())));
        };
        let own = PluginState::of(exchange);
        if own.waits >= lease::MAX_WAITS {
            return Ok(Ok(false));
        }
        let wake = match wake {
            Wake::InTurn => lease::Wake::InTurn,
            Wake::All => lease::Wake::All,
        };
        let turn = own.turn.take();
        let wait = match remote {
            Some(redis) => match redis.lease_key(&bucket, &key) {
                Ok(key) => LeaseWait::in_redis(&redis, &key, limit, wake, turn),
                Err(failure) => return Ok(Err(refused(failure))),
            },
            None => match store.lease_key(&bucket, &key) {
                Ok(key) => LeaseWait::in_memory(&store, &key, limit, wake, turn),
                Err(_) => return Ok(Err(StoreError::TooLarge)),
            },
        };
        own.waits += 1;
        let time = Duration::from_millis(wait_ms.min(lease::MAX_WAIT_MS).into());
        let counted = metrics.waiting();
        own.awaited = Some(Awaited::Release(Box::pin(async move {
            let turn = wait.room(time).await;
            drop(counted);
            turn
        })));
        Ok(Ok(true))
    }

    pub(super) fn renew_in_memory(&mut self, bucket: &str, key: &str, lease: &str, ttl_ms: u64) -> HostResult<bool> {
        let Some((id, _)) = lease::parse(lease) else { return Ok(self.check_bucket(bucket).map(|()| false)) };
        let ttl = (!self.services()?.leases.holds(id)).then_some(ttl_ms);
        self.in_memory(bucket, |store, bucket| store.renew_lease(bucket, key, id, ttl))
    }

    pub(super) async fn store_renew(
        &mut self,
        bucket: String,
        key: String,
        lease: String,
        ttl_ms: u64,
    ) -> HostResult<bool> {
        match (self.remote(&bucket)?, lease::parse(&lease)) {
            (Ok(Some(redis)), Some((id, false))) => {
                // The gateway renews the lease of an exchange at intervals of its own TTL.
                let ttl_ms = self.services()?.leases.ttl_ms(id).map_or(ttl_ms, |own| ttl_ms.max(own));
                let op = redis.lease_key(&bucket, &key).map(|key| redis.renew_lease(key, id, ttl_ms));
                request(&redis, op, |reply| match reply {
                    Reply::Number(held) => Some(held == 1),
                    _ => None,
                })
                .await
            }
            (Ok(_), _) => self.renew_in_memory(&bucket, &key, &lease, ttl_ms),
            (Err(error), _) => Ok(Err(error)),
        }
    }

    pub(super) fn release_in_memory(&mut self, bucket: &str, key: &str, lease: &str) -> HostResult<()> {
        if let Err(error) = self.check_bucket(bucket) {
            return Ok(Err(error));
        }
        let Some((id, _)) = lease::parse(lease) else { return Ok(Ok(())) };
        self.stop_renewing(id)?;
        self.in_memory(bucket, |store, bucket| store.release_lease(bucket, key, id))
    }

    pub(super) async fn store_release(&mut self, bucket: String, key: String, lease: String) -> HostResult<()> {
        match (self.remote(&bucket)?, lease::parse(&lease)) {
            (Ok(Some(redis)), Some((id, false))) => {
                // First, so that no renewal makes it held again.
                self.stop_renewing(id)?;
                let op = redis.lease_key(&bucket, &key).map(|key| redis.release_lease(key, id));
                request(&redis, op, |reply| (reply == Reply::Done).then_some(())).await
            }
            (Ok(_), _) => self.release_in_memory(&bucket, &key, &lease),
            (Err(error), _) => Ok(Err(error)),
        }
    }

    /// What was found when a lease was acquired. If there is an exchange, the lease is its own from here on.
    fn acquired(
        &mut self,
        lease: Lease,
        id: LeaseId,
        acquired: state::Acquired,
        ttl_ms: u64,
        scope: Scope,
        bucket: &str,
    ) -> wasmtime::Result<Acquisition> {
        let services = Rc::clone(self.services()?);
        match self.lent() {
            _ if !acquired.held => lease.disarm(),
            Some(exchange) => {
                let leases = &services.leases;
                let counted = leases.metrics(&services.shared.metrics, services.worker, bucket).held();
                // There is room: it was asked for before.
                let _ = exchange.keep_guard(Box::new(leases.keep(lease, ttl_ms, counted)));
            }
            // In a call without an exchange, the plugin renews and releases it.
            None => lease.disarm(),
        }
        let text = acquired.held.then(|| lease::text(id, scope == Scope::Local));
        Ok(Acquisition { lease: text, holders: acquired.holders })
    }

    fn has_room_for_lease(&mut self) -> bool {
        self.lent().is_none_or(|exchange| exchange.has_room_for_guard())
    }

    fn route_of_lease(&mut self) -> Arc<str> {
        self.lent().map(|exchange| exchange.route.clone()).unwrap_or_default()
    }

    /// The plugin releases the lease itself. It is released where it was acquired, also if the plugin names another key.
    fn stop_renewing(&mut self, id: LeaseId) -> wasmtime::Result<()> {
        let leases = self.services()?.leases.clone();
        if let Some(exchange) = self.lent() {
            exchange.drop_guard(|guard| guard.downcast_ref::<LeaseGuard>().is_some_and(|guard| guard.is_of(id)));
        }
        leases.release(id);
        Ok(())
    }
}
