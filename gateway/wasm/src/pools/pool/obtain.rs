//! How a call gets an instance: a warm one, a new one, or one for which it waits, in a queue and for a while.

use std::{cell::Cell, future::Future, rc::Rc, sync::Arc, time::Duration};

use gateway_pipeline::{FailureKind, StageFailure};
use tokio::{
    sync::{MutexGuard, OwnedSemaphorePermit},
    time::Instant as Deadline,
};

use super::Pool;
use crate::{
    admission::{Evict, Reservation},
    instance::Instance,
    plugin::{Prepared, Refusal},
    services::Services,
};

/// The longest that a call waits for an instance.
const QUEUE_TIME: Duration = Duration::from_secs(10);

impl Pool {
    /// The right to hold an instance, if there is one left.
    pub(crate) fn try_admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// The right to hold an instance, for which one may have to wait.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, StageFailure> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let permit = self.wait_for(until(), Arc::clone(&self.permits).acquire_owned()).await?;
        permit.map_err(|_| busy("there are no instances any more"))
    }

    /// Waits in the queue, for a while and if it is not full.
    pub(super) async fn wait_for<T>(&self, until: Deadline, what: impl Future<Output = T>) -> Result<T, StageFailure> {
        let _place = self.queue()?;
        let waited = tokio::time::timeout_at(until, what).await;
        waited.map_err(|_| busy("no instance became free in time"))
    }

    fn queue(&self) -> Result<QueueGuard<'_>, StageFailure> {
        if self.waiting.get() >= self.queue {
            return Err(busy(&format!(
                "all instances are busy, and too many calls wait for them: {}",
                self.describe_capacity()
            )));
        }
        Ok(QueueGuard::begin(&self.waiting))
    }

    fn describe_capacity(&self) -> String {
        self.prepared.loaded.blueprint.capacity.describe(&self.prepared.account)
    }

    /// A warm instance, or a new one; `None` if it has to be waited for. Only while direct.
    pub(crate) fn take(&self, services: &Rc<Services>) -> Option<Result<Box<Instance>, StageFailure>> {
        match self.pop() {
            Some(instance) => Some(Ok(instance)),
            None => self.create(services),
        }
    }

    /// A warm instance, unless other calls wait for one.
    fn pop(&self) -> Option<Box<Instance>> {
        if self.waiting.get() > 0 { None } else { self.idle.pop(&self.own) }
    }

    /// A new instance; `None` if it has to be waited for.
    pub(crate) fn create(&self, services: &Rc<Services>) -> Option<Result<Box<Instance>, StageFailure>> {
        if self.prepared.is_slow() || self.waiting.get() > 0 {
            return None;
        }
        let room = self.room_at_once()?;
        let made = self.prepared.instance(self.metrics.clone(), services, room);
        Some(self.made(made))
    }

    pub(crate) async fn take_on_fiber(&self, services: &Rc<Services>) -> Result<Box<Instance>, StageFailure> {
        if let Some(instance) = self.pop() {
            return Ok(instance);
        }
        let until = until();
        let _making = self.next_to_make(until).await?;
        // The one before may have left its own.
        if let Some(instance) = self.idle.pop(&self.own) {
            return Ok(instance);
        }
        let room = match self.room_at_once() {
            Some(room) => room,
            None => match self.room_or_instance(until).await? {
                Obtained::Instance(instance) => return Ok(instance),
                Obtained::Room(room) => room,
            },
        };
        self.make_on_fiber(services, room).await
    }

    /// A new instance, also if another one is idle.
    pub(crate) async fn create_on_fiber(&self, services: &Rc<Services>) -> Result<Box<Instance>, StageFailure> {
        let until = until();
        let _making = self.next_to_make(until).await?;
        let room = match self.room_at_once() {
            Some(room) => room,
            None => self.in_time(until, self.reserve()).await?,
        };
        self.make_on_fiber(services, room).await
    }

    async fn make_on_fiber(&self, services: &Rc<Services>, room: Reservation) -> Result<Box<Instance>, StageFailure> {
        let made = self.prepared.instance_on_fiber(self.metrics.clone(), services, room).await;
        self.made(made)
    }

    /// The right to make an instance: calls get it one after the other.
    async fn next_to_make(&self, until: Deadline) -> Result<MutexGuard<'_, ()>, StageFailure> {
        match self.making.try_lock() {
            Ok(making) => Ok(making),
            Err(_) => self.wait_for(until, self.making.lock()).await,
        }
    }

    /// Room for an instance, or one that another call has put back; whichever comes first.
    async fn room_or_instance(&self, until: Deadline) -> Result<Obtained, StageFailure> {
        self.awaits_instance.set(true);
        let _awaiting = AwaitGuard(&self.awaits_instance);
        let returned = async {
            loop {
                self.returned.notified().await;
                if let Some(instance) = self.idle.pop(&self.own) {
                    return instance;
                }
            }
        };
        let either = async {
            tokio::select! {
                biased;
                instance = returned => Obtained::Instance(instance),
                room = self.reserve() => Obtained::Room(room),
            }
        };
        self.in_time(until, either).await
    }

    async fn reserve(&self) -> Reservation {
        let Prepared { loaded, account, .. } = &*self.prepared;
        loaded.blueprint.capacity.reserve(account, loaded.blueprint.weight, self.expected.get()).await
    }

    /// The first of the queue waits for room.
    async fn in_time<T>(&self, until: Deadline, what: impl Future<Output = T>) -> Result<T, StageFailure> {
        let _place = QueueGuard::begin(&self.waiting);
        let waited = tokio::time::timeout_at(until, what).await;
        waited.map_err(|_| {
            busy(&format!("there was no room for another instance in {QUEUE_TIME:?}: {}", self.describe_capacity()))
        })
    }

    fn made(&self, made: Result<Instance, Refusal>) -> Result<Box<Instance>, StageFailure> {
        made.map(Box::new).map_err(|refusal| self.failed(refusal.into()))
    }

    /// Room for an instance, if need be in place of one that this worker could best miss.
    fn room_at_once(&self) -> Option<Reservation> {
        let Prepared { loaded, account, .. } = &*self.prepared;
        let (blueprint, capacity) = (&loaded.blueprint, &loaded.blueprint.capacity);
        loop {
            if let Some(room) = capacity.try_reserve(account, blueprint.weight, self.expected.get()) {
                return Some(room);
            }
            if !self.idle.evict(capacity.limits().share(account)) {
                return None;
            }
        }
    }
}

/// What a call that waits for room gets.
enum Obtained {
    Instance(Box<Instance>),
    Room(Reservation),
}

/// When a call that begins to wait now gives up.
pub(super) fn until() -> Deadline {
    Deadline::now() + QUEUE_TIME
}

struct AwaitGuard<'a>(&'a Cell<bool>);

impl Drop for AwaitGuard<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn busy(detail: &str) -> StageFailure {
    StageFailure { kind: FailureKind::Busy, detail: detail.to_owned() }
}

/// A place in the queue, given up when dropped.
struct QueueGuard<'a>(&'a Cell<usize>);

impl<'a> QueueGuard<'a> {
    fn begin(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
