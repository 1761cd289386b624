//! Three gateways that share a Redis, behind a balancer, which is a gateway too: all of them real processes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::Method;
use tempfile::TempDir;

use crate::support::{Client, Process, TestGateway, Upstream, client::Request, eventually, in_time, redis::Redis};

const GATEWAYS: usize = 3;
const CLIENTS: usize = 12;
const LIMIT: usize = 240;

struct Fleet {
    redis: Redis,
    upstream: Upstream,
    gateways: Vec<(Process, SocketAddr)>,
    balancer: TestGateway,
    _folder: TempDir,
}

impl Fleet {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more to say about how the balancer reaches the gateways.
    async fn start_with(balancing: &str) -> Self {
        let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
        let folder = tempfile::tempdir().expect("a folder");
        let yaml = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]
workers: 2
state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: limited
    match: {{ path: /limited }}
    plugins: [{{ name: rate-limit, config: {{ limit: {LIMIT}, per: 1h, on-store-failure: deny }} }}]
    upstream: up
  - name: warm
    match: {{ path: /warm }}
    plugins: [{{ name: rate-limit, config: {{ limit: 1000, per: 1h }} }}]
    upstream: up
  - {{ name: open, match: {{ path: /open }}, upstream: up }}
",
            redis.url(),
            upstream.address()
        );
        std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
            let address = process.addresses().await[0];
            gateways.push((process, address));
        }
        for (_, address) in &gateways {
            eventually("its state being in Redis", async || {
                let answer = Client::connect(*address).await.send(Request::get("/warm")).await;
                !answer.header("ratelimit").is_empty()
            })
            .await;
        }
        redis.ask("FLUSHALL").await;
        let endpoints: Vec<String> = gateways.iter().map(|(_, address)| format!("'http://{address}'")).collect();
        let balancer = TestGateway::start(&format!(
            "upstreams: {{ gateways: {{ endpoints: [{}], {balancing} }} }}
routes: [{{ name: all, upstream: gateways }}]
",
            endpoints.join(", ")
        ))
        .await;
        Self { redis, upstream, gateways, balancer, _folder: folder }
    }
}

#[tokio::test]
async fn a_limit_of_three_gateways_is_one_limit_to_the_last_request() {
    let fleet = Fleet::start().await;
    let passed = Arc::new(AtomicUsize::new(0));
    let tasks = (0..CLIENTS).map(|_| {
        let (address, passed) = (fleet.balancer.address(), passed.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..2 * LIMIT / CLIENTS {
                match client.send(Request::get("/limited")).await.status.as_u16() {
                    200 => drop(passed.fetch_add(1, Ordering::SeqCst)),
                    429 => {}
                    other => panic!("{other}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        in_time("the requests", task).await.expect("no panic");
    }
    assert_eq!(passed.load(Ordering::SeqCst), LIMIT);
    assert_eq!(fleet.upstream.requests(), LIMIT + GATEWAYS, "nobody else came there, but to warm up");
    assert_eq!(fleet.redis.ask("DBSIZE").await, ":1", "it is counted in one place");
}

/// How many requests of a method are lost when one of three gateways is killed under traffic.
async fn lost_with_a_gateway(method: Method, balancing: &str) -> usize {
    let fleet = Fleet::start_with(balancing).await;
    let (ends, answered, lost) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let tasks = (0..CLIENTS).map(|_| {
        let method = method.clone();
        let (address, ends, answered, lost) = (fleet.balancer.address(), ends.clone(), answered.clone(), lost.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            while !ends.load(Ordering::SeqCst) {
                match client.send(Request::new(method.clone(), "/open")).await.status.as_u16() {
                    200 => drop(answered.fetch_add(1, Ordering::SeqCst)),
                    502 => drop(lost.fetch_add(1, Ordering::SeqCst)),
                    other => panic!("{other}"),
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let more = async |count: usize| {
        let before = answered.load(Ordering::SeqCst);
        eventually("answers", async || answered.load(Ordering::SeqCst) >= before + count).await;
    };
    more(300).await;
    assert_eq!(lost.load(Ordering::SeqCst), 0);
    fleet.gateways[0].0.signal("KILL");
    more(300).await;
    let at_once = lost.load(Ordering::SeqCst);
    more(300).await;
    ends.store(true, Ordering::SeqCst);
    for task in tasks {
        in_time("a client", task).await.expect("no panic");
    }
    assert_eq!(lost.load(Ordering::SeqCst), at_once, "nothing more is lost later");
    at_once
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_only_what_was_in_flight() {
    let lost = lost_with_a_gateway(Method::POST, "").await;
    // While it dies, its system still takes connections that come to nothing.
    assert!(lost <= 3 * CLIENTS, "{lost} were lost of {CLIENTS} at a time");
}

#[tokio::test]
async fn what_may_be_sent_twice_is_not_lost_at_all() {
    let retry = "retry: { attempts: 3, on: [connect-failure, reset], budget: 100% }";
    assert_eq!(lost_with_a_gateway(Method::GET, retry).await, 0);
}
