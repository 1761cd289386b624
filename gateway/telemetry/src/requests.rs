//! Requests of one route on one worker by method and exact status.
//!
//! Nine methods and some 500 statuses make too many counters for each route and worker, and hardly any of them is ever used. So a
//! counter is taken for a combination when it first occurs. Only upstreams, plugins and the gateway choose statuses, and methods
//! share a fixed set of labels, so that no route has more counters than these combinations.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use http::Method;

use super::labels::{CODES, METHODS, class_of_code, code_index, method_index};

/// Counters in one piece of memory. Most routes need no further piece.
const PIECE: usize = 8;

/// A list of counters that only grows, in pieces. Counting takes no lock, and allocates only for a combination that is new.
#[derive(Debug, Default)]
pub(super) struct RequestCounts {
    counters: [Counter; PIECE],
    more: OnceLock<Box<Self>>,
}

#[derive(Debug, Default)]
struct Counter {
    /// [`key`] of the combination; 0 while the counter is free.
    key: AtomicU32,
    count: AtomicU64,
}

/// A method and a status, as positions in [`METHODS`] and [`CODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Combination {
    pub(super) method: usize,
    pub(super) code: usize,
}

impl Combination {
    /// Never 0.
    fn key(self) -> u32 {
        (self.method * CODES + self.code + 1) as u32
    }

    fn of_key(key: u32) -> Option<Self> {
        let position = usize::try_from(key).ok()?.checked_sub(1)?;
        Some(Self { method: position / CODES, code: position % CODES }).filter(|found| found.method < METHODS.len())
    }

    /// The position in `CLASSES`.
    pub(super) fn class(self) -> usize {
        class_of_code(self.code)
    }
}

impl RequestCounts {
    pub(super) fn add(&self, method: &Method, status: Option<u16>) {
        let key = Combination { method: method_index(method), code: code_index(status) }.key();
        let mut piece = self;
        loop {
            for counter in &piece.counters {
                let mut found = counter.key.load(Relaxed);
                if found == 0 {
                    // Another thread may take it first, for the same combination or another one.
                    found = counter.key.compare_exchange(0, key, Relaxed, Relaxed).map_or_else(|other| other, |_| key);
                }
                if found == key {
                    counter.count.fetch_add(1, Relaxed);
                    return;
                }
            }
            piece = piece.more.get_or_init(Box::default);
        }
    }

    fn counters(&self) -> impl Iterator<Item = (Combination, u64)> {
        let pieces = std::iter::successors(Some(self), |piece| piece.more.get().map(Box::as_ref));
        pieces
            .flat_map(|piece| &piece.counters)
            .map_while(|counter| Some((Combination::of_key(counter.key.load(Relaxed))?, counter.count.load(Relaxed))))
    }

    /// What all workers have counted; only combinations that occurred.
    pub(super) fn total<'a>(all: impl Iterator<Item = &'a Self>) -> BTreeMap<Combination, u64> {
        let mut totals = BTreeMap::new();
        for (combination, count) in all.flat_map(Self::counters).filter(|(_, count)| *count > 0) {
            *totals.entry(combination).or_default() += count;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn every_combination_has_a_counter_of_its_own_and_no_further_ones_are_made() {
        let counts = RequestCounts::default();
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "WHEN"];
        for method in methods.map(|name| Method::from_bytes(name.as_bytes()).unwrap()) {
            for status in (0..=u16::MAX).map(Some).chain([None]) {
                counts.add(&method, status);
            }
        }
        let totals = RequestCounts::total([&counts].into_iter());
        assert_eq!(totals.len(), METHODS.len() * CODES);
        assert_eq!(totals.values().sum::<u64>(), methods.len() as u64 * 65_537);
        assert_eq!(totals[&Combination { method: 0, code: code_index(Some(429)) }], 1);
    }

    #[test]
    fn threads_that_count_together_lose_nothing() {
        let counts = RequestCounts::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (200..300).cycle().take(10_000).for_each(|status| counts.add(&Method::GET, Some(status)))
                });
            }
        });
        let totals = RequestCounts::total([&counts].into_iter());
        assert_eq!(totals.len(), 100);
        assert!(totals.values().all(|count| *count == 400), "{totals:?}");
    }
}
