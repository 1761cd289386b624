//! What each plugin costs, by route and phase, as the operator sees it.

use crate::support::{TestGateway, Upstream, nobody};

#[tokio::test]
async fn calls_time_and_answers_are_counted_by_plugin_route_and_phase() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: limited
    match: {{ path: /limited }}
    plugins: [{{ name: rate-limit, config: {{ limit: 2, per: 1h }} }}]
    upstream: it
  - name: stamped
    match: {{ path: /stamped }}
    plugins: [{{ name: transform, config: {{ response: {{ set-headers: {{ x-a: b }} }} }} }}]
    upstream: it
",
        upstream.address()
    ))
    .await;
    for _ in 0..5 {
        gateway.get("/limited").await;
        gateway.get("/stamped").await;
    }
    let calls = async |plugin: &str, route: &str, phase: &str| {
        gateway.metric("gateway_wasm_calls_total", &[("plugin", plugin), ("route", route), ("phase", phase)]).await
    };
    assert_eq!(calls("rate-limit", "limited", "request").await, Some(5));
    assert_eq!(calls("transform", "stamped", "response").await, Some(5));
    assert_eq!(calls("transform", "limited", "response").await, None, "it is not there");
    let answers =
        gateway.metric("gateway_plugin_local_replies_total", &[("plugin", "rate-limit"), ("route", "limited")]).await;
    assert_eq!(answers, Some(3));
    let failures = gateway.metric("gateway_wasm_failures_total", &[("plugin", "rate-limit"), ("kind", "trap")]).await;
    assert_eq!(failures, Some(0), "they are there before the first one");
    let page = gateway.metrics().await;
    let seconds = page.lines().find_map(|line| {
        line.strip_prefix("gateway_wasm_call_seconds_total{plugin=\"transform\",route=\"stamped\",phase=\"response\"} ")
    });
    assert!(seconds.is_some_and(|seconds| seconds.parse::<f64>().expect("a number") > 0.0), "{page}");
    let memory = gateway.metric("gateway_wasm_memory_bytes", &[("plugin", "transform")]).await;
    assert!(memory.is_some_and(|bytes| bytes >= 64 * 1024), "an instance has a page at least: {memory:?}");
}

#[tokio::test]
async fn endpoints_are_counted_each_for_itself() {
    let upstream = Upstream::echo().await;
    let gone = nobody();
    let gateway = TestGateway::start(&format!(
        "upstreams:
  it:
    endpoints: ['http://{0}', 'http://{gone}']
    health: {{ passive: {{ consecutive-failures: 2, max-ejected: 50% }}, panic-threshold: 0% }}
routes: [{{ name: all, plugins: [{{ name: rate-limit, config: {{ limit: 100, per: 1h }} }}], upstream: it }}]
",
        upstream.address()
    ))
    .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let value = async |name: &str, endpoint: std::net::SocketAddr| {
        gateway.metric(name, &[("upstream", "it"), ("endpoint", &endpoint.to_string())]).await
    };
    assert_eq!(value("gateway_endpoint_requests_total", upstream.address()).await, Some(10));
    assert_eq!(value("gateway_endpoint_failures_total", upstream.address()).await, Some(0));
    assert_eq!(value("gateway_endpoint_up", upstream.address()).await, Some(1));
    assert_eq!(value("gateway_endpoint_requests_in_flight", upstream.address()).await, Some(0));
    assert!(value("gateway_endpoint_failures_total", gone).await >= Some(2));
    assert_eq!(value("gateway_endpoint_up", gone).await, Some(0), "it is ejected");
    let page = gateway.metrics().await;
    let mut samples: Vec<_> = page.lines().filter_map(|line| line.split_once("} ")).map(|(series, _)| series).collect();
    samples.sort_unstable();
    assert!(samples.windows(2).all(|two| two[0] != two[1]), "a series is there twice: {page}");
    assert!(page.contains("\ngateway_store_entries 1\n"), "the count of one client: {page}");
}

#[tokio::test]
async fn an_address_that_two_names_lead_to_is_one_series() {
    let upstream = Upstream::echo().await;
    let port = upstream.address().port();
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://localhost:{port}', 'http://127.0.0.1:{port}'] }} }}
routes: [{{ name: all, upstream: it }}]
"
    ))
    .await;
    assert_eq!(gateway.get("/").await.status, 200);
    let page = gateway.metrics().await;
    let series = format!("gateway_endpoint_up{{upstream=\"it\",endpoint=\"127.0.0.1:{port}\"}} ");
    assert_eq!(page.lines().filter(|line| line.starts_with(&series)).count(), 1, "{page}");
}
