//! Metrics that plugins make up while they run: checked, bounded, and marked with the plugin's name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ahash::RandomState;
use gateway_rules::metric::{MAX_SERIES, MetricKind, counter_name, parts_of_key, series_key};

use super::cells::Histogram;

/// A plugin's unit is not known, so the buckets span much.
const BOUNDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0];

/// All plugins' series.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    plugins: Mutex<BTreeMap<Arc<str>, Arc<Series>>>,
    kinds: Kinds,
}

/// What each name is, and how many series have it: without any it may become something else.
type Kinds = Arc<Mutex<BTreeMap<String, (MetricKind, usize)>>>;

/// The series of one plugin, shared by its instances on all workers.
#[derive(Debug)]
pub(super) struct Series {
    values: Mutex<HashMap<Box<str>, Value, RandomState>>,
    kinds: Kinds,
    dropped: AtomicU64,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Counter(u64),
    Histogram(Histogram),
    Gauge(f64),
}

/// One series for a scrape: labels and value.
pub(super) struct Sample {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: Value,
}

impl AllSeries {
    pub(super) fn of(&self, plugin: &str) -> Arc<Series> {
        let mut plugins = lock(&self.plugins);
        let new = || {
            let (values, dropped) = (Mutex::default(), AtomicU64::default());
            Arc::new(Series { values, kinds: self.kinds.clone(), dropped })
        };
        plugins.entry(plugin.into()).or_insert_with(new).clone()
    }

    /// Drops the series of plugins that are not live and have no instance.
    pub(super) fn release(&self, is_live: impl Fn(&str) -> bool) {
        let mut plugins = lock(&self.plugins);
        let mut gone = Vec::new();
        plugins.retain(|name, series| {
            let stays = is_live(name) || Arc::strong_count(series) > 1;
            if !stays {
                gone.push(series.clone());
            }
            stays
        });
        // They give back their names, which needs another lock.
        drop(plugins);
        drop(gone);
    }

    /// For a scrape: each name, what it is, and its series of all plugins.
    pub(super) fn samples(&self) -> BTreeMap<String, (MetricKind, Vec<Sample>)> {
        let plugins = lock(&self.plugins).clone();
        let mut samples: BTreeMap<_, _> =
            lock(&self.kinds).iter().map(|(name, (kind, _))| (name.clone(), (*kind, Vec::new()))).collect();
        for (plugin, series) in plugins {
            for (key, value) in lock(&series.values).iter() {
                let mut parts = parts_of_key(key).map(str::to_owned);
                let Some((_, into)) = parts.next().and_then(|name| samples.get_mut(&name)) else { continue };
                let mut labels = vec![("plugin".to_owned(), plugin.to_string())];
                while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                    labels.push((name, value));
                }
                into.push(Sample { labels, value: value.clone() });
            }
        }
        for (_, series) in samples.values_mut() {
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        samples
    }

    pub(super) fn dropped(&self) -> Vec<(Arc<str>, u64)> {
        lock(&self.plugins).iter().map(|(plugin, series)| (plugin.clone(), series.dropped.load(Relaxed))).collect()
    }
}

impl Series {
    pub(super) fn add(&self, name: &str, by: u64, labels: &[(String, String)]) {
        self.update(counter_name(name), MetricKind::Counter, labels, |value| {
            if let Value::Counter(sum) = value {
                *sum = sum.wrapping_add(by);
            }
        });
    }

    pub(super) fn observe(&self, name: &str, observed: f64, labels: &[(String, String)]) {
        if !observed.is_finite() {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.update(name, MetricKind::Histogram, labels, |value| {
            if let Value::Histogram(histogram) = value {
                histogram.sum += observed;
                histogram.count += 1;
                histogram.buckets[BOUNDS.partition_point(|&bound| bound < observed)].1 += 1;
            }
        });
    }

    pub(super) fn set(&self, name: &str, set: f64, labels: &[(String, String)]) {
        self.change(name, set, labels, |_| set);
    }

    pub(super) fn add_to_gauge(&self, name: &str, by: f64, labels: &[(String, String)]) {
        self.change(name, by, labels, |value| value + by);
    }

    fn change(&self, name: &str, given: f64, labels: &[(String, String)], next: impl FnOnce(f64) -> f64) {
        if !given.is_finite() {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.update(name, MetricKind::Gauge, labels, |value| {
            if let Value::Gauge(gauge) = value {
                // Sums beyond what a number can be stay where they are.
                let next = next(*gauge);
                *gauge = if next.is_finite() { next } else { *gauge };
            }
        });
    }

    fn update(&self, name: &str, kind: MetricKind, labels: &[(String, String)], change: impl FnOnce(&mut Value)) {
        let updated = series_key(name, labels).is_some_and(|key| {
            let mut values = lock(&self.values);
            if let Some(value) = values.get_mut(key.as_str()) {
                // The name is part of the key, but it may be another kind's.
                let same = value.kind() == kind;
                if same {
                    change(value);
                }
                return same;
            }
            if values.len() >= MAX_SERIES || !self.claim(name, kind) {
                return false;
            }
            change(values.entry(key.into_boxed_str()).or_insert_with(|| Value::zero(kind)));
            true
        });
        if !updated {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Whether the name is of that kind, now if not before. One more series has it then.
    fn claim(&self, name: &str, kind: MetricKind) -> bool {
        let mut kinds = lock(&self.kinds);
        let (known, uses) = kinds.entry(name.to_owned()).or_insert((kind, 0));
        let same = *known == kind;
        *uses += usize::from(same);
        same
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let values = self.values.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut kinds = lock(&self.kinds);
        for key in values.keys() {
            let name = parts_of_key(key).next().unwrap_or_default();
            if let Some((_, uses)) = kinds.get_mut(name) {
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    kinds.remove(name);
                }
            }
        }
    }
}

impl Value {
    fn zero(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter(0),
            MetricKind::Gauge => Self::Gauge(0.0),
            MetricKind::Histogram => Self::Histogram(Histogram {
                sum: 0.0,
                count: 0,
                buckets: BOUNDS.iter().chain([&f64::INFINITY]).map(|&bound| (bound, 0)).collect(),
            }),
        }
    }

    fn kind(&self) -> MetricKind {
        match self {
            Self::Counter(_) => MetricKind::Counter,
            Self::Histogram(_) => MetricKind::Histogram,
            Self::Gauge(_) => MetricKind::Gauge,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn counter(all: &AllSeries, name: &str, index: usize) -> u64 {
        match all.samples()[name].1[index].value {
            Value::Counter(value) => value,
            ref other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn the_order_of_labels_makes_no_other_series() {
        let all = AllSeries::default();
        all.of("p").add("hits", 1, &labels(&[("a", "1"), ("b", "2")]));
        all.of("p").add("hits_total", 2, &labels(&[("b", "2"), ("a", "1")]));
        assert_eq!(all.samples()["hits"].1.len(), 1);
        assert_eq!(counter(&all, "hits", 0), 3);
    }

    #[test]
    fn plugins_do_not_share_series_of_the_same_name() {
        let all = AllSeries::default();
        all.of("p").add("hits", 1, &[]);
        all.of("q").add("hits", 2, &[]);
        assert_eq!((counter(&all, "hits", 0), counter(&all, "hits", 1)), (1, 2));
    }

    #[test]
    fn a_name_stays_what_it_was_first_for_every_plugin() {
        let all = AllSeries::default();
        all.of("p").add("x", 1, &[]);
        all.of("p").observe("x", 1.0, &[]);
        all.of("q").observe("x", 1.0, &[]);
        assert_eq!(all.dropped(), [("p".into(), 1), ("q".into(), 1)]);
        assert_eq!(all.samples()["x"].1.len(), 1);
    }

    #[test]
    fn a_gauge_is_what_was_set_last_and_what_was_added_since() {
        let all = AllSeries::default();
        let (one, other) = (all.of("p"), all.of("p"));
        let value = |index: usize| match all.samples()["depth"].1[index].value {
            Value::Gauge(value) => value,
            ref other => panic!("{other:?}"),
        };
        one.add_to_gauge("depth", 2.5, &[]);
        other.add_to_gauge("depth", -4.0, &[]);
        assert_eq!(value(0), -1.5);
        one.set("depth", 7.0, &[]);
        other.add_to_gauge("depth", 1.0, &[]);
        assert_eq!(value(0), 8.0);
        one.set("depth", f64::MAX, &[]);
        one.add_to_gauge("depth", f64::MAX, &[]);
        assert_eq!(value(0), f64::MAX);
        for (dropped, bad) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
            one.set("depth", bad, &[]);
            assert_eq!(all.dropped(), [("p".into(), dropped as u64 + 1)]);
        }
        one.add("depth", 1, &[]);
        one.observe("depth", 1.0, &[]);
        one.set("count_total", 1.0, &[]);
        assert_eq!((value(0), all.samples().len(), all.dropped()), (f64::MAX, 1, vec![("p".into(), 6)]));
    }

    #[test]
    fn a_name_is_free_again_when_its_last_series_is_released() {
        let all = AllSeries::default();
        all.of("p").add("x", 1, &labels(&[("a", "1")]));
        all.of("p").add("x", 1, &[]);
        let held = all.of("q");
        held.add("x", 1, &[]);
        all.release(|_| false);
        assert_eq!(all.samples()["x"].1.len(), 1);
        all.of("r").observe("x", 1.0, &[]);
        assert_eq!(all.samples()["x"].1.len(), 1);
        drop(held);
        all.release(|name| name == "r");
        assert!(all.samples().is_empty());
        all.of("r").observe("x", 1.0, &[]);
        assert_eq!(all.samples()["x"].0, MetricKind::Histogram);
    }

    #[test]
    fn series_are_bounded_and_the_surplus_is_counted() {
        let all = AllSeries::default();
        let plugin = all.of("p");
        for n in 0..MAX_SERIES + 7 {
            plugin.add("hits", 1, &labels(&[("n", &n.to_string())]));
        }
        plugin.add("hits", 1, &labels(&[("n", "0")]));
        assert_eq!(all.samples()["hits"].1.len(), MAX_SERIES);
        assert_eq!(all.dropped(), [("p".into(), 7)]);
    }

    #[test]
    fn what_is_not_valid_is_counted_as_dropped() {
        let all = AllSeries::default();
        let plugin = all.of("p");
        plugin.add("x_total_total", 1, &[]);
        plugin.add("hits", 1, &labels(&[("le", "1")]));
        plugin.observe("seconds", f64::NAN, &[]);
        assert!(all.samples().is_empty());
        assert_eq!(all.dropped(), [("p".into(), 3)]);
    }
}
