//! Leases: those of an exchange stay held until it ends, as the gateway renews them.

use std::time::Duration;

use gateway_rules::lease;

use super::{
    TestHost,
    host::{state, stored},
    store::Store,
};
use crate::store::{Acquisition, Scope, StoreError, Wake};

/// Of an exchange.
const MAX_LEASES: usize = 64;

/// A lease that belongs to an exchange.
#[derive(Debug, Clone)]
pub(crate) struct HeldLease {
    bucket: String,
    key: String,
    lease: String,
}

/// What an exchange holds, and what it waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    leases: Vec<HeldLease>,
    /// How often it has waited for leases.
    waits: u8,
    wait: Option<WaitForLease>,
    /// Whether it can wait.
    pub(super) is_request_phase: bool,
}

/// A key that an exchange can wait for.
#[derive(Debug, Clone)]
pub(crate) struct WaitForLease {
    bucket: String,
    key: String,
    limit: u32,
    time: Duration,
    is_local: bool,
}

impl Holds {
    pub(super) fn take_leases(&mut self) -> Vec<HeldLease> {
        std::mem::take(&mut self.leases)
    }

    pub(super) fn take_wait(&mut self) -> Option<WaitForLease> {
        self.wait.take()
    }
}

impl WaitForLease {
    /// Something has happened meanwhile. If the key still has no room for another holder, the time to wait is over.
    pub(super) fn end(self, host: &TestHost) {
        let state = &mut *host.0.borrow_mut();
        let store = if self.is_local { &mut state.local_store } else { &mut state.store };
        if store.present(&self.bucket, &self.key, state.now) >= self.limit {
            state.now += self.time;
        }
    }
}

/// Releases what an exchange held, also while the store cannot be reached: it would end by its time to live.
pub(super) fn release_leases(host: &TestHost, leases: Vec<HeldLease>) {
    let state = &mut *host.0.borrow_mut();
    for HeldLease { bucket, key, lease } in leases {
        if let Some((id, is_local)) = lease::parse(&lease) {
            let store = if is_local { &mut state.local_store } else { &mut state.store };
            let _ = store.release(&bucket, &key, id);
        }
    }
}

/// Runs a step of the store of a scope.
fn stored_in<T>(
    bucket: &str,
    is_local: bool,
    step: impl FnOnce(&mut Store, Duration) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if !is_local {
        return stored(bucket, step);
    }
    state(|state| {
        state.granted(bucket).map_err(StoreError::Denied)?;
        step(&mut state.local_store, state.now)
    })
}

pub(crate) fn store_acquire(
    bucket: &str,
    key: &str,
    limit: u32,
    ttl_ms: u64,
    scope: Scope,
) -> Result<Acquisition, StoreError> {
    let is_local = scope == Scope::Local;
    let exchange = state(|state| state.exchange_holds.as_ref().map(|holds| holds.leases.len()));
    if exchange.is_some_and(|held| held >= MAX_LEASES) {
        return Err(StoreError::TooLarge);
    }
    let (id, acquired) = stored_in(bucket, is_local, |store, now| {
        store.acquire(bucket, key, limit, exchange.is_none().then_some(ttl_ms), now)
    })?;
    let text = acquired.held.then(|| lease::text(id, is_local));
    if let Some(lease) = &text {
        let held = HeldLease { bucket: bucket.to_owned(), key: key.to_owned(), lease: lease.clone() };
        state(|state| state.exchange_holds.as_mut().map(|holds| holds.leases.push(held)));
    }
    Ok(Acquisition { lease: text, holders: acquired.holders })
}

pub(crate) fn store_renew(bucket: &str, key: &str, text: &str, ttl_ms: u64) -> Result<bool, StoreError> {
    let Some((id, is_local)) = lease::parse(text) else { return stored(bucket, |_, _| Ok(false)) };
    let of_exchange = state(|state| {
        let holds = state.exchange_holds.as_ref();
        holds.is_some_and(|holds| holds.leases.iter().any(|held| held.lease == text))
    });
    // What belongs to the exchange does not end before it.
    let ttl_ms = (!of_exchange).then_some(ttl_ms);
    stored_in(bucket, is_local, |store, now| store.renew(bucket, key, id, ttl_ms, now))
}

pub(crate) fn store_release(bucket: &str, key: &str, text: &str) -> Result<(), StoreError> {
    let Some((id, is_local)) = lease::parse(text) else { return stored(bucket, |_, _| Ok(())) };
    stored_in(bucket, is_local, |store, _| store.release(bucket, key, id))?;
    state(|state| state.exchange_holds.as_mut().map(|holds| holds.leases.retain(|held| held.lease != text)));
    Ok(())
}

pub(crate) fn store_wait_for_lease(
    bucket: &str,
    key: &str,
    limit: u32,
    wait_ms: u32,
    _: Wake,
    scope: Scope,
) -> Result<bool, StoreError> {
    let is_local = scope == Scope::Local;
    stored_in(bucket, is_local, |_, _| {
        gateway_rules::store::check_key(bucket, key)?;
        Ok(lease::check_limit(limit)?)
    })?;
    state(|state| {
        let Some(holds) = state.exchange_holds.as_mut().filter(|holds| holds.is_request_phase) else {
            return Err(StoreError::Unavailable("only the request phase can wait for a lease".to_owned()));
        };
        if holds.waits >= lease::MAX_WAITS {
            return Ok(false);
        }
        holds.waits += 1;
        let time = Duration::from_millis(wait_ms.min(lease::MAX_WAIT_MS).into());
        holds.wait = Some(WaitForLease { bucket: bucket.to_owned(), key: key.to_owned(), limit, time, is_local });
        Ok(true)
    })
}
