//! How many instances there may be in the process. The allocator has a fixed number of slots, so every instance holds a
//! reservation, and who finds none left makes room or waits: running out of slots is never an error of its own.
//!
//! Reservations are counted in permits that are forgotten when they are taken and added when a reservation ends, and not in
//! `tokio::sync::SemaphorePermit`s. A permit belongs to its semaphore at the size that this has now; the limit can be lowered
//! while all of it is in use. What cannot be taken back at once becomes `debt`, and reservations that end pay it before they add
//! permits. Two things depend on that: a lower limit is reached as calls end, without waiting for any of them, and permits plus
//! reservations minus debt is always the limit. A reservation that added its permits without paying would let the
//! process exceed the new limit forever; one that was dropped before its instance's store (`instance::Instance`) would promise a
//! slot that the allocator does not have, and instantiation would fail instead of wait.
//!
//! A part of the slots is kept for trial instances, so that a configuration can be checked and reloaded however many
//! instances serve.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};

/// How often a call that waits for room asks the workers for idle instances.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long a trial waits for other trials.
const TRIAL_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Capacity {
    /// Slots of the allocator, without those for trials.
    slots: usize,
    /// How many of them may be used.
    limit: Mutex<usize>,
    free: Semaphore,
    /// Reservations to be withdrawn when they end, since the limit was lowered.
    debt: AtomicUsize,
    /// Calls that wait for room.
    waiting: AtomicUsize,
    /// How workers are asked to drop idle instances.
    workers: Mutex<Vec<Weak<Notify>>>,
    free_for_trials: Mutex<usize>,
    trial_ended: Condvar,
}

/// The right to have an instance, given back when dropped.
pub(crate) struct Reservation {
    capacity: Arc<Capacity>,
    weight: usize,
    is_trial: bool,
}

impl Capacity {
    pub(crate) fn new(slots: usize, trials: usize) -> Arc<Self> {
        Arc::new(Self {
            slots,
            limit: Mutex::new(slots),
            free: Semaphore::new(slots),
            debt: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            workers: Mutex::default(),
            free_for_trials: Mutex::new(trials),
            trial_ended: Condvar::new(),
        })
    }

    /// Allows so many instances, or as many as there are slots. Returns what is allowed.
    pub(crate) fn set_limit(&self, limit: usize) -> usize {
        let mut present = lock(&self.limit);
        let limit = limit.clamp(1, self.slots);
        if limit > *present {
            self.give(limit - *present);
        } else {
            let fewer = *present - limit;
            self.debt.fetch_add(fewer - self.free.forget_permits(fewer), Relaxed);
        }
        *present = limit;
        drop(present);
        if self.is_short() {
            self.ask_workers();
        }
        limit
    }

    pub(crate) fn limit(&self) -> usize {
        *lock(&self.limit)
    }

    /// This worker is asked to drop idle instances when others have no room.
    pub(crate) fn register(&self, worker: &Arc<Notify>) {
        let mut workers = lock(&self.workers);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(worker));
    }

    /// Whether idle instances should go.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Relaxed) > 0 || self.debt.load(Relaxed) > 0
    }

    pub(crate) fn try_reserve(self: &Arc<Self>, weight: usize) -> Option<Reservation> {
        let weight = weight.min(self.limit_hint());
        let permit = self.free.try_acquire_many(weight as u32).ok()?;
        permit.forget();
        Some(self.reservation(weight, false))
    }

    /// Waits for room, while workers drop what is idle.
    pub(crate) async fn reserve(self: &Arc<Self>, weight: usize) -> Reservation {
        let weight = weight.min(self.limit_hint());
        let _waiting = Waiting::begin(&self.waiting);
        let mut acquired = std::pin::pin!(self.free.acquire_many(weight as u32));
        loop {
            self.ask_workers();
            if let Ok(acquired) = tokio::time::timeout(ASK_AGAIN, acquired.as_mut()).await {
                acquired.expect("the semaphore is never closed").forget();
                return self.reservation(weight, false);
            }
        }
    }

    /// For an instance that serves no requests. It blocks, so it is not for workers.
    pub(crate) fn reserve_for_trial(self: &Arc<Self>, weight: usize) -> Option<Reservation> {
        let free = lock(&self.free_for_trials);
        let enough = |free: &mut usize| *free < weight;
        let waited = self.trial_ended.wait_timeout_while(free, TRIAL_PATIENCE, enough);
        let (mut free, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *free -= weight;
        drop(free);
        Some(self.reservation(weight, true))
    }

    /// A component that needs more than is allowed gets what is allowed: the slots are there.
    fn limit_hint(&self) -> usize {
        // Components of one slot are the rule, and any limit has room for those.
        self.limit().max(1)
    }

    fn reservation(self: &Arc<Self>, weight: usize, is_trial: bool) -> Reservation {
        Reservation { capacity: Arc::clone(self), weight, is_trial }
    }

    fn give(&self, permits: usize) {
        let pay = |debt: usize| Some(debt.saturating_sub(permits));
        let debt = self.debt.fetch_update(Relaxed, Relaxed, pay).unwrap_or_default();
        self.free.add_permits(permits - permits.min(debt));
    }

    fn ask_workers(&self) {
        for worker in lock(&self.workers).iter().filter_map(Weak::upgrade) {
            worker.notify_one();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_trial {
            *lock(&self.capacity.free_for_trials) += self.weight;
            self.capacity.trial_ended.notify_all();
        } else {
            self.capacity.give(self.weight);
        }
    }
}

/// A call that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_limit_takes_effect_as_reservations_end() {
        let capacity = Capacity::new(4, 1);
        let mut held: Vec<_> = (0..4).map(|_| capacity.try_reserve(1).unwrap()).collect();
        assert_eq!(capacity.set_limit(2), 2);
        assert!(capacity.is_short());
        held.truncate(2);
        assert!(!capacity.is_short());
        assert!(capacity.try_reserve(1).is_none());
        held.truncate(1);
        assert!(capacity.try_reserve(1).is_some());
        assert_eq!(capacity.set_limit(100), 4, "there are no more slots");
        assert!(capacity.try_reserve(3).is_some());
        assert!(capacity.try_reserve(4).is_none());
    }

    #[test]
    fn trials_have_room_when_nobody_else_has() {
        let capacity = Capacity::new(1, 1);
        let _serving = capacity.try_reserve(1).unwrap();
        assert!(capacity.try_reserve(1).is_none());
        assert!(capacity.reserve_for_trial(1).is_some());
    }

    #[tokio::test]
    async fn a_call_that_waits_asks_the_workers_until_it_has_room() {
        let capacity = Capacity::new(1, 1);
        let worker = Arc::new(Notify::new());
        capacity.register(&worker);
        let idle = capacity.try_reserve(1).unwrap();
        let evict = async {
            worker.notified().await;
            assert!(capacity.is_short());
            drop(idle);
        };
        let (reserved, ()) = tokio::join!(capacity.reserve(1), evict);
        assert!(!capacity.is_short());
        drop(reserved);
    }
}
