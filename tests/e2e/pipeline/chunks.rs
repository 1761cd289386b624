//! What plugins do with chunks of a request body: whose time it is, and trailers that they add.

use std::time::Instant;

use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, guests};

/// `counting` with this deed before the upstream `app`; it may call `service`.
async fn streaming(deed: &str, app: std::net::SocketAddr, service: std::net::SocketAddr) -> TestGateway {
    let yaml = format!(
        "plugins: {{ counting: {{ component: counting.wasm, grants: {{ store: [b], upstreams: [service] }} }} }}
upstreams: {{ app: {{ endpoints: ['http://{app}'] }}, service: {{ endpoints: ['http://{service}'] }} }}
routes: [{{ name: all, plugins: [{{ name: counting, config: {{ do: {deed}, upstream: service }} }}], upstream: app }}]"
    );
    TestGateway::start_in(guests::folder(), &yaml).await
}

#[tokio::test]
async fn the_time_of_a_chunk_that_a_plugin_has_is_not_the_upstreams() {
    let (app, service) = (Upstream::echo().await, Gate::answering("late").await);
    let gateway = streaming("call-with-chunk", app.address(), service.address()).await;
    let address = gateway.address();
    let request = tokio::spawn(async move { Client::connect(address).await.send(Request::post("/", "body")).await });
    service.arrivals(1).await;
    let held = Instant::now();
    eventually("time", async || held.elapsed().as_millis() > 700).await;
    let held = u64::try_from(held.elapsed().as_micros()).unwrap();
    service.release(1_000);
    let response = request.await.expect("no panic");
    assert_eq!((response.status.as_u16(), &response.json()["body"]), (200, &"BODY".into()));
    let counted = async |name: &str| gateway.metric(&format!("gateway_plugin_{name}_total"), &[]).await;
    eventually("the completion phase", async || counted("took_us").await.is_some()).await;
    let took = counted("took_us").await.unwrap();
    let (upstream, plugins) = (counted("upstream_us").await.unwrap(), counted("plugins_us").await.unwrap());
    assert!(plugins >= held && upstream <= took - held, "{held} of {took}: upstream {upstream}, plugins {plugins}");
    let page = gateway.metrics().await;
    let sum =
        page.lines().find_map(|line| line.strip_prefix("gateway_upstream_duration_seconds_sum{upstream=\"app\"} "));
    let sum: f64 = sum.expect("the upstream's histogram").parse().unwrap();
    assert!(sum * 1e6 <= (took - held) as f64, "{held} of {took}: {sum}");
}

#[tokio::test]
async fn a_trailer_that_a_plugin_adds_to_a_request_reaches_the_upstream_unannounced() {
    let app = Upstream::echo().await;
    let gateway = streaming("add-trailer", app.address(), app.address()).await;
    for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
        let response = client.send(Request::post("/", "body")).await;
        assert_eq!(response.json()["trailers"], serde_json::json!([["x-bytes", "4"]]), "{}", response.text());
    }
}
