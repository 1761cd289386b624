//! What it costs to count an exchange: all that is counted of one with and without plugins.

use std::{hint::black_box, net::SocketAddr};

use criterion::Criterion;
use gateway_telemetry::metrics::{CallPhase, Metrics};
use http::Method;

fn exchange(c: &mut Criterion) {
    let metrics = Metrics::default();
    let route = metrics.route(0, "users");
    let upstream = metrics.upstream(0, "users");
    let endpoint = upstream.endpoint(SocketAddr::from(([127, 0, 0, 1], 9001)));
    let plugins: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| metrics.calls(0, &name.into(), &"users".into())).into();
    let forwarded = || {
        endpoint.begin();
        upstream.responded(black_box(200), black_box(430));
        endpoint.end();
        route.finished(black_box(&Method::GET), black_box(Some(200)), black_box(510));
    };
    let called = || {
        for calls in &plugins {
            calls.called(CallPhase::Request, black_box(900));
            calls.called(CallPhase::Response, black_box(700));
        }
    };
    // Also where a bench is filtered out.
    forwarded();
    called();
    c.bench_function("metrics of a forwarded exchange", |b| b.iter(forwarded));
    c.bench_function("metrics of five plugins, two calls each", |b| b.iter(called));
    let page = metrics.render();
    assert!(
        page.contains("gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"2xx\",code=\"200\"} "),
        "{page}"
    );
    assert!(page.contains("gateway_wasm_calls_total{plugin=\"e\",route=\"users\",phase=\"response\"} "), "{page}");
}

criterion::criterion_group!(benches, exchange);
