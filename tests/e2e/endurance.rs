//! Ten thousand requests through five plugins, over HTTP/1.1 and HTTP/2, with reloads on the way and not one error.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    eventually,
    token::{Key, now},
};

const REQUESTS: usize = 10_000;
/// HTTP/1.1, each on a connection of its own.
const CONNECTIONS: usize = 4;
/// HTTP/2, on two connections.
const STREAMS: usize = 12;
const RELOADS: usize = 4;
const INSTANCES: u64 = 8;

/// One to five plugins: access-log, jwt, rate-limit and two of transform.
fn yaml(upstream: &Upstream, key: &Key, generation: usize) -> String {
    let jwt = json!({ "keys": [key.config("k")], "forward": false, "claims-to-headers": { "x-user": "sub" } });
    let limit = json!({ "limit": 1_000_000, "per": "1m", "key": { "attribute": "jwt.sub" } });
    let request =
        json!({ "request": { "remove-headers": ["x-debug"], "path": { "rewrite": "/v2/orders/{path.id}" } } });
    let response = json!({ "response": { "set-headers": { "x-generation": generation.to_string(), "x-for": "{attribute.jwt.sub}" } } });
    let limits = format!("{{ limits: {{ instances: {INSTANCES}, time: 10s }} }}");
    format!(
        "sinks: {{ access: {{ file: access.log }} }}
upstreams: {{ orders: {{ endpoints: ['http://{}'] }} }}
plugins: {{ jwt: {limits}, rate-limit: {limits}, transform: {limits}, access-log: {limits} }}
global-plugins: [{{ name: access-log, config: {{ sink: access }} }}]
routes:
  - name: order
    match: {{ path: '/orders/{{id}}' }}
    plugins:
      - {{ name: jwt, config: {jwt} }}
      - {{ name: rate-limit, config: {limit} }}
      - {{ name: transform, config: {request} }}
      - {{ name: transform, config: {response} }}
    upstream: orders
",
        upstream.address()
    )
}

/// Sends its share of the requests and checks every answer.
async fn ask(mut client: Client, user: String, token: String, turns: Arc<AtomicUsize>) {
    loop {
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        if turn >= REQUESTS {
            return;
        }
        let request = Request::post(&format!("/orders/{turn}"), turn.to_string())
            .header("authorization", &format!("Bearer {token}"))
            .header("x-debug", "1");
        let response = client.send(request).await;
        assert_eq!(response.status, 200, "request {turn}: {}", response.text());
        let seen = response.json();
        assert_eq!(seen["target"], format!("/v2/orders/{turn}"));
        assert_eq!(seen["body"], turn.to_string());
        assert_eq!(response.upstream_saw("x-user"), [user.as_str()]);
        assert_eq!(response.header("x-for"), user);
        assert!(response.upstream_saw("x-debug").is_empty() && response.upstream_saw("authorization").is_empty());
        assert!(!response.header("ratelimit").is_empty() && !response.header("x-generation").is_empty());
    }
}

#[tokio::test]
async fn ten_thousand_requests_through_five_plugins_have_not_one_error() {
    let upstream = Upstream::echo().await;
    let key = Key::p256();
    let mut gateway = TestGateway::start(&yaml(&upstream, &key, 0)).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(gateway.address()).await);
    }
    for _ in 0..2 {
        let http2 = Client::connect_http2(gateway.address()).await;
        clients.extend((0..STREAMS / 2).map(|_| http2.share()));
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let clients = clients.into_iter().enumerate().map(|(number, client)| {
        let user = format!("user-{number}");
        let token = key.token("k", &json!({ "sub": user, "exp": now() + 3600 }));
        tokio::spawn(ask(client, user, token, turns.clone()))
    });
    let clients: Vec<_> = clients.collect();

    for generation in 1..=RELOADS {
        let due = generation * REQUESTS / (RELOADS + 1);
        eventually("some requests have been sent", async || {
            turns.load(Ordering::SeqCst) >= due || clients.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
        gateway.reload(&yaml(&upstream, &key, generation)).await.unwrap();
        let metrics = gateway.metrics().await;
        for plugin in ["jwt", "rate-limit", "transform", "access-log"] {
            let series = format!("gateway_wasm_instances{{plugin=\"{plugin}\"}} ");
            let instances = metrics.lines().find_map(|line| line.strip_prefix(&series)).expect("a gauge");
            // `transform` has two configurations, and those of the generation before may still be there.
            assert!(instances.parse::<u64>().unwrap() <= 4 * INSTANCES, "{series}{instances}");
        }
    }
    for client in clients {
        client.await.expect("no error");
    }

    assert_eq!(upstream.requests(), REQUESTS);
    let metrics = gateway.metrics().await;
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "no {line} in {metrics}");
    has(&format!(
        "gateway_requests_total{{route=\"order\",method=\"POST\",status_class=\"2xx\",code=\"200\"}} {REQUESTS}"
    ));
    has(&format!("gateway_config_reloads_total{{result=\"ok\"}} {RELOADS}"));
    for failure in metrics.lines().filter(|line| line.contains("_failures_total{")) {
        assert!(failure.ends_with(" 0"), "{failure}");
    }
    let file = gateway.folder().join("access.log");
    let lines = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    eventually("every request has its line", async || lines() == REQUESTS).await;
    let written = [("sink", "access"), ("result", "written")];
    let counted = async || gateway.metric("gateway_sink_lines_total", &written).await == Some(REQUESTS as u64);
    eventually("every line is counted", counted).await;
}
