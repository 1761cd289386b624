//! One part of the memory store, under one lock: a bounded map that forgets what has expired, and when that
//! is not enough, what was used longest ago.
//!
//! Entries live in a slab and are linked in the order of their use. Deadlines wait in a heap that is corrected
//! lazily: an entry has one live ticket in it, and a deadline that moves further away costs nothing until the
//! ticket comes up. Each write takes up a few tickets that are due, so that no thread and no pass over
//! everything is needed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use ahash::RandomState;
use bytes::Bytes;

use super::{quota::Level, window::Window};

#[derive(Debug, Clone)]
pub(super) enum Value {
    Bytes(Bytes),
    Number(i64),
    Level(Level),
    Window(Window),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Number(_) | Self::Level(_) | Self::Window(_) => 0,
        }
    }
}

/// What an entry costs beside its key and value: its slot, its place in the map and its ticket.
pub(super) const OVERHEAD: usize = 192;

/// Never: the deadline of an entry without one.
pub(super) const FOREVER: u64 = u64::MAX;

/// Tickets taken up by one write.
const SWEEP: usize = 8;

const NONE: u32 = u32::MAX;

pub(super) struct Shard {
    map: HashMap<Arc<[u8]>, u32, RandomState>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Ends of the list in the order of use.
    newest: u32,
    oldest: u32,
    tickets: BinaryHeap<Reverse<Ticket>>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

/// Deadline, slot and the slot's tenant: a ticket of an earlier tenant is void.
type Ticket = (u64, u32, u64);

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
}

impl Entry {
    fn bytes(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.bytes()
    }
}

impl Shard {
    pub(super) fn new(max_entries: usize, max_bytes: usize, hasher: RandomState) -> Self {
        Self {
            map: HashMap::with_hasher(hasher),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            tickets: BinaryHeap::new(),
            bytes: 0,
            max_entries,
            max_bytes,
        }
    }

    /// A value that has not expired, and its deadline; counts as use.
    pub(super) fn get(&mut self, key: &[u8], now: u64) -> Option<(&Value, u64)> {
        let slot = *self.map.get(key)?;
        if self.slots[slot as usize].entry.as_ref().is_some_and(|entry| entry.deadline <= now) {
            self.remove_slot(slot);
            return None;
        }
        self.unlink(slot);
        self.link_newest(slot);
        self.slots[slot as usize].entry.as_ref().map(|entry| (&entry.value, entry.deadline))
    }

    /// Stores a value until `deadline`. False if it could not fit into an empty shard.
    pub(super) fn put(&mut self, key: &[u8], value: Value, deadline: u64, now: u64) -> bool {
        let bytes = OVERHEAD + key.len() + value.bytes();
        if bytes > self.max_bytes || self.max_entries == 0 {
            return false;
        }
        self.expire(now, SWEEP);
        if deadline <= now {
            self.remove(key);
            return true;
        }
        let slot = match self.map.get(key) {
            Some(&slot) => {
                self.replace(slot, value, deadline);
                self.unlink(slot);
                slot
            }
            None => self.insert(key, value, deadline),
        };
        // The new entry is not yet in the list, so making room cannot displace it.
        self.make_room(now);
        self.link_newest(slot);
        self.issue_ticket(slot);
        true
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

    fn replace(&mut self, slot: u32, value: Value, deadline: u64) {
        if let Some(entry) = &mut self.slots[slot as usize].entry {
            self.bytes = self.bytes - entry.value.bytes() + value.bytes();
            entry.value = value;
            entry.deadline = deadline;
        }
    }

    fn insert(&mut self, key: &[u8], value: Value, deadline: u64) -> u32 {
        let key: Arc<[u8]> = key.into();
        let entry = Entry { key: key.clone(), value, deadline, ticket: FOREVER };
        self.bytes += entry.bytes();
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

    fn is_over(&self) -> bool {
        self.map.len() > self.max_entries || self.bytes > self.max_bytes
    }

    /// What has expired goes first, then what was used longest ago.
    fn make_room(&mut self, now: u64) {
        while self.is_over() && self.expire(now, 1) {}
        while self.is_over() && self.oldest != NONE {
            self.remove_slot(self.oldest);
        }
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
            self.bytes -= entry.bytes();
            self.map.remove(&entry.key);
            self.free.push(slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match newer {
            NONE if self.newest == slot => self.newest = older,
            NONE => {}
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE if self.oldest == slot => self.oldest = newer,
            NONE => {}
            older => self.slots[older as usize].newer = newer,
        }
        let at = &mut self.slots[slot as usize];
        (at.newer, at.older) = (NONE, NONE);
    }

    fn link_newest(&mut self, slot: u32) {
        let previous = std::mem::replace(&mut self.newest, slot);
        self.slots[slot as usize].older = previous;
        match previous {
            NONE => self.oldest = slot,
            previous => self.slots[previous as usize].newer = slot,
        }
    }

    #[cfg(test)]
    fn tickets(&self) -> usize {
        self.tickets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(entries: usize, bytes: usize) -> Shard {
        Shard::new(entries, bytes, RandomState::with_seeds(1, 2, 3, 4))
    }

    fn value(len: usize) -> Value {
        Value::Bytes(vec![7; len].into())
    }

    fn has(shard: &mut Shard, key: &str, now: u64) -> bool {
        shard.get(key.as_bytes(), now).is_some()
    }

    #[test]
    fn the_entry_used_longest_ago_makes_room() {
        let mut shard = shard(3, 1 << 20);
        for key in ["a", "b", "c"] {
            shard.put(key.as_bytes(), value(1), FOREVER, 0);
        }
        assert!(has(&mut shard, "a", 0));
        shard.put(b"d", value(1), FOREVER, 0);
        assert!(!has(&mut shard, "b", 0));
        assert!(["a", "c", "d"].iter().all(|key| has(&mut shard, key, 0)));
    }

    #[test]
    fn what_has_expired_goes_before_what_is_old() {
        let mut shard = shard(3, 1 << 20);
        shard.put(b"old", value(1), FOREVER, 0);
        shard.put(b"brief", value(1), 10, 0);
        shard.put(b"new", value(1), FOREVER, 0);
        shard.put(b"newer", value(1), FOREVER, 10);
        assert!(!has(&mut shard, "brief", 10));
        assert!(["old", "new", "newer"].iter().all(|key| has(&mut shard, key, 10)));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut shard = shard(1_000, 3 * (OVERHEAD + 1 + 100));
        for key in ["a", "b", "c", "d"] {
            assert!(shard.put(key.as_bytes(), value(100), FOREVER, 0));
        }
        assert_eq!(shard.len(), 3);
        assert!(!has(&mut shard, "a", 0));
        assert!(shard.put(b"d", value(300), FOREVER, 0));
        assert!(shard.bytes() <= shard.max_bytes);
        assert!(has(&mut shard, "d", 0));
    }

    #[test]
    fn what_can_never_fit_is_refused_and_displaces_nothing() {
        let mut shard = shard(10, 1_000);
        shard.put(b"a", value(100), FOREVER, 0);
        assert!(!shard.put(b"b", value(2_000), FOREVER, 0));
        assert!(has(&mut shard, "a", 0));
    }

    #[test]
    fn later_writes_sweep_what_has_expired() {
        let mut shard = shard(1_000, 1 << 20);
        for n in 0..100_u32 {
            shard.put(&n.to_be_bytes(), value(1), 10, 0);
        }
        for n in 100..120_u32 {
            shard.put(&n.to_be_bytes(), value(1), FOREVER, 10);
        }
        assert_eq!(shard.len(), 20);
        assert_eq!(shard.bytes(), 20 * (OVERHEAD + 4 + 1));
    }

    #[test]
    fn a_deadline_that_moves_is_kept_to() {
        let mut shard = shard(10, 1 << 20);
        shard.put(b"later", value(1), 10, 0);
        shard.put(b"later", value(1), 30, 0);
        shard.put(b"sooner", value(1), 30, 0);
        shard.put(b"sooner", value(1), 10, 0);
        shard.put(b"never", value(1), 10, 0);
        shard.put(b"never", value(1), FOREVER, 0);
        shard.put(b"x", value(1), FOREVER, 20);
        assert_eq!(shard.len(), 3);
        assert!(has(&mut shard, "later", 29));
        assert!(!has(&mut shard, "later", 30));
        assert!(has(&mut shard, "never", u64::MAX - 1));
    }

    #[test]
    fn void_tickets_do_not_pile_up() {
        let mut shard = shard(10, 1 << 20);
        for n in 0..10_000 {
            shard.put(b"a", value(1), 1_000_000 - n, 0);
            shard.put(b"b", value(1), 1_000_000, 0);
            shard.remove(b"b");
        }
        assert!(shard.tickets() <= 70);
    }

    #[test]
    fn a_random_walk_keeps_the_books() {
        let mut shard = shard(50, 50 * 250);
        let mut seed = 1_u64;
        for now in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = ((seed >> 33) % 97).to_be_bytes();
            match (seed >> 60) % 4 {
                0 => shard.remove(&key),
                1 => drop(shard.get(&key, now)),
                2 => drop(shard.put(&key, value((seed >> 20) as usize % 200), FOREVER, now)),
                _ => drop(shard.put(&key, value(5), now + (seed >> 40) % 300, now)),
            }
            let entries = shard.slots.iter().filter_map(|slot| slot.entry.as_ref());
            assert_eq!(shard.bytes, entries.map(Entry::bytes).sum::<usize>());
            assert!(!shard.is_over());
            let (mut at, mut linked) = (shard.newest, 0);
            while at != NONE {
                linked += 1;
                at = shard.slots[at as usize].older;
            }
            assert_eq!(linked, shard.len());
        }
    }
}
