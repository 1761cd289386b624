//! Leases: those of an exchange stay held until it ends, as the gateway renews them.

use std::time::Duration;

use gateway_rules::lease;

use super::{
    TestHost,
    host::{state, stored},
    store::Store,
};
use crate::store::{Acquisition, Scope, StoreError};

/// Of an exchange.
const MAX_LEASES: usize = 64;

/// A lease that belongs to an exchange.
#[derive(Debug, Clone)]
pub(crate) struct HeldLease {
    bucket: String,
    key: String,
    lease: String,
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
    let exchange = state(|state| state.exchange_leases.as_ref().map(Vec::len));
    if exchange.is_some_and(|held| held >= MAX_LEASES) {
        return Err(StoreError::TooLarge);
    }
    let (id, acquired) = stored_in(bucket, is_local, |store, now| {
        store.acquire(bucket, key, limit, exchange.is_none().then_some(ttl_ms), now)
    })?;
    let text = acquired.held.then(|| lease::text(id, is_local));
    if let Some(lease) = &text {
        let held = HeldLease { bucket: bucket.to_owned(), key: key.to_owned(), lease: lease.clone() };
        state(|state| state.exchange_leases.as_mut().map(|leases| leases.push(held)));
    }
    Ok(Acquisition { lease: text, holders: acquired.holders })
}

pub(crate) fn store_renew(bucket: &str, key: &str, text: &str, ttl_ms: u64) -> Result<bool, StoreError> {
    let Some((id, is_local)) = lease::parse(text) else { return stored(bucket, |_, _| Ok(false)) };
    let of_exchange = state(|state| {
        let leases = state.exchange_leases.as_deref().unwrap_or_default();
        leases.iter().any(|held| held.lease == text)
    });
    // What belongs to the exchange does not end before it.
    let ttl_ms = (!of_exchange).then_some(ttl_ms);
    stored_in(bucket, is_local, |store, now| store.renew(bucket, key, id, ttl_ms, now))
}

pub(crate) fn store_release(bucket: &str, key: &str, text: &str) -> Result<(), StoreError> {
    let Some((id, is_local)) = lease::parse(text) else { return stored(bucket, |_, _| Ok(())) };
    stored_in(bucket, is_local, |store, _| store.release(bucket, key, id))?;
    state(|state| state.exchange_leases.as_mut().map(|leases| leases.retain(|held| held.lease != text)));
    Ok(())
}
