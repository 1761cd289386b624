//! The rate-limit plugin where its unit tests cannot see: across workers, connections and reloads.

use std::net::SocketAddr;

use crate::support::{Client, TestGateway, Upstream, client::Request};

fn limited(upstream: SocketAddr, config: &str) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{}}, upstream: echo, plugins: [{{ name: rate-limit, config: {config} }}] }}]
"
    )
}

/// How many of so many requests pass, each on a connection of its own, which any worker may get.
async fn passed(gateway: &TestGateway, requests: usize) -> usize {
    let address = gateway.address();
    let one = || async move { Client::connect(address).await.send(Request::get("/")).await.status == 200 };
    let all: Vec<_> = (0..requests).map(|_| tokio::spawn(one())).collect();
    let mut passed = 0;
    for one in all {
        passed += usize::from(one.await.expect("no panic"));
    }
    passed
}

#[tokio::test]
async fn all_workers_count_together() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&limited(upstream.address(), "{ limit: 20, per: 1d }")).await;
    assert_eq!(passed(&gateway, 60).await, 20);
    assert_eq!(upstream.requests(), 20);
    let metrics = gateway.metrics().await;
    let denied = metrics.lines().find(|line| line.starts_with("gateway_plugin_rate_limit_denied_total{"));
    assert!(denied.is_some_and(|line| line.ends_with(" 40")), "{denied:?}");
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&limited(upstream.address(), "{ limit: 1, per: 1d, headers: both }")).await;
    let allowed = gateway.get("/").await;
    assert_eq!(allowed.header("ratelimit-policy"), r#""default";q=1;w=86400"#);
    assert!(allowed.header("ratelimit").starts_with(r#""default";r=0;t=86"#), "{:?}", allowed.headers);
    assert_eq!(allowed.header("x-ratelimit-remaining"), "0");
    let refused = gateway.get("/").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (86_000..=86_400).contains(&seconds)));
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["default"]));
    assert_eq!(refused.json()["request-id"], refused.header("x-request-id"));
}

#[tokio::test]
async fn a_reload_does_not_give_units_back() {
    let upstream = Upstream::echo().await;
    let mut gateway = TestGateway::start(&limited(upstream.address(), "{ limit: 5, per: 1d }")).await;
    assert_eq!(passed(&gateway, 5).await, 5);
    gateway.reload(&limited(upstream.address(), "{ limit: 6, per: 1d }")).await.unwrap();
    assert_eq!(passed(&gateway, 5).await, 1);
}

#[tokio::test]
async fn a_bucket_that_is_not_granted_stops_the_start() {
    let upstream = Upstream::echo().await;
    let grants = "plugins: { rate-limit: { grants: { store: [other] } } }\n";
    let text = format!("{grants}{}", limited(upstream.address(), "{ limit: 1, per: 1m }"));
    let problems = TestGateway::try_start(&text).await.err().expect("it should not start").to_string();
    assert!(problems.contains("the bucket `rate-limit` is not granted"), "{problems}");
}
