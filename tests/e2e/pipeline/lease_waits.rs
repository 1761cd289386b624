//! Requests that wait for a lease: without an instance, in their order or all together, and whatever frees the key.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

use crate::support::{Client, Gate, TestGateway, client::Request, eventually, guests, in_time, redis::Redis};

/// The holders of the one key, in Redis.
const KEY: &str = "gateway:queues:l:{.queue}";

/// `counting` with one instance, before an upstream that answers when it is told to.
async fn queueing(redis: Option<&Redis>, gate: &Gate, deed: &str) -> TestGateway {
    let state = redis.map_or(String::new(), |redis| {
        format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}", redis.url())
    });
    let yaml = format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
{state}
plugins: {{ counting: {{ component: counting.wasm, grants: {{ store: [queues], upstreams: [gate] }}, limits: {{ instances: 1 }} }} }}
upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: queued, plugins: [{{ name: counting, config: {{ bucket: queues, do: {deed} }} }}], upstream: gate }}
",
        gate.address()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    if redis.is_some() {
        eventually("Redis being connected", async || gateway.metrics().await.contains("\ngateway_redis_up 1\n")).await;
    }
    gateway
}

fn begun(gateway: &TestGateway) -> JoinHandle<u16> {
    let address = gateway.address();
    tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status.as_u16() })
}

async fn gauge(gateway: &TestGateway, name: &str) -> u64 {
    gateway.metric(name, &[("bucket", "queues")]).await.unwrap_or(0)
}

async fn waiting(gateway: &TestGateway, number: u64) {
    let counted = async || gauge(gateway, "gateway_store_lease_waiters").await == number;
    eventually("the requests that wait", counted).await;
}

#[tokio::test]
async fn requests_wait_for_a_lease_without_an_instance_and_get_it_in_their_order() {
    let redis = Redis::start().await;
    for redis in [None, Some(&redis)] {
        let gate = Gate::answering("late").await;
        let gateway = queueing(redis, &gate, "queue").await;
        let mut requests = vec![begun(&gateway)];
        gate.arrivals(1).await;
        for number in 1..=3 {
            requests.push(begun(&gateway));
            waiting(&gateway, number).await;
        }
        assert_eq!(gauge(&gateway, "gateway_store_leases").await, 1);
        assert_eq!(gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "counting")]).await, Some(0));
        for (request, left) in requests.into_iter().zip([2, 1, 0, 0]) {
            gate.release(1);
            assert_eq!(in_time("the response", request).await.unwrap(), 200);
            waiting(&gateway, left).await;
        }
        eventually("no lease", async || gauge(&gateway, "gateway_store_leases").await == 0).await;
    }
}

#[tokio::test]
async fn requests_that_need_only_the_result_continue_together() {
    let redis = Redis::start().await;
    for redis in [None, Some(&redis)] {
        let gate = Gate::answering("late").await;
        let gateway = queueing(redis, &gate, "follow").await;
        let holder = begun(&gateway);
        gate.arrivals(1).await;
        let others: Vec<_> = (0..10).map(|_| begun(&gateway)).collect();
        waiting(&gateway, 10).await;
        gate.release(1);
        assert_eq!(in_time("the response", holder).await.unwrap(), 200);
        gate.arrivals(10).await;
        gate.release(10);
        for other in others {
            assert_eq!(in_time("the response", other).await.unwrap(), 200);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_a_lease_leaves_its_place() {
    let redis = Redis::start().await;
    for redis in [None, Some(&redis)] {
        let gate = Gate::answering("late").await;
        let gateway = queueing(redis, &gate, "queue").await;
        let holder = begun(&gateway);
        gate.arrivals(1).await;
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        waiting(&gateway, 1).await;
        let later = begun(&gateway);
        waiting(&gateway, 2).await;
        drop(stream);
        waiting(&gateway, 1).await;
        gate.release(2);
        assert_eq!(in_time("the response", holder).await.unwrap(), 200);
        assert_eq!(in_time("the response", later).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_release_by_another_gateway_and_the_end_of_a_lease_are_noticed() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let first = queueing(Some(&redis), &gate, "queue").await;
    let second = queueing(Some(&redis), &gate, "queue").await;
    let holder = begun(&first);
    gate.arrivals(1).await;
    let waits = begun(&second);
    waiting(&second, 1).await;
    gate.release(2);
    assert_eq!(in_time("the response", holder).await.unwrap(), 200);
    assert_eq!(in_time("the response", waits).await.unwrap(), 200);
    // A gateway that was killed has left a lease that ends soon.
    let in_a_second =
        "local t = redis.call('TIME') return redis.call('ZADD', KEYS[1], (t[1] + 1) * 1000000 + t[2], 'x')";
    assert_eq!(redis.ask(&format!("EVAL \"{in_a_second}\" 1 {KEY}")).await, ":1");
    gate.release(1);
    assert_eq!(in_time("the response", begun(&second)).await.unwrap(), 200);
}

#[tokio::test]
async fn many_requests_that_wait_for_a_key_ask_redis_as_often_as_one() {
    let (redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let gateway = queueing(Some(&redis), &gate, "follow").await;
    let holder = begun(&gateway);
    gate.arrivals(1).await;
    let others: Vec<_> = (0..30).map(|_| begun(&gateway)).collect();
    waiting(&gateway, 30).await;
    let looks = async |number: u64| {
        redis.ask("CONFIG RESETSTAT").await;
        let since = Instant::now();
        eventually("looks at the key", async || {
            let calls = "string.match(redis.call('INFO', 'commandstats'), 'cmdstat_zcount:calls=(%d+)')";
            let calls = redis.bulk(&format!("EVAL \"return {calls} or '0'\" 0")).await;
            calls.parse::<u64>().unwrap() >= number
        })
        .await;
        since.elapsed()
    };
    // At first they come soon after each other.
    looks(10).await;
    let took = looks(4).await;
    assert!(took > Duration::from_millis(600), "{took:?}");
    gate.release(31);
    for request in others.into_iter().chain([holder]) {
        assert_eq!(in_time("the response", request).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn requests_that_wait_for_a_lease_continue_when_redis_is_lost() {
    let (mut redis, gate) = (Redis::start().await, Gate::answering("late").await);
    let gateway = queueing(Some(&redis), &gate, "queue").await;
    let holder = begun(&gateway);
    gate.arrivals(1).await;
    let waits = begun(&gateway);
    waiting(&gateway, 1).await;
    redis.signal("KILL").await;
    assert_eq!(in_time("the response", waits).await.unwrap(), 503, "as the plugin decides then");
    gate.release(1);
    assert_eq!(in_time("the response", holder).await.unwrap(), 200);
}
