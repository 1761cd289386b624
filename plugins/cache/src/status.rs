//! What happened to a request, for whoever wants to know: `Cache-Status` (RFC 9211), attributes, counters.

use plugin_sdk::{Request, Response, metrics};

/// The attribute of the exchange, and the label of the counter.
const ATTRIBUTE: &str = "cache.status";

/// A response that was given from the cache, and how long it is fresh: less than nothing for a stale one.
pub(crate) fn hit(name: &str, ttl: i64, detail: Option<&str>) -> String {
    let detail = detail.map_or(String::new(), |detail| format!("; detail={detail}"));
    format!("{name}; hit; ttl={ttl}{detail}")
}

/// A response that came from further on, and what became of it.
pub(crate) fn forwarded(name: &str, why: &str, status: u16, fate: Result<(), &str>) -> String {
    let fate = match fate {
        Ok(()) => "; stored".to_owned(),
        Err(detail) => format!("; detail={detail}"),
    };
    format!("{name}; fwd={why}; fwd-status={status}{fate}")
}

/// Adds a word to the header; the operator may not want it.
pub(crate) fn say(response: &Response, name: &str, status: &str) {
    // The message may have no room left, which is no reason to fail.
    if !name.is_empty()
        && let Err(error) = response.append_header("cache-status", status)
    {
        plugin_sdk::debug!("no `cache-status`: {error}");
    }
}

/// Counts it, and notes it for the access log.
pub(crate) fn note(request: &Request, route: &str, outcome: &str) {
    metrics::add("cache_requests", 1, &[("route", route), ("result", outcome)]);
    if let Err(error) = request.set_attribute(ATTRIBUTE, outcome) {
        plugin_sdk::debug!("no attribute `{ATTRIBUTE}`: {error}");
    }
}
