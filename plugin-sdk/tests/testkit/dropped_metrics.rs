//! Metrics by the gateway's rules.

use super::*;

#[test]
fn metrics_that_the_gateway_drops_are_dropped() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |_| {
        metrics::add("hits_total", 1, &[("a", "1"), ("b", "2")]);
        metrics::add("hits", 2, &[("b", "2"), ("a", "1")]);
        metrics::observe("hits", 1.0, &[]);
        metrics::add("local_replies", 1, &[]);
        metrics::add("x", 1, &[("plugin", "p")]);
        metrics::set_gauge("level", f64::NAN, &[]);
        Ok(Decision::Next)
    });
    plugin.request(TestRequest::get("/"));
    assert_eq!(host.counter("hits", &[("a", "1"), ("b", "2")]), 3);
    assert_eq!((host.counter("local_replies", &[]), host.gauge("level", &[])), (0, None));
    assert_eq!(host.metrics_dropped(), 4);
}
