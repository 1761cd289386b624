//! A worker's warm instances of one plugin with one configuration. Each is used by one call at a time, the
//! last used first, and only those that came through their last call are used again.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    instance::Instance,
    prepared::{Key, Prepared},
    services::Services,
};
use crate::{
    pipeline::{FailureKind, StageFailure},
    telemetry::metrics::{CallFailure, CallMetrics, PluginMetrics},
};

/// Calls that may wait for an instance, in each pool.
const QUEUE: usize = 256;
/// The longest that one waits.
const QUEUE_TIME: Duration = Duration::from_secs(10);

/// A worker's pools. It only knows those that some stage uses: with the last stage its pool is gone.
#[derive(Default)]
pub struct Pools(RefCell<HashMap<Key, Weak<Pool>>>);

impl Pools {
    pub(super) fn pool(&self, prepared: &Arc<Prepared>, services: &Rc<Services>) -> Rc<Pool> {
        let key = prepared.key(&services.shared);
        let mut pools = self.0.borrow_mut();
        pools.retain(|_, pool| pool.strong_count() > 0);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Rc::new(Pool::new(Arc::clone(prepared), services));
        pools.insert(key, Rc::downgrade(&pool));
        pool
    }
}

pub(super) struct Pool {
    pub(super) prepared: Arc<Prepared>,
    pub(super) metrics: PluginMetrics,
    /// In boxes, because an instance is moved several times for each call.
    #[expect(clippy::vec_box, reason = "they are moved out and in")]
    idle: RefCell<Vec<Box<Instance>>>,
    permits: Arc<Semaphore>,
    waiting: Cell<usize>,
    /// A call has timed out, so later ones run on fibers and make room for others while they run.
    suspect: Cell<bool>,
}

impl Pool {
    fn new(prepared: Arc<Prepared>, services: &Services) -> Self {
        Self {
            metrics: services.shared.metrics.plugin(services.worker, &prepared.identity.name),
            idle: RefCell::default(),
            permits: Arc::new(Semaphore::new(prepared.instances.min(Semaphore::MAX_PERMITS))),
            waiting: Cell::new(0),
            suspect: Cell::new(false),
            prepared,
        }
    }

    /// Whether calls run on the worker's own stack. Then there is never more than one at a time.
    pub(super) fn is_direct(&self) -> bool {
        !self.prepared.loaded.blueprint.waits && !self.suspect.get()
    }

    /// The right to hold an instance, if there is one left.
    pub(super) fn try_admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// The right to hold an instance, for which one may have to wait.
    pub(super) async fn admit(&self, calls: &CallMetrics) -> Result<OwnedSemaphorePermit, StageFailure> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let busy = |detail: &str| {
            calls.failed(CallFailure::Busy);
            StageFailure { kind: FailureKind::Busy, detail: detail.to_owned() }
        };
        if self.waiting.get() >= QUEUE {
            return Err(busy("all instances are busy, and too many calls wait for them"));
        }
        let _place = Place::new(&self.waiting);
        match tokio::time::timeout(QUEUE_TIME, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy("no instance became free in time")),
        }
    }

    /// A warm instance, or a new one. Only while direct.
    pub(super) fn take(&self, services: &Rc<Services>, calls: &CallMetrics) -> Result<Box<Instance>, StageFailure> {
        // Not within the `match`, where the list would stay borrowed while a guest runs.
        let warm = self.idle.borrow_mut().pop();
        match warm {
            Some(instance) => Ok(instance),
            None => self.create(services, calls),
        }
    }

    pub(super) fn create(&self, services: &Rc<Services>, calls: &CallMetrics) -> Result<Box<Instance>, StageFailure> {
        let made = self.prepared.instance(self.metrics.clone(), services);
        made.map(Box::new).map_err(|refusal| self.failed(refusal.into(), calls))
    }

    pub(super) async fn take_on_fiber(
        &self,
        services: &Rc<Services>,
        calls: &CallMetrics,
    ) -> Result<Box<Instance>, StageFailure> {
        let warm = self.idle.borrow_mut().pop();
        match warm {
            Some(instance) => Ok(instance),
            None => self.create_on_fiber(services, calls).await,
        }
    }

    pub(super) async fn create_on_fiber(
        &self,
        services: &Rc<Services>,
        calls: &CallMetrics,
    ) -> Result<Box<Instance>, StageFailure> {
        let made = self.prepared.instance_on_fiber(self.metrics.clone(), services).await;
        made.map(Box::new).map_err(|refusal| self.failed(refusal.into(), calls))
    }

    /// Keeps an instance that came through its call, unless it is worn out.
    pub(super) fn put_back(&self, instance: Box<Instance>) {
        if let Some(instance) = self.unless_worn(instance) {
            self.idle.borrow_mut().push(instance);
        }
    }

    pub(super) fn unless_worn(&self, instance: Box<Instance>) -> Option<Box<Instance>> {
        (!instance.is_worn(self.prepared.limits.max_calls)).then_some(instance)
    }

    /// Counts a failure, and learns from it.
    pub(super) fn failed(&self, failure: StageFailure, calls: &CallMetrics) -> StageFailure {
        calls.failed(failure.kind.counted());
        if failure.kind == FailureKind::Timeout {
            self.suspect.set(true);
        }
        failure
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a>(&'a Cell<usize>);

impl<'a> Place<'a> {
    fn new(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
