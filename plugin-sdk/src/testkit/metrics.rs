//! The metrics of a plugin, by the gateway's rules.

use std::collections::BTreeMap;

use gateway_rules::metric::{MAX_SERIES, MetricKind, counter_name, parts_of_key, series_key};

/// The series of one plugin.
#[derive(Default)]
pub(crate) struct Metrics {
    values: BTreeMap<String, Value>,
    /// Updates that the gateway would drop.
    pub(super) dropped: u64,
}

pub(super) enum Value {
    Counter(u64),
    Histogram(Vec<f64>),
    Gauge(f64),
}

impl Value {
    fn zero(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter(0),
            MetricKind::Histogram => Self::Histogram(Vec::new()),
            MetricKind::Gauge => Self::Gauge(0.0),
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

impl Metrics {
    pub(super) fn add(&mut self, name: &str, by: u64, labels: &[(&str, &str)]) {
        self.update(counter_name(name), MetricKind::Counter, labels, |value| {
            if let Value::Counter(sum) = value {
                *sum = sum.saturating_add(by);
            }
        });
    }

    pub(super) fn observe(&mut self, name: &str, observed: f64, labels: &[(&str, &str)]) {
        self.update_finite(name, MetricKind::Histogram, observed, labels, |value| {
            if let Value::Histogram(all) = value {
                all.push(observed);
            }
        });
    }

    pub(super) fn set_gauge(&mut self, name: &str, set: f64, labels: &[(&str, &str)]) {
        self.update_finite(name, MetricKind::Gauge, set, labels, |value| *value = Value::Gauge(set));
    }

    pub(super) fn add_to_gauge(&mut self, name: &str, by: f64, labels: &[(&str, &str)]) {
        self.update_finite(name, MetricKind::Gauge, by, labels, |value| {
            if let Value::Gauge(gauge) = value {
                *gauge += by;
            }
        });
    }

    /// The value of a series; the order of the labels does not matter.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Value> {
        self.values.get(&series_key(name, labels)?)
    }

    fn update_finite(
        &mut self,
        name: &str,
        kind: MetricKind,
        given: f64,
        labels: &[(&str, &str)],
        change: impl FnOnce(&mut Value),
    ) {
        if given.is_finite() {
            self.update(name, kind, labels, change);
        } else {
            self.dropped += 1;
        }
    }

    fn update(&mut self, name: &str, kind: MetricKind, labels: &[(&str, &str)], change: impl FnOnce(&mut Value)) {
        let has_other_type =
            |(key, value): (&String, &Value)| value.kind() != kind && parts_of_key(key).next() == Some(name);
        let Some(key) = series_key(name, labels) else {
            self.dropped += 1;
            return;
        };
        let is_full = self.values.len() >= MAX_SERIES && !self.values.contains_key(&key);
        if is_full || self.values.iter().any(has_other_type) {
            self.dropped += 1;
        } else {
            change(self.values.entry(key).or_insert_with(|| Value::zero(kind)));
        }
    }
}
