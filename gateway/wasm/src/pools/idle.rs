//! A worker's idle instances, of all plugins together, in the order in which they were last used: so the one that can best
//! be missed is found at once, whichever plugin's it is.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use crate::{
    admission::{Capacity, Evict},
    instance::Instance,
};

/// Looks, which are a second apart, after which an instance was idle for long: it gives way to any other one.
const LONG: u32 = 10;
/// Instances that are looked at for one that may go.
const CONSIDERED: usize = 64;

/// The idle instances of one pool, the last used at the back. Numbers are places in the worker's list.
pub(crate) type Own = Rc<RefCell<VecDeque<usize>>>;

#[derive(Default)]
pub(crate) struct Idle {
    list: RefCell<List<Box<Instance>>>,
    count: Cell<usize>,
    /// Counts looks.
    now: Cell<u32>,
    /// Known as soon as there is a pool.
    capacity: OnceCell<Arc<Capacity>>,
}

impl Idle {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.get()
    }

    /// Says which capacity the instances are of.
    pub(crate) fn belongs_to(&self, capacity: &Arc<Capacity>) {
        self.capacity.get_or_init(|| Arc::clone(capacity));
    }

    /// About once a second.
    pub(crate) fn tick(&self) {
        self.now.set(self.now.get().wrapping_add(1));
    }

    pub(crate) fn push(&self, own: &Own, instance: Box<Instance>) {
        let place = self.list.borrow_mut().push(instance, Rc::clone(own), self.now.get());
        own.borrow_mut().push_back(place);
        self.count.set(self.count.get() + 1);
    }

    /// The one of this pool that was used last.
    pub(crate) fn pop(&self, own: &Own) -> Option<Box<Instance>> {
        let place = own.borrow_mut().pop_back()?;
        self.take(place).map(|(instance, _)| instance)
    }

    /// Drops all of a pool's.
    pub(crate) fn clear(&self, own: &Own) {
        while let Some(instance) = self.pop(own) {
            drop(instance);
        }
    }

    fn take(&self, place: usize) -> Option<(Box<Instance>, Own)> {
        // Not borrowed any more when an instance is dropped.
        let taken = self.list.borrow_mut().remove(place);
        self.count.set(self.count.get() - usize::from(taken.is_some()));
        taken
    }
}

impl Evict for Idle {
    /// Of those that may go, the one that was not used for longest.
    fn evict(&self, floor: u64) -> bool {
        let Some(limits) = self.capacity.get().map(|capacity| capacity.limits()) else { return false };
        let may_go = |instance: &Instance, since: u32| {
            self.now.get().wrapping_sub(since) > LONG
                || instance.account().is_none_or(|account| limits.share(account) >= floor)
        };
        let place = {
            let list = self.list.borrow();
            let mut all = list.oldest_first().take(CONSIDERED);
            all.find(|(_, instance, since)| may_go(instance, *since)).map(|(place, ..)| place)
        };
        let Some((instance, own)) = place.and_then(|place| self.take(place)) else { return false };
        // Whatever lets it go holds for the older ones of its pool too, so that it is the oldest of them.
        own.borrow_mut().pop_front();
        instance.evicted();
        true
    }
}

/// A doubly linked list in a slab.
struct List<T> {
    entries: Vec<Entry<T>>,
    /// Vacant entries.
    free: Vec<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

struct Entry<T> {
    kept: Option<(T, Own)>,
    /// When it was put there.
    since: u32,
    older: Option<usize>,
    newer: Option<usize>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), oldest: None, newest: None }
    }
}

impl<T> List<T> {
    fn push(&mut self, kept: T, own: Own, since: u32) -> usize {
        let entry = Entry { kept: Some((kept, own)), since, older: self.newest, newer: None };
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        match self.newest {
            Some(newest) => self.entries[newest].newer = Some(place),
            None => self.oldest = Some(place),
        }
        self.newest = Some(place);
        place
    }

    fn oldest_first(&self) -> impl Iterator<Item = (usize, &T, u32)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let place = next?;
            let entry = &self.entries[place];
            next = entry.newer;
            let (kept, _) = entry.kept.as_ref()?;
            Some((place, kept, entry.since))
        })
    }

    fn remove(&mut self, place: usize) -> Option<(T, Own)> {
        let entry = self.entries.get_mut(place)?;
        let kept = entry.kept.take()?;
        let (older, newer) = (entry.older.take(), entry.newer.take());
        match older {
            Some(older) => self.entries[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.entries[newer].older = older,
            None => self.newest = older,
        }
        self.free.push(place);
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_wherever_others_were_taken_out() {
        let mut list = List::default();
        let places: Vec<_> = (0..5).map(|number| list.push(number, Own::default(), 0)).collect();
        for middle in [places[0], places[2], places[4]] {
            assert!(list.remove(middle).is_some());
            assert!(list.remove(middle).is_none());
        }
        list.push(5, Own::default(), 0);
        assert_eq!(list.oldest_first().map(|(_, number, _)| *number).collect::<Vec<_>>(), [1, 3, 5]);
        let mut left = Vec::new();
        while let Some(oldest) = list.oldest {
            left.extend(list.remove(oldest).map(|(number, _)| number));
        }
        assert_eq!(left, [1, 3, 5]);
        assert_eq!((list.newest, list.entries.len()), (None, 5));
    }
}
