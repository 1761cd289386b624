//! One part of the memory store, under one lock: a bounded map that forgets what has expired, and when that is not enough, what
//! costs least to forget.
//!
//! Each entry is charged to a payer, such as a route in a bucket. When the memory is full, the payer that has most of it gives some
//! back, so that a payer with less than an equal part never loses anything to another one's excess. Of a payer's entries those that
//! reject requests at present go last: first what was used longest ago, then limits that are exhausted, then limits that have
//! refused somebody. An entry that is new goes before one that is worth more.
//!
//! Entries live in a slab and are linked in the order of their use. Deadlines wait in a heap that is corrected
//! lazily: an entry has one live ticket in it, and a deadline that moves further away costs nothing until the
//! ticket comes up. Each write takes up a few tickets that are due, so that no thread and no pass over
//! everything is needed.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
};

use ahash::RandomState;
use bytes::Bytes;

use gateway_rules::{lease::Holders, take::Count};

#[derive(Debug, Clone)]
pub(super) enum Value {
    Bytes(Bytes),
    Number(i64),
    Count(Count),
    Holders(Box<Holders>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Holders(holders) => holders.bytes(),
            Self::Number(_) | Self::Count(_) => 0,
        }
    }
}

/// What an entry costs beside its key and value: its slot, its places in the map and the order of eviction, and its ticket.
pub(super) const OVERHEAD: usize = 256;

/// Never: the deadline of an entry without one.
pub(super) const FOREVER: u64 = u64::MAX;

/// Tickets taken up by one write.
const SWEEP: usize = 8;

/// Payers above their part that are looked at for an entry that rejects nobody.
const PAYERS_LOOKED_AT: usize = 8;

const NONE: u32 = u32::MAX;

/// How an entry is protected from eviction, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    None,
    /// A limit whose next request would be refused.
    Exhausted(u64),
    /// A limit that has refused a request.
    Refusing(u64),
}

impl Guard {
    /// What it is worth at a time: more is evicted later.
    fn worth(self, now: u64) -> u8 {
        match self {
            Self::Exhausted(until) if until > now => 1,
            Self::Refusing(until) if until > now => 2,
            _ => 0,
        }
    }
}

pub(super) struct Shard {
    map: HashMap<Arc<[u8]>, u32, RandomState>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    payers: HashMap<u64, Payer, RandomState>,
    /// The payers by what they have.
    by_size: BTreeSet<(usize, u64)>,
    tickets: BinaryHeap<Reverse<Ticket>>,
    bytes: usize,
    max_bytes: usize,
}

/// Deadline, slot and the slot's tenant: a ticket of an earlier tenant is void.
type Ticket = (u64, u32, u64);

/// Whose entries these are.
struct Payer {
    bytes: usize,
    /// Ends of the list in the order of use, of entries that are not guarded.
    newest: u32,
    oldest: u32,
    /// The others, in the order in which they go.
    guarded: BTreeSet<(Guard, u32)>,
}

impl Default for Payer {
    fn default() -> Self {
        Self { bytes: 0, newest: NONE, oldest: NONE, guarded: BTreeSet::new() }
    }
}

impl Payer {
    /// The entry that goes first, and what it is worth.
    fn victim(&self, now: u64) -> Option<(u32, u8)> {
        let first = |from: Guard| self.guarded.range((from, 0)..).next().map(|(guard, slot)| (*slot, guard.worth(now)));
        // In each kind the one that ends first is first.
        let (exhausted, refusing) = (first(Guard::Exhausted(0)), first(Guard::Refusing(0)));
        let lapsed = [exhausted, refusing].into_iter().flatten().find(|(_, worth)| *worth == 0);
        let unguarded = (self.oldest != NONE).then_some((self.oldest, 0));
        lapsed.or(unguarded).or(exhausted).or(refusing)
    }
}

struct Slot {
    tenant: u64,
    /// Absent in a free slot.
    entry: Option<Entry>,
    newer: u32,
    older: u32,
}

struct Entry {
    key: Arc<[u8]>,
    value: Value,
    deadline: u64,
    /// The deadline on its ticket; `FOREVER` if there is none.
    ticket: u64,
    payer: u64,
    guard: Guard,
}

impl Entry {
    fn bytes(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.bytes()
    }
}

impl Shard {
    pub(super) fn new(max_bytes: usize, hasher: RandomState) -> Self {
        Self {
            map: HashMap::with_hasher(hasher.clone()),
            slots: Vec::new(),
            free: Vec::new(),
            payers: HashMap::with_hasher(hasher),
            by_size: BTreeSet::new(),
            tickets: BinaryHeap::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Another bound; what is over it goes.
    pub(super) fn resize(&mut self, max_bytes: usize, now: u64) {
        self.max_bytes = max_bytes;
        self.make_room(None, now);
    }

    /// A value that has not expired, and its deadline; counts as use.
    pub(super) fn get(&mut self, key: &[u8], now: u64) -> Option<(&Value, u64)> {
        let slot = *self.map.get(key)?;
        let entry = self.slots[slot as usize].entry.as_ref()?;
        if entry.deadline <= now {
            self.remove_slot(slot);
            return None;
        }
        if entry.guard == Guard::None {
            self.unlink(slot);
            self.link(slot);
        }
        self.slots[slot as usize].entry.as_ref().map(|entry| (&entry.value, entry.deadline))
    }

    /// Takes the holders of a key out of its entry. The entry is of no use until `put` has given it others.
    pub(super) fn take_holders(&mut self, key: &[u8], now: u64) -> Option<Box<Holders>> {
        let slot = *self.map.get(key)?;
        let entry = self.slots[slot as usize].entry.as_mut()?;
        if entry.deadline <= now || !matches!(entry.value, Value::Holders(_)) {
            return None;
        }
        let (payer, before) = (entry.payer, entry.bytes());
        let Value::Holders(holders) = std::mem::replace(&mut entry.value, Value::Number(0)) else { return None };
        let after = entry.bytes();
        self.charge(payer, before, after);
        Some(holders)
    }

    /// Whether a value could fit into an empty shard.
    pub(super) fn has_room_for(&self, key: &[u8], value: &Value) -> bool {
        OVERHEAD + key.len() + value.bytes() <= self.max_bytes
    }

    /// Stores a value until `deadline`. False if it could not fit into an empty shard. An entry that is there already stays its
    /// payer's.
    pub(super) fn put(&mut self, payer: u64, key: &[u8], value: Value, guard: Guard, deadline: u64, now: u64) -> bool {
        if !self.has_room_for(key, &value) {
            return false;
        }
        self.expire(now, SWEEP);
        if deadline <= now {
            self.remove(key);
            return true;
        }
        let slot = match self.map.get(key) {
            Some(&slot) => {
                self.unlink(slot);
                self.replace(slot, value, guard, deadline);
                slot
            }
            None => self.insert(payer, key, value, guard, deadline),
        };
        // The new entry is not yet in its payer's order, so that it is compared and not picked.
        if self.make_room(Some(slot), now) {
            self.link(slot);
            self.issue_ticket(slot);
        } else {
            self.remove_slot(slot);
        }
        true
    }

    /// Notes that an entry rejects requests, or does so for longer.
    pub(super) fn refuses(&mut self, key: &[u8], until: u64, now: u64) {
        let Some(&slot) = self.map.get(key) else { return };
        let Some(entry) = &mut self.slots[slot as usize].entry else { return };
        let guard = Guard::Refusing(until);
        // What it refuses with is known mostly, so this costs once for each time that it begins.
        if until <= now || matches!(entry.guard, Guard::Refusing(known) if known >= until) {
            return;
        }
        self.unlink(slot);
        if let Some(entry) = &mut self.slots[slot as usize].entry {
            entry.guard = guard;
        }
        self.link(slot);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(&slot) = self.map.get(key) {
            self.remove_slot(slot);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn replace(&mut self, slot: u32, value: Value, guard: Guard, deadline: u64) {
        let Some(entry) = &mut self.slots[slot as usize].entry else { return };
        let before = entry.bytes();
        entry.value = value;
        entry.guard = guard;
        entry.deadline = deadline;
        let (payer, after) = (entry.payer, entry.bytes());
        self.charge(payer, before, after);
    }

    fn insert(&mut self, payer: u64, key: &[u8], value: Value, guard: Guard, deadline: u64) -> u32 {
        let key: Arc<[u8]> = key.into();
        let entry = Entry { key: key.clone(), value, deadline, ticket: FOREVER, payer, guard };
        self.charge(payer, 0, entry.bytes());
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].entry = Some(entry);
                slot
            }
            None => {
                self.slots.push(Slot { tenant: 0, entry: Some(entry), newer: NONE, older: NONE });
                (self.slots.len() - 1) as u32
            }
        };
        self.map.insert(key, slot);
        slot
    }

    /// An entry of a payer's takes so much instead of what it took.
    fn charge(&mut self, payer: u64, before: usize, after: usize) {
        if before == after {
            return;
        }
        self.bytes = self.bytes - before + after;
        let account = self.payers.entry(payer).or_default();
        self.by_size.remove(&(account.bytes, payer));
        account.bytes = account.bytes - before + after;
        if account.bytes == 0 {
            self.payers.remove(&payer);
        } else {
            self.by_size.insert((account.bytes, payer));
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// What has expired goes first, then what is worth least of those who have most. False if that is the new entry.
    fn make_room(&mut self, new: Option<u32>, now: u64) -> bool {
        while self.is_over() && self.expire(now, 1) {}
        let new = new.and_then(|slot| self.slots[slot as usize].entry.as_ref());
        let new = new.map(|entry| (entry.payer, entry.guard.worth(now)));
        while self.is_over() {
            let part = self.max_bytes / self.payers.len().max(1);
            let mut victim: Option<(u64, Option<(u32, u8)>)> = None;
            for (bytes, payer) in self.by_size.iter().rev().take(PAYERS_LOOKED_AT) {
                if victim.is_some() && *bytes <= part {
                    break;
                }
                let first = self.payers.get(payer).and_then(|account| account.victim(now));
                let is_worthless = first.is_some_and(|(_, worth)| worth == 0);
                if victim.is_none() || is_worthless {
                    victim = Some((*payer, first));
                }
                if is_worthless {
                    break;
                }
            }
            let Some((payer, first)) = victim else { return true };
            let worth_of_new = new.filter(|(own, _)| *own == payer).map(|(_, worth)| worth);
            match (first, worth_of_new) {
                (Some((_, worth)), Some(worth_of_new)) if worth > worth_of_new => return false,
                (Some((slot, _)), _) => self.remove_slot(slot),
                // The new entry is all that the largest payer has.
                (None, _) => return false,
            }
        }
        true
    }

    /// Takes up to `most` tickets that are due; false if there was none.
    fn expire(&mut self, now: u64, most: usize) -> bool {
        for taken in 0..most {
            let Some(&Reverse((due, slot, tenant))) = self.tickets.peek() else { return taken > 0 };
            if due > now {
                return taken > 0;
            }
            self.tickets.pop();
            let at = &mut self.slots[slot as usize];
            if at.tenant != tenant {
                continue;
            }
            let Some(entry) = at.entry.as_mut().filter(|entry| entry.ticket == due) else { continue };
            if entry.deadline <= now {
                self.remove_slot(slot);
            } else {
                entry.ticket = FOREVER;
                self.issue_ticket(slot);
            }
        }
        true
    }

    /// Gives an entry a ticket if it has none that comes up by its deadline.
    fn issue_ticket(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        let Some(entry) = at.entry.as_mut().filter(|entry| entry.deadline < entry.ticket) else { return };
        entry.ticket = entry.deadline;
        self.tickets.push(Reverse((entry.deadline, slot, at.tenant)));
        if self.tickets.len() > 2 * self.map.len() + 64 {
            self.drop_void_tickets();
        }
    }

    /// Deleted and shortened entries leave void tickets behind; they are thrown out once they are the majority.
    fn drop_void_tickets(&mut self) {
        let slots = &self.slots;
        self.tickets.retain(|Reverse((due, slot, tenant))| {
            let at = &slots[*slot as usize];
            at.tenant == *tenant && at.entry.as_ref().is_some_and(|entry| entry.ticket == *due)
        });
    }

    fn remove_slot(&mut self, slot: u32) {
        self.unlink(slot);
        let at = &mut self.slots[slot as usize];
        at.tenant += 1;
        if let Some(entry) = at.entry.take() {
            self.map.remove(&entry.key);
            self.free.push(slot);
            self.charge(entry.payer, entry.bytes(), 0);
        }
    }

    /// Takes an entry out of its payer's order; nothing if it is not in it.
    fn unlink(&mut self, slot: u32) {
        let at = &self.slots[slot as usize];
        let Some(entry) = &at.entry else { return };
        let Some(payer) = self.payers.get_mut(&entry.payer) else { return };
        if entry.guard != Guard::None {
            payer.guarded.remove(&(entry.guard, slot));
            return;
        }
        let (newer, older) = (at.newer, at.older);
        match newer {
            NONE if payer.newest == slot => payer.newest = older,
            NONE => {}
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE if payer.oldest == slot => payer.oldest = newer,
            NONE => {}
            older => self.slots[older as usize].newer = newer,
        }
        let at = &mut self.slots[slot as usize];
        (at.newer, at.older) = (NONE, NONE);
    }

    /// Puts an entry into its payer's order, as the one that was used last.
    fn link(&mut self, slot: u32) {
        let Some(entry) = &self.slots[slot as usize].entry else { return };
        let Some(payer) = self.payers.get_mut(&entry.payer) else { return };
        if entry.guard != Guard::None {
            payer.guarded.insert((entry.guard, slot));
            return;
        }
        let previous = std::mem::replace(&mut payer.newest, slot);
        match previous {
            NONE => payer.oldest = slot,
            previous => self.slots[previous as usize].newer = slot,
        }
        self.slots[slot as usize].older = previous;
    }

    #[cfg(test)]
    fn tickets(&self) -> usize {
        self.tickets.len()
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
