//! Calls that wait for Redis or for an upstream: each is made once, holds up no other route, and ends with its client.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, guests, redis::Redis};

/// `counting` on a route that responds by itself, with its bucket in Redis, and a route beside it.
async fn counting(redis: &Redis, config: &str, service: std::net::SocketAddr) -> TestGateway {
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}
plugins: {{ counting: {{ component: counting.wasm, grants: {{ store: [sums], upstreams: [service] }} }} }}
upstreams: {{ service: {{ endpoints: ['http://{service}'] }} }}
routes:
  - {{ name: counted, plugins: [{{ name: counting, config: {{ bucket: sums, upstream: service, {config} }} }}], respond: {{}} }}
  - {{ name: other, match: {{ path: /other }}, plugins: [{{ name: transform, config: {{ response: {{ set-headers: {{ x-a: b }} }} }} }}], respond: {{}} }}
",
        redis.url()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    eventually("Redis being connected", async || gateway.metrics().await.contains("\ngateway_redis_up 1\n")).await;
    gateway
}

async fn in_progress(gateway: &TestGateway) -> u64 {
    gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "counting")]).await.unwrap_or(0)
}

#[tokio::test]
async fn two_counters_that_are_incremented_before_either_is_read_are_incremented_once() {
    let (redis, service) = (Redis::start().await, Upstream::echo().await);
    let gateway = counting(&redis, "do: count-twice", service.address()).await;
    for number in 1..=10 {
        assert_eq!(gateway.get("/").await.text(), format!("{number} {number}"));
    }
}

#[tokio::test]
async fn a_service_that_is_called_before_a_counter_in_redis_is_called_once() {
    let (redis, service) = (Redis::start().await, Upstream::echo().await);
    let gateway = counting(&redis, "do: call-then-count", service.address()).await;
    for number in 1..=10 {
        assert_eq!(gateway.get("/").await.text(), format!("200 {number}"));
    }
    assert_eq!(service.requests(), 10);
}

#[tokio::test]
async fn a_client_that_leaves_while_redis_is_frozen_ends_its_call_and_nothing_is_counted_twice() {
    let (mut redis, service) = (Redis::start().await, Upstream::echo().await);
    let gateway = counting(&redis, "do: count-twice", service.address()).await;
    assert_eq!(gateway.get("/").await.text(), "1 1");
    redis.signal("STOP").await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("the call waiting", async || in_progress(&gateway).await == 1).await;
    assert_eq!(gateway.get("/other").await.header("x-a"), "b", "other routes go on");
    drop(stream);
    eventually("the call ending", async || in_progress(&gateway).await == 0).await;
    let instances = async || gateway.metric("gateway_wasm_instances", &[("plugin", "counting")]).await;
    assert_eq!(instances().await, Some(0), "its instance is not used again");
    redis.signal("CONT").await;
    // The first increment had been sent; the second one would have come after it.
    assert_eq!(gateway.get("/").await.text(), "3 2");
}

#[tokio::test]
async fn redis_that_is_killed_in_the_middle_of_a_call_is_an_error_of_that_call() {
    let (mut redis, gate) = (Redis::start().await, Gate::answering("").await);
    let gateway = counting(&redis, "do: call-then-count", gate.address()).await;
    let address = gateway.address();
    let request = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    gate.arrivals(1).await;
    redis.signal("KILL").await;
    gate.release(1);
    let response = request.await.unwrap();
    assert_eq!(response.status, 500, "{}", response.text());
    let failures = [("plugin", "counting"), ("kind", "error")];
    assert_eq!(gateway.metric("gateway_wasm_failures_total", &failures).await, Some(1));
    assert_eq!(gateway.get("/other").await.status, 200);
}

#[tokio::test]
async fn hundreds_of_calls_wait_for_a_service_at_a_time_and_other_routes_go_on() {
    const CALLS: u32 = 300;
    let (redis, gate) = (Redis::start().await, Gate::answering("").await);
    let gateway = counting(&redis, "do: call-then-count", gate.address()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let address = gateway.address();
        calls.spawn(async move { Client::connect(address).await.send(Request::get("/")).await.text() });
    }
    gate.arrivals(CALLS).await;
    assert_eq!(in_progress(&gateway).await, u64::from(CALLS));
    assert_eq!(gateway.get("/other").await.header("x-a"), "b");
    gate.release(CALLS as usize);
    let mut sums: Vec<u32> = calls.join_all().await.iter().map(|text| text["200 ".len()..].parse().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=CALLS).collect::<Vec<_>>(), "each is counted once");
}

#[tokio::test]
async fn a_request_body_is_changed_as_it_passes_and_its_last_state_reaches_the_completion_phase() {
    let echo = Upstream::echo().await;
    let yaml = format!(
        "plugins: {{ counting: {{ component: counting.wasm, grants: {{ store: [sums], upstreams: [echo] }} }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: counting, config: {{ do: count-bytes }} }}], upstream: echo }}]
",
        echo.address()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let response = gateway.send(Request::post("/", b"some bytes".to_vec())).await;
    assert_eq!(response.status, 200);
    assert!(response.text().contains("SOME BYTES"), "{}", response.text());
    eventually("the state", async || gateway.metric("gateway_plugin_streamed_bytes_total", &[]).await == Some(10))
        .await;
    let response = gateway.get("/").await;
    assert_eq!(response.status, 200, "a request without a body passes as it is");
}

#[tokio::test]
async fn with_isolation_chunks_go_to_the_instance_of_the_exchange() {
    let echo = Upstream::echo().await;
    let yaml = format!(
        "plugins:
  counting: {{ component: counting.wasm, isolation: request, grants: {{ store: [sums], upstreams: [echo] }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: counting, config: {{ do: count-bytes }} }}], upstream: echo }}]
",
        echo.address()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let created = async || gateway.metric("gateway_wasm_instances_created_total", &[("plugin", "counting")]).await;
    for exchanges in 1..4 {
        let response = gateway.send(Request::post("/", b"some bytes".to_vec())).await;
        assert!(response.text().contains("SOME BYTES"), "{}", response.text());
        eventually("the completion phase", async || {
            gateway.metric("gateway_plugin_streamed_bytes_total", &[]).await == Some(10 * exchanges)
        })
        .await;
        assert_eq!(created().await, Some(exchanges), "one for all phases and chunks");
    }
    // A request without a body has no chunks, and its phases share an instance too.
    assert_eq!(gateway.get("/").await.status, 200);
    eventually("the end of the exchange", async || {
        gateway.metric("gateway_wasm_instances", &[("plugin", "counting")]).await == Some(0)
    })
    .await;
    assert_eq!(created().await, Some(4));
}

#[tokio::test]
async fn a_plugin_that_fails_with_a_chunk_of_a_request_is_responsible_and_not_the_endpoint() {
    let echo = Upstream::echo().await;
    let gateway = without_redis("do: fail-with-chunk", &echo, &echo).await;
    for _ in 0..10 {
        let response = gateway.send(Request::post("/", b"some bytes".to_vec())).await;
        assert_eq!(response.status, 500, "{}", response.text());
    }
    assert_eq!(gateway.get("/").await.status, 200, "the endpoint is not ejected");
}

#[tokio::test]
async fn a_decision_whose_function_is_not_exported_is_a_failure_of_the_plugin() {
    let echo = Upstream::echo().await;
    let gateway = without_redis("do: read-body", &echo, &echo).await;
    assert_eq!(gateway.send(Request::post("/", b"some bytes".to_vec())).await.status, 500);
    let failures = [("plugin", "counting"), ("kind", "error")];
    assert_eq!(gateway.metric("gateway_wasm_failures_total", &failures).await, Some(1));
    assert_eq!(echo.requests(), 0);
}

#[tokio::test]
async fn a_plugin_chooses_the_upstream_among_those_that_it_is_granted() {
    let (own, canary) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = without_redis("do: select", &own, &canary).await;
    let to = async |name: &str| gateway.send(Request::get("/").header("x-upstream", name)).await;
    assert_eq!(to("canary").await.status, 200);
    assert_eq!((own.requests(), canary.requests()), (0, 1));
    assert_eq!(to("own").await.status, 200);
    assert_eq!((own.requests(), canary.requests()), (1, 1));
    for denied in ["others", "unknown"] {
        let response = to(denied).await;
        assert_eq!(response.status, 403, "{denied}");
        assert!(response.text().contains(denied), "{}", response.text());
    }
    let response = gateway.send(Request::get("/local").header("x-upstream", "canary")).await;
    assert_eq!(response.status, 403, "a route that responds by itself leads to no upstream: {}", response.text());
}

/// `counting` on a route to `own`, granted `own` and `canary`; `others` is not granted.
async fn without_redis(config: &str, own: &Upstream, canary: &Upstream) -> TestGateway {
    let yaml = format!(
        "plugins: {{ counting: {{ component: counting.wasm, grants: {{ store: [sums], upstreams: [own, canary] }} }} }}
upstreams:
  own: {{ endpoints: ['http://{own}'] }}
  canary: {{ endpoints: ['http://{canary}'] }}
  others: {{ endpoints: ['http://{canary}'] }}
routes:
  - {{ name: all, plugins: [{{ name: counting, config: {{ {config} }} }}], upstream: own }}
  - {{ name: local, match: {{ path: /local }}, plugins: [{{ name: counting, config: {{ {config} }} }}], respond: {{}} }}
",
        own = own.address(),
        canary = canary.address()
    );
    TestGateway::start_in(guests::folder(), &yaml).await
}
