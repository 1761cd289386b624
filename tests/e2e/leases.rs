//! Leases that gateways hold in a real Redis for as long as their exchanges last: `concurrency`, and a plugin that traps.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};
use tokio_tungstenite::client_async;

use crate::support::{
    Client, Gate, Process, TestGateway, client::Request, eventually, guests, in_time, raw, redis::Redis,
};

/// The holders of the one key of `configuration`.
const KEY: &str = "gateway:concurrency:l:{.route=all/all}";

/// A route with a limit of its own, and its state in Redis. The first route says whether Redis is there.
fn configuration(redis: &Redis, gate: &Gate, timeout: &str, limit: &serde_json::Value) -> String {
    format!(
        "state: {{ backend: {{ redis: {{ url: '{}', timeout: {timeout} }} }} }}
upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 100000, per: 1h }} }}], respond: {{}} }}
  - {{ name: all, plugins: [{{ name: concurrency, config: {limit} }}], upstream: gate }}
",
        redis.url(),
        gate.address()
    )
}

async fn status(address: SocketAddr) -> u16 {
    Client::connect(address).await.send(Request::get("/")).await.status.as_u16()
}

/// A request that is in progress until the gate lets it pass.
fn begun(address: SocketAddr) -> JoinHandle<u16> {
    tokio::spawn(status(address))
}

async fn connected(gateway: SocketAddr) {
    let is_counted =
        async || !Client::connect(gateway).await.send(Request::get("/warm")).await.header("ratelimit").is_empty();
    eventually("the gateway being connected", is_counted).await;
}

/// Waits until so many hold the key.
async fn holders(redis: &Redis, number: usize) {
    let expected = format!(":{number}");
    eventually("the holders", async || redis.ask(&format!("ZCARD {KEY}")).await == expected).await;
}

#[tokio::test]
async fn requests_of_a_gateway_that_was_killed_stop_counting_when_their_leases_end() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let limit = json!({ "limit": 2, "key": "route", "lease-ttl": "1s" });
    let yaml = configuration(&redis, &gate, "5s", &limit);
    let folder = TempDir::new().unwrap();
    let file = format!("workers: 1\nlisteners: [{{ address: '127.0.0.1:0' }}]\n{yaml}");
    std::fs::write(folder.path().join("gateway.yaml"), file).unwrap();
    let mut processes = [(); 2].map(|()| Process::start(folder.path(), ["run", "-c", "gateway.yaml"]));
    let mut addresses = Vec::new();
    for process in &mut processes {
        process.logged("redis state backend available").await;
        addresses.push(process.addresses().await[0]);
    }
    let held = [begun(addresses[0]), begun(addresses[0])];
    gate.arrivals(2).await;
    assert_eq!([status(addresses[0]).await, status(addresses[1]).await], [429, 429], "they share the limit");
    processes[0].signal("KILL");
    gate.release(1_000);
    eventually("the places being free", async || status(addresses[1]).await == 200).await;
    for held in held {
        held.abort();
    }
}

#[tokio::test]
async fn a_request_longer_than_its_lease_keeps_its_place_and_frees_it_at_its_end() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let limit = json!({ "limit": 1, "key": "route", "lease-ttl": "2s" });
    let gateway = TestGateway::start(&configuration(&redis, &gate, "5s", &limit)).await;
    connected(gateway.address()).await;
    let held = begun(gateway.address());
    gate.arrivals(1).await;
    // The time at which its lease would have ended.
    let end = redis.bulk(&format!("EVAL \"return redis.call('ZRANGE',KEYS[1],0,0,'WITHSCORES')[2]\" 1 {KEY}")).await;
    let later = end.parse::<f64>().expect("a time") + 1_000_000.0;
    let renewed = format!("ZCOUNT {KEY} {later:.0} +inf");
    eventually("renewals", async || redis.ask(&renewed).await == ":1").await;
    assert_eq!(status(gateway.address()).await, 429);
    gate.release(1);
    assert_eq!(in_time("the response", held).await.unwrap(), 200);
    holders(&redis, 0).await;
    assert_eq!(redis.ask(&format!("EXISTS {KEY}")).await, ":0");
}

#[tokio::test]
async fn requests_in_progress_count_again_in_a_redis_that_has_lost_them() {
    let (mut redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let limit = json!({ "limit": 2, "key": "route", "lease-ttl": "1s" });
    let gateway = TestGateway::start(&configuration(&redis, &gate, "5s", &limit)).await;
    connected(gateway.address()).await;
    let held = [begun(gateway.address()), begun(gateway.address())];
    gate.arrivals(2).await;
    redis.signal("KILL").await;
    // Meanwhile the limit does not apply, as it is configured.
    let uncounted = begun(gateway.address());
    gate.arrivals(1).await;
    redis.start_again().await;
    holders(&redis, 2).await;
    assert_eq!(status(gateway.address()).await, 429);
    gate.release(1_000);
    for held in held.into_iter().chain([uncounted]) {
        assert_eq!(in_time("the response", held).await.unwrap(), 200);
    }
    holders(&redis, 0).await;
    assert_eq!(status(gateway.address()).await, 200);
}

#[tokio::test]
async fn while_redis_is_unavailable_requests_are_limited_as_configured() {
    for (way, expected) in [("allow", 200), ("deny", 503), ("local", 429)] {
        let (mut redis, gate) = (Redis::start().await, Gate::answering("late").await);
        let limit = json!({ "limit": 1, "key": "route", "on-store-failure": way });
        let gateway = TestGateway::start(&configuration(&redis, &gate, "5s", &limit)).await;
        connected(gateway.address()).await;
        redis.signal("KILL").await;
        let warm = async || gateway.get("/warm").await.header("ratelimit").is_empty();
        eventually("it being known", warm).await;
        let first = begun(gateway.address());
        if way == "deny" {
            assert_eq!(in_time("the response", first).await.unwrap(), expected);
            continue;
        }
        gate.arrivals(1).await;
        let second = begun(gateway.address());
        if way == "allow" {
            gate.arrivals(1).await;
        } else {
            assert_eq!(in_time("the response", second).await.unwrap(), expected, "{way}");
            gate.release(1_000);
            assert_eq!(in_time("the response", first).await.unwrap(), 200);
            eventually("the place being free", async || status(gateway.address()).await == 200).await;
            continue;
        }
        gate.release(1_000);
        assert_eq!(in_time("the response", second).await.unwrap(), expected, "{way}");
    }
}

#[tokio::test]
async fn a_lost_reply_counts_no_longer_than_its_request() {
    let (mut redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let limit = json!({ "limit": 1, "key": "route", "lease-ttl": "1s" });
    let gateway = TestGateway::start(&configuration(&redis, &gate, "100ms", &limit)).await;
    connected(gateway.address()).await;
    redis.signal("STOP").await;
    // It is counted when Redis reads what was sent, and passes meanwhile.
    let uncounted = begun(gateway.address());
    gate.arrivals(1).await;
    redis.signal("CONT").await;
    connected(gateway.address()).await;
    gate.release(1_000);
    assert_eq!(in_time("the response", uncounted).await.unwrap(), 200);
    eventually("the place being free", async || status(gateway.address()).await == 200).await;
    holders(&redis, 0).await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_redis_does_not_answer_holds_no_place() {
    for on_error in ["fail", "skip"] {
        let (mut redis, gate) = (Redis::start().await, Gate::answering("late").await);
        let limit = json!({ "limit": 1, "key": "route", "lease-ttl": "1s" });
        let yaml = configuration(&redis, &gate, "10s", &limit);
        let yaml = yaml.replace(&limit.to_string(), &format!("{limit}, on-error: {on_error}"));
        let gateway = TestGateway::start(&yaml).await;
        connected(gateway.address()).await;
        gate.release(1_000);
        let waiting = async || gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "concurrency")]).await;
        redis.signal("STOP").await;
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        eventually("the call waiting", async || waiting().await == Some(1)).await;
        drop(stream);
        eventually("the call's end", async || waiting().await == Some(0)).await;
        redis.signal("CONT").await;
        eventually("the place being free", async || status(gateway.address()).await == 200).await;
        holders(&redis, 0).await;
    }
}

#[tokio::test]
async fn a_lease_outlives_the_configuration_and_ends_with_its_exchange() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let limit = json!({ "limit": 1, "key": "route", "lease-ttl": "1s" });
    let yaml = configuration(&redis, &gate, "5s", &limit);
    let mut gateway = TestGateway::start(&yaml).await;
    connected(gateway.address()).await;
    let held = begun(gateway.address());
    gate.arrivals(1).await;
    let without = yaml.replace(&format!("{{ name: concurrency, config: {limit} }}"), "");
    assert_ne!(without, yaml);
    gateway.reload(&without).await.unwrap();
    let waited = Instant::now();
    // Longer than the lease without renewals.
    eventually("time", async || waited.elapsed() > Duration::from_millis(1_500)).await;
    assert_eq!(redis.ask(&format!("ZCARD {KEY}")).await, ":1");
    gate.release(1);
    assert_eq!(in_time("the response", held).await.unwrap(), 200);
    holders(&redis, 0).await;
}

#[tokio::test]
async fn a_web_socket_keeps_its_place_until_it_ends() {
    let redis = Redis::start().await;
    for state in
        ["".to_owned(), format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 5s }} }} }}\n", redis.url())]
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut sockets = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                sockets.extend(tokio_tungstenite::accept_async(stream).await);
            }
        });
        let gateway = TestGateway::start(&format!(
            "{state}upstreams: {{ ws: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 100000, per: 1h }} }}], respond: {{}} }}
  - {{ name: all, plugins: [{{ name: concurrency, config: {{ limit: 1, key: route, lease-ttl: 1s }} }}], upstream: ws, upgrades: [websocket] }}
"
        ))
        .await;
        connected(gateway.address()).await;
        let connect = async || {
            let stream = TcpStream::connect(gateway.address()).await.unwrap();
            in_time("the handshake", client_async("ws://example.com/", stream)).await
        };
        let (socket, _) = connect().await.expect("a web socket");
        let began = Instant::now();
        eventually("the lease having been renewed", async || {
            assert!(connect().await.is_err(), "the place was free");
            began.elapsed() > Duration::from_millis(1_500)
        })
        .await;
        drop(socket);
        eventually("the place being free", async || connect().await.is_ok()).await;
        accepting.abort();
    }
}

#[tokio::test]
async fn a_plugin_that_traps_after_it_acquired_a_lease_holds_it_until_the_exchange_ends() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    for state in
        ["".to_owned(), format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 5s }} }} }}\n", redis.url())]
    {
        let yaml = format!(
            "{}{state}upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
plugins:
  {}
routes:
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 100000, per: 1h }} }}], respond: {{}} }}
  - {{ name: skips, match: {{ path: /skips }}, plugins: [{{ name: naughty, config: {{ do: acquire-then-trap, with: own }}, on-error: skip }}], upstream: gate }}
  - {{ name: fails, match: {{ path: /fails }}, plugins: [{{ name: naughty, config: {{ do: acquire-then-trap, with: own }} }}], upstream: gate }}
  - {{ name: asks, match: {{ path: /asks }}, plugins: [{{ name: naughty, config: {{ do: acquire-and-release, with: own, phase: response }} }}], respond: {{}} }}
",
            guests::OWN,
            gate.address(),
            guests::naughty(""),
        );
        let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
        connected(gateway.address()).await;
        let place = async || gateway.get("/asks").await.header("x-out").to_owned();
        assert_eq!([place().await, place().await], ["held", "held"], "it is released by the plugin");
        let address = gateway.address();
        let skipped = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/skips")).await });
        gate.arrivals(1).await;
        assert_eq!(place().await, "full", "the exchange lasts, without the plugin");
        gate.release(1);
        assert_eq!(in_time("the response", skipped).await.unwrap().status, 200);
        eventually("the place being free", async || place().await == "held").await;
        assert_eq!(gateway.get("/fails").await.status, 500);
        eventually("the place being free", async || place().await == "held").await;
    }
}

#[tokio::test]
async fn a_lease_that_was_acquired_without_an_exchange_ends_by_its_time_to_live() {
    let gate = Gate::answering("late").await;
    gate.release(1_000);
    let yaml = format!(
        "{}upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
plugins:
  {}
routes:
  - {{ name: chunks, match: {{ path: /chunks }}, plugins: [{{ name: naughty, config: {{ do: acquire, with: own, phase: part }} }}], upstream: gate }}
  - {{ name: asks, match: {{ path: /asks }}, plugins: [{{ name: naughty, config: {{ do: acquire-and-release, with: own, phase: response }} }}], respond: {{}} }}
",
        guests::OWN,
        gate.address(),
        guests::naughty(""),
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    assert_eq!(gateway.get("/asks").await.header("x-out"), "held");
    let began = Instant::now();
    assert!(
        raw::exchange(gateway.address(), b"GET /chunks HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .contains("late")
    );
    let is_full = gateway.get("/asks").await.header("x-out") == "full";
    assert!(is_full || began.elapsed() > Duration::from_secs(1));
    eventually("the place being free", async || gateway.get("/asks").await.header("x-out") == "held").await;
}
