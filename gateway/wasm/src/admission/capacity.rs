//! How many instances there may be in the process. The allocator has a fixed number of slots and the configuration a budget of memory,
//! so every instance holds a reservation, and a call that finds no room makes some or waits: running out of slots is never an error of
//! its own.
//!
//! The ledger counts what is used, whatever the limits are: one that is lowered is met as instances end, without waiting for any of
//! them. A slot that was given back before its instance's store is dropped (`instance::Instance`) would promise one that the
//! allocator does not have, and instantiation would fail instead of wait.
//!
//! An instance pays for the memory that it has, not for what it may have at most, which few come near.
//!
//! A part of the slots is kept for trial instances, so that a configuration can be checked and reloaded however many
//! instances serve.

use std::{
    pin::pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    evict::evict_here,
    ledger::{Account, Amount, Ledger, Purpose},
};

/// What an instance costs besides its linear memory: its store, the state of its modules, its tables, and the stack of its calls.
const BASELINE: usize = 128 * 1024;

/// How often a call that waits for room asks the workers for idle instances.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long a trial waits for other trials.
const TRIAL_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Capacity {
    /// Slots of the allocator, without those for trials.
    slots: usize,
    ledger: Mutex<Ledger>,
    /// Idle instances should go. It is looked at after each call.
    short: AtomicBool,
    /// For calls that wait for room.
    freed: Notify,
    /// How workers are asked to drop idle instances.
    workers: Mutex<Vec<Weak<Notify>>>,
    free_for_trials: Mutex<usize>,
    trial_ended: Condvar,
}

/// The right to have an instance.
pub(crate) struct Reservation {
    pub(crate) slots: Slots,
    pub(crate) memory: Memory,
}

/// Slots of the allocator, given back when dropped.
pub(crate) struct Slots {
    capacity: Arc<Capacity>,
    /// None for a trial.
    account: Option<Arc<Account>>,
    weight: usize,
}

impl Capacity {
    /// With no limit of memory at first.
    pub(crate) fn new(slots: usize, trials: usize) -> Arc<Self> {
        Arc::new(Self {
            slots,
            ledger: Mutex::new(Ledger::new(Amount { slots, bytes: usize::MAX / 2 })),
            short: AtomicBool::new(false),
            freed: Notify::new(),
            workers: Mutex::default(),
            free_for_trials: Mutex::new(trials),
            trial_ended: Condvar::new(),
        })
    }

    /// Limits the number of instances, at most to the number of slots. Returns the limit.
    pub(crate) fn set_limit(&self, limit: usize) -> usize {
        let limit = limit.clamp(1, self.slots);
        self.change(|ledger| ledger.limit.slots = limit);
        limit
    }

    /// Limits the memory of all instances.
    pub(crate) fn set_memory_limit(&self, bytes: usize) {
        self.change(|ledger| ledger.limit.bytes = bytes);
    }

    pub(crate) fn limit(&self) -> usize {
        self.limits().slots
    }

    /// The memory that is in use, and how much may be.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let ledger = self.lock();
        (ledger.used.bytes, ledger.limit.bytes)
    }

    /// This worker is asked to drop idle instances when others have no room.
    pub(crate) fn register(&self, worker: &Arc<Notify>) {
        let mut workers = lock(&self.workers);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(worker));
    }

    /// Whether idle instances should go.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(Relaxed)
    }

    /// Which ones: those of configurations with this share or a larger one.
    pub(crate) fn eviction_floor(&self) -> Option<u64> {
        self.lock().eviction_floor()
    }

    /// Of which configurations have shares.
    pub(crate) fn limits(&self) -> Amount {
        self.lock().limit
    }

    /// For an instance whose linear memory is expected to have `expected` bytes.
    pub(crate) fn try_reserve(
        self: &Arc<Self>,
        account: &Arc<Account>,
        weight: usize,
        expected: usize,
    ) -> Option<Reservation> {
        let mut ledger = self.lock();
        // One that needs more than is allowed gets what is allowed: it can be had once nothing else is in use.
        let most = ledger.most();
        let weight = weight.min(most.slots);
        let bytes = expected.saturating_add(BASELINE).min(most.bytes);
        let given = ledger.charge(account, Amount { slots: weight, bytes }, Purpose::Instance);
        self.note(&ledger);
        drop(ledger);
        given.then(|| Reservation {
            slots: Slots { capacity: Arc::clone(self), account: Some(Arc::clone(account)), weight },
            memory: Memory::of(self, account, weight, bytes),
        })
    }

    /// Waits for room, while workers drop what is idle.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        account: &Arc<Account>,
        weight: usize,
        expected: usize,
    ) -> Reservation {
        let _waiting = Waiting::begin(self, account);
        let mut ask = true;
        loop {
            let mut freed = pin!(self.freed.notified());
            // What is given back from here on is noticed.
            freed.as_mut().enable();
            if let Some(reservation) = self.try_reserve(account, weight, expected) {
                return reservation;
            }
            if std::mem::take(&mut ask) {
                self.ask_workers();
            }
            ask = tokio::time::timeout(ASK_AGAIN, freed).await.is_err();
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
        let slots = Slots { capacity: Arc::clone(self), account: None, weight };
        Some(Reservation { slots, memory: Memory::unaccounted() })
    }

    fn charge(&self, account: &Account, wanted: Amount, purpose: Purpose) -> bool {
        let mut ledger = self.lock();
        let given = ledger.charge(account, wanted, purpose);
        self.note(&ledger);
        given
    }

    fn give_back(&self, account: &Account, amount: Amount) {
        let has_waiting = {
            let mut ledger = self.lock();
            ledger.give_back(account, amount);
            self.note(&ledger);
            ledger.has_waiting()
        };
        if has_waiting {
            self.freed.notify_waiters();
        }
    }

    fn ask_workers(&self) {
        for worker in lock(&self.workers).iter().filter_map(Weak::upgrade) {
            worker.notify_one();
        }
    }

    /// What is in use and what may be, for people.
    pub(crate) fn describe(&self, account: &Account) -> String {
        let ledger = self.lock();
        let (held, Ledger { limit, used, .. }) = (account.held(), &*ledger);
        let mib = |bytes: usize| bytes >> 20;
        format!(
            "plugins use {} of {} MiB (`limits.plugin-memory`) and {} of {} instances (`limits.plugin-instances`), this \
             configuration {} MiB and {}, which may not be more than what remains free; raise the limit that is reached, or reduce \
             the number of calls that wait at a time",
            mib(used.bytes),
            mib(limit.bytes),
            used.slots,
            limit.slots,
            mib(held.bytes),
            held.slots
        )
    }

    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.lock();
        change(&mut ledger);
        self.note(&ledger);
        drop(ledger);
        self.freed.notify_waiters();
        if self.is_short() {
            self.ask_workers();
        }
    }

    fn note(&self, ledger: &Ledger) {
        self.short.store(ledger.is_short(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

impl Slots {
    /// The configuration that pays for them; none for a trial.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        match &self.account {
            Some(account) => self.capacity.give_back(account, Amount { slots: self.weight, bytes: 0 }),
            None => {
                *lock(&self.capacity.free_for_trials) += self.weight;
                self.capacity.trial_ended.notify_all();
            }
        }
    }
}

/// The memory of one instance, given back when dropped.
pub(crate) struct Memory {
    payer: Option<(Arc<Capacity>, Arc<Account>)>,
    /// Slots that the instance takes.
    weight: usize,
    charged: usize,
}

impl Memory {
    /// Of an instance that is tried: few are at a time, and a reload must not fail because much is in use.
    pub(crate) fn unaccounted() -> Self {
        Self { payer: None, weight: 0, charged: 0 }
    }

    fn of(capacity: &Arc<Capacity>, account: &Arc<Account>, weight: usize, charged: usize) -> Self {
        Self { payer: Some((Arc::clone(capacity), Arc::clone(account))), weight, charged }
    }

    /// Pays for linear memory of `bytes`, as far as it is not paid for. Evicts idle instances if need be; false if that
    /// is not enough.
    pub(crate) fn cover(&mut self, bytes: usize) -> bool {
        let Some((capacity, account)) = &self.payer else { return true };
        let wanted = bytes.saturating_add(BASELINE);
        let Some(more) = wanted.checked_sub(self.charged).filter(|more| *more > 0) else { return true };
        let more = Amount { slots: 0, bytes: more };
        while !capacity.charge(account, more, Purpose::Growth { weight: self.weight }) {
            if !evict_here(capacity.limits().share(account)) {
                // Those of other workers come too late for this call.
                capacity.ask_workers();
                return false;
            }
        }
        self.charged = wanted;
        true
    }

    /// Gives back what was paid in advance and is not used. Otherwise one call that took much memory would be paid for by every
    /// later instance for as long as it lives, and few of them would fill the limit.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let Some((capacity, account)) = &self.payer else { return };
        let used = bytes.saturating_add(BASELINE);
        if let Some(over) = self.charged.checked_sub(used).filter(|over| *over > 0) {
            capacity.give_back(account, Amount { slots: 0, bytes: over });
            self.charged = used;
        }
    }

    /// What all instances hold, for people.
    pub(crate) fn describe(&self) -> String {
        self.payer.as_ref().map(|(capacity, account)| capacity.describe(account)).unwrap_or_default()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some((capacity, account)) = &self.payer {
            capacity.give_back(account, Amount { slots: 0, bytes: self.charged });
        }
    }
}

/// A call that waits.
struct Waiting<'a> {
    capacity: &'a Capacity,
    account: &'a Arc<Account>,
}

impl<'a> Waiting<'a> {
    fn begin(capacity: &'a Capacity, account: &'a Arc<Account>) -> Self {
        let mut ledger = capacity.lock();
        ledger.begin_waiting(account);
        capacity.note(&ledger);
        Self { capacity, account }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut ledger = self.capacity.lock();
        ledger.end_waiting(self.account);
        self.capacity.note(&ledger);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance of a configuration of its own.
    fn one(capacity: &Arc<Capacity>, weight: usize) -> Option<Reservation> {
        capacity.try_reserve(&Arc::default(), weight, 0)
    }

    #[test]
    fn a_lower_limit_takes_effect_as_reservations_end() {
        let capacity = Capacity::new(4, 1);
        let mut held: Vec<_> = (0..4).map(|_| one(&capacity, 1).unwrap()).collect();
        assert_eq!(capacity.set_limit(2), 2);
        assert!(capacity.is_short());
        held.truncate(2);
        assert!(!capacity.is_short());
        assert!(one(&capacity, 1).is_none());
        held.truncate(1);
        assert!(one(&capacity, 1).is_some());
        assert_eq!(capacity.set_limit(100), 4, "there are no more slots");
        assert!(one(&capacity, 3).is_some());
        assert!(one(&capacity, 4).is_none());
    }

    #[test]
    fn trials_have_room_when_nobody_else_has() {
        let capacity = Capacity::new(1, 1);
        let _serving = one(&capacity, 1).unwrap();
        assert!(one(&capacity, 1).is_none());
        let mut trial = capacity.reserve_for_trial(1).unwrap();
        capacity.set_memory_limit(1 << 20);
        assert!(trial.memory.cover(1 << 30));
    }

    #[test]
    fn memory_is_paid_for_as_it_is_used_and_given_back() {
        let capacity = Capacity::new(100, 1);
        capacity.set_memory_limit(100 * BASELINE);
        let account = Arc::default();
        let mut first = capacity.try_reserve(&account, 1, 9 * BASELINE).unwrap();
        assert_eq!(capacity.memory().0, 10 * BASELINE);
        assert!(first.memory.cover(9 * BASELINE) && first.memory.cover(BASELINE));
        assert_eq!(capacity.memory().0, 10 * BASELINE, "it was paid in advance");
        assert!(first.memory.cover(89 * BASELINE));
        assert_eq!(capacity.memory().0, 90 * BASELINE);
        assert!(!first.memory.cover(100 * BASELINE));
        assert!(one(&capacity, 1).is_some() && capacity.try_reserve(&Arc::default(), 1, 9 * BASELINE).is_none());
        drop(first);
        assert_eq!((capacity.memory().0, account.held()), (0, Amount::default()));
    }

    #[test]
    fn an_instance_that_needs_more_than_everything_is_made_when_nothing_else_is_there() {
        let capacity = Capacity::new(2, 1);
        capacity.set_memory_limit(10 * BASELINE);
        let other = one(&capacity, 1).unwrap();
        assert!(capacity.try_reserve(&Arc::default(), 5, 50 * BASELINE).is_none());
        drop(other);
        assert!(capacity.try_reserve(&Arc::default(), 5, 50 * BASELINE).is_some());
    }

    #[tokio::test]
    async fn a_call_that_waits_asks_the_workers_until_it_has_room() {
        let capacity = Capacity::new(1, 1);
        let worker = Arc::new(Notify::new());
        capacity.register(&worker);
        let idle = one(&capacity, 1).unwrap();
        let evict = async {
            worker.notified().await;
            assert!(capacity.is_short() && capacity.eviction_floor() == Some(0));
            drop(idle);
        };
        let account = Arc::default();
        let (reserved, ()) = tokio::join!(capacity.reserve(&account, 1, 0), evict);
        assert!(!capacity.is_short());
        drop(reserved);
    }
}
