//! What the gateway counted, from its metrics page.

use super::{TestGateway, eventually};

/// The value of a series; 0 if the page does not have it.
pub async fn metric(gateway: &TestGateway, series: &str) -> u64 {
    let page = gateway.metrics().await;
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{series} is {value:?}")))
}

/// Exchanges and connections that the gateway ended for this reason.
pub async fn failures(gateway: &TestGateway, reason: &str) -> u64 {
    metric(gateway, &format!("gateway_failures_total{{reason=\"{reason}\"}}")).await
}

/// Waits until exactly so many have been counted.
pub async fn failed(gateway: &TestGateway, reason: &str, times: u64) {
    eventually(&format!("{times} × {reason}"), async || failures(gateway, reason).await == times).await;
}
