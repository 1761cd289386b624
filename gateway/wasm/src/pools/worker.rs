//! The pools of one worker, and how it makes room for others.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
};

use tokio::sync::{Notify, watch};

use super::{idle::Idle, pool::Pool};
use crate::{
    admission::{Capacity, Evict, evict_with},
    leases::Leases,
    plugin::{Key, Prepared},
    services::Services,
};

/// When other workers have no room, a worker gives this part of what it has idle, and at most so much at a time: dropping an
/// instance takes some microseconds.
const SHARE: usize = 16;
const MOST: usize = 64;

/// A worker's pools. It only knows those that some stage uses: with the last stage its pool is gone.
#[derive(Default)]
pub struct Pools {
    pools: RefCell<HashMap<Key, Weak<Pool>>>,
    idle: Rc<Idle>,
    /// What exchanges hold outlives the configuration under which they began.
    leases: Rc<Leases>,
    /// How this worker is asked for room.
    asked: Arc<Notify>,
    capacity: OnceCell<Arc<Capacity>>,
    /// Among how many workers the instances of a plugin are divided; 0 is one.
    workers: usize,
    /// Has a receiver for each call of a timer in progress.
    timer_calls: watch::Sender<()>,
}

impl Pools {
    /// The pools of one worker. The instances of a plugin are divided among `workers`.
    pub fn of_one_of(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    pub(crate) fn pool(&self, prepared: &Arc<Prepared>, services: &Rc<Services>) -> Rc<Pool> {
        self.capacity.get_or_init(|| {
            let capacity = Arc::clone(&prepared.loaded.blueprint.capacity);
            capacity.register(&self.asked);
            self.idle.belongs_to(&capacity);
            evict_with(&self.idle);
            capacity
        });
        let key = prepared.key(&services.shared);
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        let own_part = |limit: usize| limit.div_ceil(self.workers.max(1)).max(1);
        let instances = prepared.limits.instances.map(own_part);
        let queue = instances.unwrap_or_else(|| own_part(prepared.loaded.blueprint.capacity.limit()));
        let pool = Rc::new(Pool::new(Arc::clone(prepared), services, &self.idle, &self.timer_calls, instances, queue));
        pools.insert(key, Rc::downgrade(&pool));
        pool
    }

    /// The leases of the worker's exchanges.
    pub fn leases(&self) -> Rc<Leases> {
        Rc::clone(&self.leases)
    }

    /// No timer is called any more on this worker, because the process ends. Calls in progress continue: what is returned waits for
    /// them.
    pub fn end_timers(&self) -> impl Future<Output = ()> + use<> {
        self.pools.borrow().values().filter_map(Weak::upgrade).for_each(|pool| pool.end_timers());
        let calls = self.timer_calls.clone();
        async move { calls.closed().await }
    }

    /// Forgets the pools that no stage has any more. Once for each configuration.
    pub fn forget_dropped(&self) {
        self.pools.borrow_mut().retain(|_, pool| pool.strong_count() > 0);
    }

    /// About once a second.
    pub fn tick(&self) {
        self.idle.tick();
    }

    /// Waits until the process has no room for an instance, and makes some.
    pub async fn make_room(&self) {
        self.asked.notified().await;
        let Some(capacity) = self.capacity.get() else { return };
        for _ in 0..(self.idle.len().div_ceil(SHARE)).min(MOST) {
            match capacity.eviction_floor() {
                Some(floor) if self.idle.evict(floor) => {}
                _ => return,
            }
        }
    }
}
