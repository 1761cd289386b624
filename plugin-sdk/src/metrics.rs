//! The gateway's metrics. Names get the prefix `gateway_plugin_`; series are bounded, and further ones are
//! dropped and counted, so do not label by what clients choose.

use crate::host;

/// Adds to a counter.
pub fn add(counter: &str, by: u64, labels: &[(&str, &str)]) {
    host::metric_add(counter, by, labels);
}

/// Sets a gauge, a value that can go up and down. Each series has one value in the gateway: what any instance on any worker set
/// last.
///
/// ```
/// # plugin_sdk::testkit::TestHost::new().run(|| {
/// plugin_sdk::metrics::set_gauge("certificates", 3.0, &[("state", "valid")]);
/// plugin_sdk::metrics::add_to_gauge("certificates", -1.0, &[("state", "valid")]);
/// # });
/// ```
pub fn set_gauge(gauge: &str, value: f64, labels: &[(&str, &str)]) {
    host::metric_set_gauge(gauge, value, labels);
}

/// Adds to a gauge, or subtracts with a negative number; the first addition counts from 0. The additions of all instances on all
/// workers are summed. An instance can end without being called again, so a gauge of what one instance has can stay too high.
pub fn add_to_gauge(gauge: &str, by: f64, labels: &[(&str, &str)]) {
    host::metric_add_to_gauge(gauge, by, labels);
}

/// Adds a value to a histogram.
pub fn observe(histogram: &str, value: f64, labels: &[(&str, &str)]) {
    host::metric_observe(histogram, value, labels);
}
