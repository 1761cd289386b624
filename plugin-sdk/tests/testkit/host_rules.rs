//! What the gateway would not do is not done.

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

#[test]
fn a_call_that_the_gateway_would_not_send_is_invalid() {
    let host = TestHost::new();
    host.answer_calls(|_| Ok(Reply::new(200)));
    host.run(|| {
        let invalid = |call: Call| matches!(call.send(), Err(CallError::Invalid(_)));
        assert!(invalid(Call::get("it", "no-slash")));
        assert!(invalid(Call::new("CONNECT", "it", "/")));
        assert!(invalid(Call::get("it", "/").with_header("Content-Length", "1")));
        assert!(invalid(Call::get("it", "/").with_header("x", "a\r\nb")));
        assert!(Call::get("it", "/").send().is_ok());
    });
    assert_eq!(host.calls().len(), 1);
}
