//! Names and labels of the metrics that plugins define.

/// Series of one plugin: counters, histograms and gauges together.
pub const MAX_SERIES: usize = 1_000;

const MAX_NAME_BYTES: usize = 100;
const MAX_LABELS: usize = 10;
const MAX_LABEL_VALUE_BYTES: usize = 200;

/// The gateway's own metrics with the prefix of plugins' metrics.
const RESERVED_NAMES: [&str; 1] = ["local_replies"];
/// Suffixes with a meaning of their own: with them, one plugin's name could run into another's series.
const RESERVED_SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];
const RESERVED_LABELS: [&str; 3] = ["plugin", "le", "quantile"];

/// Cannot be in a valid name, and is not allowed in a value.
const SEPARATOR: char = '\0';

/// What a metric is: one type for all plugins, which the first series decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// Values by their size.
    Histogram,
    /// A value that goes up and down.
    Gauge,
}

/// The name of a counter without the suffix that is added on output; authors write it both ways.
pub fn counter_name(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// Name and labels as one key, the labels sorted: their order does not make another series. `None` if a name
/// is not valid, there is too much of something, or a label is there twice.
pub fn series_key<S: AsRef<str>>(name: &str, labels: &[(S, S)]) -> Option<String> {
    if !is_name(name) || RESERVED_NAMES.contains(&name) || RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    {
        return None;
    }
    let mut sorted = [("", ""); MAX_LABELS];
    let sorted = sorted.get_mut(..labels.len())?;
    for (place, (label, value)) in sorted.iter_mut().zip(labels) {
        *place = (label.as_ref(), value.as_ref());
    }
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let mut key = name.to_owned();
    for (label, value) in sorted {
        let reserved = label.starts_with("__") || RESERVED_LABELS.contains(label);
        if reserved || !is_name(label) || value.len() > MAX_LABEL_VALUE_BYTES || value.contains(SEPARATOR) {
            return None;
        }
        key.push(SEPARATOR);
        key.push_str(label);
        key.push(SEPARATOR);
        key.push_str(value);
    }
    Some(key)
}

/// The name in a key, then the name and the value of each label in turn.
pub fn parts_of_key(key: &str) -> impl Iterator<Item = &str> {
    key.split(SEPARATOR)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, the names that every version of Prometheus accepts.
fn is_name(name: &str) -> bool {
    let starts = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(starts)
        && name.bytes().all(|b| starts(b) || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn the_order_of_labels_makes_no_other_series() {
        let key = series_key("hits", &[("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(series_key("hits", &[("b", "2"), ("a", "1")]).as_ref(), Some(&key));
        assert_eq!(parts_of_key(&key).collect::<Vec<_>>(), ["hits", "a", "1", "b", "2"]);
    }

    #[test]
    fn names_and_labels_that_could_confuse_a_scrape_are_refused() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "1x", "a-b", "a b", "ä", "x_count", "x_total", "local_replies", &long] {
            assert_eq!(series_key(name, &NONE), None, "{name}");
        }
        let long = "v".repeat(MAX_LABEL_VALUE_BYTES + 1);
        for label in [("plugin", "x"), ("le", "1"), ("__a", "1"), ("", "1"), ("a", "\0"), ("a", &*long)] {
            assert_eq!(series_key("hits", &[label]), None, "{label:?}");
        }
        assert_eq!(series_key("hits", &[("a", "1"), ("a", "2")]), None);
        let many: Vec<_> = (0..=MAX_LABELS).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!((series_key("hits", &many), series_key("hits", &many[1..]).is_some()), (None, true));
        assert_eq!(series_key(counter_name("hits_total"), &NONE).as_deref(), Some("hits"));
    }
}
