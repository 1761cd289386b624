//! A plugin's own counters and histograms. What could not stand in an exposition (OpenMetrics 1.0) is dropped.

use wasmtime::Result;

use crate::plugin::{bindings::metrics::Host, services::Dropped, state::State};

const NAME_BYTES: usize = 100;
const LABELS: usize = 10;
const VALUE_BYTES: usize = 256;

impl Host for State {
    fn add(&mut self, counter: String, by: u64, labels: Vec<(String, String)>) -> Result<()> {
        if is_valid(&counter, &labels) {
            self.meter.add(&counter, by, &labels);
        } else {
            self.meter.dropped(Dropped::Samples, 1);
        }
        Ok(())
    }

    fn observe(&mut self, histogram: String, value: f64, labels: Vec<(String, String)>) -> Result<()> {
        if value.is_finite() && is_valid(&histogram, &labels) {
            self.meter.observe(&histogram, value, &labels);
        } else {
            self.meter.dropped(Dropped::Samples, 1);
        }
        Ok(())
    }
}

fn is_valid(name: &str, labels: &[(String, String)]) -> bool {
    let label_is_valid = |(index, (label, value)): (usize, &(String, String))| {
        // Two leading underscores are reserved, and a label that comes twice makes the series unreadable.
        is_name(label)
            && !label.starts_with("__")
            && value.len() <= VALUE_BYTES
            && labels[..index].iter().all(|(earlier, _)| earlier != label)
    };
    is_name(name) && labels.len() <= LABELS && labels.iter().enumerate().all(label_is_valid)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_BYTES
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn names_are_what_an_exposition_can_hold() {
        assert!(is_valid("tokens_total", &labels(&[("result", "any text \n")])));
        assert!(!is_valid("tokens-total", &[]));
        assert!(!is_valid("", &[]));
        assert!(!is_valid("9lives", &[]));
        assert!(!is_valid("ok", &labels(&[("__name", "x")])));
        assert!(!is_valid("ok", &labels(&[("a", "1"), ("a", "2")])));
    }
}
