//! The gateway's metrics. Names get the prefix `gateway_plugin_`; series are bounded, and further ones are
//! dropped and counted, so do not label by what clients choose.

use crate::host;

/// Adds to a counter.
pub fn add(counter: &str, by: u64, labels: &[(&str, &str)]) {
    host::metric_add(counter, by, labels);
}

/// Adds a value to a histogram.
pub fn observe(histogram: &str, value: f64, labels: &[(&str, &str)]) {
    host::metric_observe(histogram, value, labels);
}
