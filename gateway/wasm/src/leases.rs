//! Leases that exchanges of a worker hold. A lease is released when its exchange ends, whatever the plugin does, and renewed as
//! long as the exchange lives, so that a request may take longer than the time to live of its lease.
//!
//! The time to live is for what cannot release a lease: a gateway that was killed, a reply that was lost, a server that was
//! unavailable at the end of the exchange.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use ahash::RandomState;
use gateway_rules::lease::{self, LeaseId};
use gateway_state::{
    Bucket, MemoryStore,
    redis::{Op, Redis, lease::Renewal},
};
use gateway_telemetry::{LeaseMetrics, Metrics, metrics::GaugeGuard};
use tokio::sync::Notify;

/// A lease is renewed this often within its time to live: one renewal may fail.
const RENEWALS: u32 = 3;
/// Requests to Redis that renewals have under way: the queue that workers share has to have room for others.
const AT_ONCE: usize = 256;
/// Buckets whose metrics a worker keeps although no lease of them is held.
const BUCKETS: usize = 64;

/// The leases of one worker's exchanges.
#[derive(Default)]
pub struct Leases {
    held: RefCell<HashMap<LeaseId, Held, RandomState>>,
    /// When `keep_renewing` looks next; none while there is nothing to look for.
    looks_at: Cell<Option<Instant>>,
    /// A lease has to be renewed before that.
    is_sooner: Notify,
    /// Of buckets, by name.
    metrics: RefCell<HashMap<Box<str>, Arc<LeaseMetrics>, RandomState>>,
}

struct Held {
    lease: Lease,
    ttl: Duration,
    due: Instant,
    _counted: GaugeGuard,
}

/// A lease that may be held: dropping it releases it, without waiting for anything.
pub(crate) struct Lease {
    id: LeaseId,
    /// None if there is nothing to release.
    place: Option<LeasePlace>,
}

/// Where a lease is.
pub(crate) enum LeasePlace {
    Memory { store: Arc<MemoryStore>, bucket: String, route: Arc<str>, key: String },
    Redis { redis: Arc<Redis>, key: String },
}

/// Ends a lease with its exchange.
pub(crate) struct LeaseGuard {
    leases: Rc<Leases>,
    id: LeaseId,
}

impl Leases {
    /// The lease is held from here on, until the guard is dropped.
    pub(crate) fn keep(self: &Rc<Self>, lease: Lease, ttl_ms: u64, counted: GaugeGuard) -> LeaseGuard {
        let (id, ttl) = (lease.id, Duration::from_millis(lease::ttl_ms(ttl_ms)));
        let due = Instant::now() + ttl / RENEWALS;
        self.held.borrow_mut().insert(id, Held { lease, ttl, due, _counted: counted });
        if self.looks_at.get().is_none_or(|at| due < at) {
            self.is_sooner.notify_one();
        }
        LeaseGuard { leases: Rc::clone(self), id }
    }

    /// The metrics of a bucket on this worker. Its name is the operator's, who grants it.
    pub(crate) fn metrics(&self, metrics: &Metrics, worker: usize, bucket: &str) -> Arc<LeaseMetrics> {
        let mut known = self.metrics.borrow_mut();
        if let Some(known) = known.get(bucket) {
            return Arc::clone(known);
        }
        if known.len() >= BUCKETS {
            known.retain(|_, metrics| !metrics.is_unused());
        }
        let new = metrics.leases(worker, bucket);
        known.insert(bucket.into(), Arc::clone(&new));
        new
    }

    /// Whether the lease belongs to one of the worker's exchanges.
    pub(crate) fn holds(&self, id: LeaseId) -> bool {
        self.held.borrow().contains_key(&id)
    }

    /// The time to live of a lease that belongs to one of the worker's exchanges, in milliseconds.
    pub(crate) fn ttl_ms(&self, id: LeaseId) -> Option<u64> {
        let held = self.held.borrow();
        held.get(&id).map(|held| u64::try_from(held.ttl.as_millis()).unwrap_or(u64::MAX))
    }

    /// The lease is not renewed any more, and is released where it was acquired.
    pub(crate) fn release(&self, id: LeaseId) {
        // Dropped outside the borrow.
        let held = self.held.borrow_mut().remove(&id);
        drop(held);
    }

    /// Renews leases for as long as the worker runs, in a task of its own.
    pub async fn keep_renewing(self: Rc<Self>) {
        loop {
            let next = self.held.borrow().values().map(|held| held.due).min();
            self.looks_at.set(next);
            let sleep = async {
                match next {
                    // A renewal is due by the clock.
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.renew().await,
                () = self.is_sooner.notified() => {}
            }
        }
    }

    /// Renews what is due, and what soon will be: leases that began at different times travel together from then on.
    async fn renew(&self) {
        let now = Instant::now();
        let mut remote: Vec<(Arc<Redis>, Vec<Renewal>)> = Vec::new();
        for (id, held) in self.held.borrow_mut().iter_mut() {
            let Held { lease, ttl, due, _counted } = held;
            if *due > now + *ttl / (RENEWALS * 2) {
                continue;
            }
            *due = now + *ttl / RENEWALS;
            match &lease.place {
                Some(LeasePlace::Memory { store, bucket, route, key }) => {
                    // It may have been evicted. Without room for it, it is tried again when it is due.
                    let _ = store.keep_lease(Bucket { name: bucket, route }, key, *id);
                }
                Some(LeasePlace::Redis { redis, key }) => {
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    let renewal = Renewal { key: key.clone(), lease: *id, ttl_ms };
                    match remote.iter_mut().find(|(known, _)| Arc::ptr_eq(known, redis)) {
                        Some((_, renewals)) => renewals.push(renewal),
                        None => remote.push((Arc::clone(redis), vec![renewal])),
                    }
                }
                None => {}
            }
        }
        for (redis, renewals) in remote {
            for ops in redis.keep_leases(renewals).chunks(AT_ONCE) {
                // All are sent before the first reply is awaited.
                let asked: Vec<_> = ops
                    .iter()
                    .filter_map(|op| self.still_held(op))
                    .map(|op| {
                        let asked = redis.ask(op.clone());
                        (op, asked)
                    })
                    .collect();
                for (op, asked) in asked {
                    let is_done = match asked {
                        Ok(asked) => asked.answer().await.is_ok(),
                        Err(_) => false,
                    };
                    if !is_done {
                        self.retry(&op);
                    }
                    self.release_again(&redis, op);
                }
            }
        }
    }

    /// The renewals of leases that were not released while others were waited for: those would be held again.
    fn still_held(&self, op: &Op) -> Option<Op> {
        let Op::Renew { leases, insist } = op else { return None };
        let held = self.held.borrow();
        let leases: Vec<_> = leases.iter().filter(|renewal| held.contains_key(&renewal.lease)).cloned().collect();
        (!leases.is_empty()).then_some(Op::Renew { leases, insist: *insist })
    }

    /// Leases that were released while their renewal was on its way: a renewal that is redirected, or whose script the server had to
    /// be given first, is sent a second time, after the release, and would hold them for another TTL.
    fn release_again(&self, redis: &Redis, op: Op) {
        let Op::Renew { leases, .. } = op else { return };
        for Renewal { key, lease, .. } in leases {
            if !self.holds(lease) {
                drop(redis.ask(redis.release_lease(key, lease)));
            }
        }
    }

    /// The renewals were not made, or the reply was lost: they are made again before the leases end.
    fn retry(&self, op: &Op) {
        let Op::Renew { leases, .. } = op else { return };
        let (now, mut held) = (Instant::now(), self.held.borrow_mut());
        for renewal in leases {
            if let Some(held) = held.get_mut(&renewal.lease) {
                held.due = now + held.ttl / (RENEWALS * 2);
            }
        }
    }
}

impl Lease {
    /// One that is about to be acquired. Should the reply be lost or not be awaited, dropping it releases what may be held.
    pub(crate) fn new(id: LeaseId, place: LeasePlace) -> Self {
        Self { id, place: Some(place) }
    }

    /// It is not held, or ends by its time to live.
    pub(crate) fn disarm(mut self) {
        self.place = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.place.take() {
            Some(LeasePlace::Memory { store, bucket, route, key }) => {
                let _ = store.release_lease(Bucket { name: &bucket, route: &route }, &key, self.id);
            }
            // If the server is unavailable, the lease ends by its time to live.
            Some(LeasePlace::Redis { redis, key }) => drop(redis.ask(redis.release_lease(key, self.id))),
            None => {}
        }
    }
}

impl LeaseGuard {
    /// Whether it is of this lease.
    pub(crate) fn is_of(&self, id: LeaseId) -> bool {
        self.id == id
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.leases.release(self.id);
    }
}
