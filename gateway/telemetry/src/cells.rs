//! Numbers that workers count in without meeting each other: each worker has its own cells, found once, and a
//! scrape adds them up.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The cells of one kind, by what they are about (a route, an upstream, a plugin) and by worker.
///
/// They stay for as long as the configuration in force names what they are about, or they are in use; then
/// `release` drops them.
#[derive(Debug)]
pub(super) struct Cells<T, K = Arc<str>>(Mutex<BTreeMap<K, Workers<T>>>);

type Workers<T> = Vec<(usize, Arc<T>)>;

impl<T, K> Default for Cells<T, K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default, K: Ord + Clone> Cells<T, K> {
    /// The cells of one worker: the same ones each time.
    pub(super) fn of<Q>(&self, worker: usize, name: &Q) -> Arc<T>
    where
        K: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Ord + ?Sized,
    {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = match all.get_mut(name) {
            Some(workers) => workers,
            None => all.entry(name.into()).or_default(),
        };
        if let Some((_, cells)) = workers.iter().find(|(index, _)| *index == worker) {
            return cells.clone();
        }
        let cells = Arc::<T>::default();
        workers.push((worker, cells.clone()));
        cells
    }

    /// Drops what is not live and has no holder. All workers' cells of one name go together, so that no sum goes backwards.
    pub(super) fn release(&self, is_live: impl Fn(&K) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, workers| is_live(name) || workers.iter().any(|(_, cells)| Arc::strong_count(cells) > 1));
    }

    /// For a scrape: each name with the cells of all workers.
    pub(super) fn all(&self) -> Vec<(K, Vec<Arc<T>>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = |workers: &Workers<T>| workers.iter().map(|(_, cells)| cells.clone()).collect();
        all.iter().map(|(name, workers)| (name.clone(), cells(workers))).collect()
    }
}

/// The sum of one number over the cells of all workers.
pub(super) fn total<T>(cells: &[Arc<T>], number: impl Fn(&T) -> &AtomicU64) -> u64 {
    cells.iter().map(|cells| number(cells).load(Relaxed)).sum()
}

/// Upper bounds of the duration buckets, in microseconds; one more bucket holds the rest.
pub(super) const DURATION_BOUNDS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Durations, counted without a lock. A scrape may catch one between its bucket and its sum.
#[derive(Debug, Default)]
pub(super) struct Durations {
    buckets: [AtomicU64; DURATION_BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    pub(super) fn observe(&self, micros: u64) {
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// All workers' durations as one histogram.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Histogram {
        let bounds = DURATION_BOUNDS.iter().map(|&micros| micros as f64 / 1e6);
        let mut buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        let mut micros = 0;
        for durations in all {
            for (bucket, more) in buckets.iter_mut().zip(&durations.buckets) {
                bucket.1 += more.load(Relaxed);
            }
            micros += durations.micros.load(Relaxed);
        }
        // Counted from the buckets, so that the last bucket and the count always agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        Histogram { sum: micros as f64 / 1e6, count, buckets }
    }
}

/// A histogram as it is written out: upper bounds and how many fell into each bucket, not cumulated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    pub(super) sum: f64,
    pub(super) count: u64,
    pub(super) buckets: Vec<(f64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_finds_its_cells_again_and_no_other_workers() {
        let cells = Cells::<AtomicU64, Arc<str>>::default();
        cells.of(0, "a").fetch_add(1, Relaxed);
        cells.of(0, "a").fetch_add(1, Relaxed);
        cells.of(1, "a").fetch_add(5, Relaxed);
        assert_eq!(cells.of(0, "a").load(Relaxed), 2);
        let all = cells.all();
        assert_eq!(all.len(), 1);
        assert_eq!(total(&all[0].1, |number| number), 7);
    }

    #[test]
    fn cells_go_when_nothing_names_them_and_nobody_counts_in_them() {
        let cells = Cells::<AtomicU64, Arc<str>>::default();
        let names = || cells.all().into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let held = cells.of(1, "held");
        for name in ["held", "live", "gone"] {
            cells.of(0, name).fetch_add(1, Relaxed);
        }
        cells.release(|name| &**name == "live");
        assert_eq!(names(), ["held", "live"]);
        // With the one that is held stays what other workers counted.
        assert_eq!(total(&cells.all()[0].1, |number| number), 1);
        drop(held);
        cells.release(|name| &**name == "live");
        assert_eq!(names(), ["live"]);
    }

    #[test]
    fn a_duration_on_a_bound_belongs_below_it() {
        let (one, other) = (Durations::default(), Durations::default());
        one.observe(250);
        one.observe(251);
        other.observe(u64::from(u32::MAX));
        let sum = Durations::sum([&one, &other].into_iter());
        assert_eq!(sum.count, 3);
        assert_eq!(sum.buckets[..2], [(0.00025, 1), (0.0005, 1)]);
        assert_eq!(sum.buckets.last(), Some(&(f64::INFINITY, 1)));
    }
}
