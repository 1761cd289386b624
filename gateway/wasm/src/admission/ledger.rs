//! What the instances of all plugins may use, and who may use more of it.
//!
//! Two things are limited: slots of the allocator, and memory. An instance cannot be taken from a call that is in progress, so fairness
//! has to be decided when something is given. Two rules do that:
//!
//! - *Admission.* A configuration gets another instance only while it holds no more than what remains free after that (dynamic
//!   thresholds, Choudhury and Hahne 1998). One configuration alone comes to half of everything, two to a third each, and there is always
//!   room for another one. Its first instance is not subject to this. Instances that exist may grow until their configuration holds
//!   twice what remains free.
//! - *Eviction.* An idle instance gives way to a configuration that holds no more than the instance's own one (max-min fairness, by
//!   the larger of the two shares: dominant resource fairness, Ghodsi et al. 2011), or if it has been idle for long. So a
//!   configuration with a thousand waiting calls does not evict the one warm instance of another route.
//!
//! New instances leave a sixteenth of the memory to those that exist: a growth cannot wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Of the memory, for instances that grow.
const HEADROOM: usize = 16;
/// One whole, in the unit of shares.
const WHOLE: u128 = 1 << 32;

/// Slots of the allocator and bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(super) slots: usize,
    pub(super) bytes: usize,
}

impl Amount {
    /// The larger of a configuration's shares of this.
    pub(crate) fn share(self, account: &Account) -> u64 {
        let of = |part: usize, whole: usize| (part as u128 * WHOLE / whole.max(1) as u128) as u64;
        let held = account.held();
        of(held.slots, self.slots).max(of(held.bytes, self.bytes))
    }
}

/// What the instances of one plugin with one configuration hold. It changes under the ledger's lock only.
#[derive(Debug, Default)]
pub(crate) struct Account {
    slots: AtomicUsize,
    bytes: AtomicUsize,
}

impl Account {
    pub(super) fn held(&self) -> Amount {
        Amount { slots: self.slots.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new instance.
    Instance,
    /// More memory for an existing instance, which takes `weight` slots.
    Growth { weight: usize },
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) limit: Amount,
    pub(super) used: Amount,
    /// The configurations of calls that wait for an instance, one for each call.
    waiting: Vec<Arc<Account>>,
}

impl Ledger {
    pub(super) fn new(limit: Amount) -> Self {
        Self { limit, used: Amount::default(), waiting: Vec::new() }
    }

    /// Memory that new instances leave free.
    fn headroom(&self) -> usize {
        self.limit.bytes / HEADROOM
    }

    /// The most that one instance can ask for.
    pub(super) fn most(&self) -> Amount {
        Amount { slots: self.limit.slots, bytes: self.limit.bytes - self.headroom() }
    }

    /// Gives it, unless that is more than there is or than the configuration may have.
    pub(super) fn charge(&mut self, account: &Account, wanted: Amount, purpose: Purpose) -> bool {
        let after =
            Amount { slots: self.used.slots + wanted.slots, bytes: self.used.bytes.saturating_add(wanted.bytes) };
        let most = match purpose {
            Purpose::Instance => self.most(),
            Purpose::Growth { .. } => self.limit,
        };
        // Growth needs no slot, also if there are more than the limit since that was lowered.
        let has_slots = wanted.slots == 0 || after.slots <= most.slots;
        if !has_slots || after.bytes > most.bytes {
            return false;
        }
        let held = account.held();
        let is_fair = match purpose {
            Purpose::Instance => {
                let (slots, bytes) = (held.slots + wanted.slots, held.bytes.saturating_add(wanted.bytes));
                held.slots == 0 || (slots <= self.limit.slots - after.slots && bytes <= self.limit.bytes - after.bytes)
            }
            Purpose::Growth { weight } => {
                let bytes = held.bytes.saturating_add(wanted.bytes);
                held.slots <= weight || bytes / 2 <= self.limit.bytes - after.bytes
            }
        };
        if is_fair {
            self.used = after;
            account.slots.fetch_add(wanted.slots, Relaxed);
            account.bytes.fetch_add(wanted.bytes, Relaxed);
        }
        is_fair
    }

    pub(super) fn give_back(&mut self, account: &Account, amount: Amount) {
        self.used.slots -= amount.slots;
        self.used.bytes -= amount.bytes;
        account.slots.fetch_sub(amount.slots, Relaxed);
        account.bytes.fetch_sub(amount.bytes, Relaxed);
    }

    pub(super) fn begin_waiting(&mut self, account: &Arc<Account>) {
        self.waiting.push(Arc::clone(account));
    }

    pub(super) fn end_waiting(&mut self, account: &Arc<Account>) {
        let place = self.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, account));
        place.map(|place| self.waiting.swap_remove(place));
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// More is used than may be, or so much that growth could fail.
    fn is_over(&self) -> bool {
        self.used.slots > self.limit.slots || self.used.bytes > self.most().bytes
    }

    /// Whether idle instances should go.
    pub(super) fn is_short(&self) -> bool {
        self.has_waiting() || self.is_over()
    }

    /// Instances of configurations with this share or a larger one should go when they are idle; `None` if there is no need.
    pub(super) fn eviction_floor(&self) -> Option<u64> {
        if self.is_over() {
            return Some(0);
        }
        self.waiting.iter().map(|account| self.limit.share(account)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Amount = Amount { slots: 1, bytes: 10 };

    fn ledger(slots: usize, bytes: usize) -> Ledger {
        Ledger::new(Amount { slots, bytes })
    }

    fn instances(ledger: &mut Ledger, account: &Account) -> usize {
        std::iter::from_fn(|| ledger.charge(account, ONE, Purpose::Instance).then_some(())).count()
    }

    #[test]
    fn one_configuration_comes_to_half_and_leaves_room_for_every_other() {
        for (slots, bytes) in [(64, 1 << 20), (1 << 20, 640)] {
            let mut ledger = ledger(slots, bytes);
            let accounts: Vec<_> = (0..5).map(|_| Account::default()).collect();
            let got: Vec<_> = accounts.iter().map(|account| instances(&mut ledger, account)).collect();
            assert_eq!(got, [32, 16, 8, 4, if bytes == 640 { 0 } else { 2 }]);
        }
    }

    #[test]
    fn new_instances_leave_memory_to_those_that_grow_and_these_take_it_up_to_a_share() {
        let mut ledger = ledger(100, 160);
        let (one, many) = (Account::default(), Account::default());
        assert_eq!(instances(&mut ledger, &many), 8);
        assert!(ledger.charge(&one, Amount { slots: 1, bytes: 60 }, Purpose::Instance));
        let new = Account::default();
        assert!(!ledger.charge(&new, Amount { slots: 1, bytes: 11 }, Purpose::Instance));
        assert!(ledger.eviction_floor().is_none());
        let growth = Amount { slots: 0, bytes: 11 };
        assert!(
            !ledger.charge(&many, growth, Purpose::Growth { weight: 1 }),
            "it has more than twice what remains free"
        );
        assert!(ledger.charge(&one, growth, Purpose::Growth { weight: 1 }), "it has one instance");
        assert_eq!(ledger.eviction_floor(), Some(0), "idle instances restore the headroom");
    }

    #[test]
    fn idle_instances_give_way_to_configurations_that_hold_no_more() {
        let mut ledger = ledger(10, 1000);
        let (small, large) = (Arc::new(Account::default()), Arc::new(Account::default()));
        assert!(ledger.charge(&small, ONE, Purpose::Instance));
        assert_eq!(instances(&mut ledger, &large), 4);
        ledger.begin_waiting(&large);
        assert!(ledger.limit.share(&small) < ledger.eviction_floor().unwrap());
        ledger.begin_waiting(&small);
        assert!(ledger.limit.share(&large) >= ledger.eviction_floor().unwrap());
        ledger.end_waiting(&small);
        ledger.end_waiting(&large);
        assert_eq!(ledger.eviction_floor(), None);
    }
}
