//! docs/troubleshooting.md explains every failure.

use gateway_core::error::Failure;

const PAGE: &str = include_str!("../../../docs/troubleshooting.md");

#[test]
fn every_failure_is_on_the_page_with_its_status_and_detail() {
    for failure in Failure::ALL {
        // The row has no detail for those that end an exchange whose response has begun, or has no recipient.
        let is_sent = !matches!(failure, Failure::ClientTimeout | Failure::ClientClosed | Failure::Draining);
        let detail = if is_sent { format!(" {} ", failure.detail()) } else { " ".to_owned() };
        let row = format!("| {} | `{}` |{detail}|", failure.status().as_u16(), failure.reason());
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "docs/troubleshooting.md has no row `{row}`");
    }
}
