//! How long an instance lives, and how many there may be.

use tokio::task::JoinSet;

use super::{Piped, naughty, yaml};
use crate::support::{Client, Gate, TestGateway, client::Request, eventually, guests};

const CREATED: &str = "gateway_wasm_instances_created_total{plugin=\"naughty\"}";
const ALIVE: &str = "gateway_wasm_instances{plugin=\"naughty\"}";

/// What `count` said in so many requests on one connection.
async fn counts(piped: &Piped, requests: usize) -> Vec<u64> {
    let mut client = Client::connect(piped.gateway.address()).await;
    let mut counts = Vec::new();
    for _ in 0..requests {
        let response = client.send(Request::get("/")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        counts.push(response.header("x-calls").parse().unwrap());
    }
    counts
}

#[tokio::test]
async fn an_instance_is_used_again_by_the_next_exchange() {
    let piped = Piped::through(&format!("[{}]", naughty("count", "response"))).await;
    let counts = counts(&piped, 5).await;
    // Three phases each, of which the second one tells.
    assert_eq!(counts, [2, 5, 8, 11, 14]);
    assert_eq!(piped.metric(CREATED).await, 1);
}

#[tokio::test]
async fn with_isolation_each_exchange_has_an_instance_of_its_own_for_all_its_phases() {
    let piped = Piped::with(&format!("[{}]", naughty("count", "response")), "isolation: request", "").await;
    assert_eq!(counts(&piped, 5).await, [2; 5]);
    eventually("the instances end with their exchanges", async || piped.metric(ALIVE).await == 0).await;
    assert_eq!(piped.metric(CREATED).await, 5);
}

#[tokio::test]
async fn an_instance_is_replaced_after_as_many_calls_as_it_may_have() {
    let piped = Piped::with(&format!("[{}]", naughty("count", "response")), "limits: { max-calls: 4 }", "").await;
    let counts = counts(&piped, 12).await;
    assert!(counts.iter().all(|count| (1..=4).contains(count)), "{counts:?}");
    // Twelve exchanges of three calls each.
    assert_eq!(piped.metric(CREATED).await, 9);
    assert!(piped.metric(ALIVE).await <= 1);
}

#[tokio::test]
async fn an_instance_that_hoards_memory_is_replaced_before_it_fails() {
    let piped =
        Piped::with(&format!("[{}]", naughty("leak", "request")), "limits: { memory: 64MiB, time: 1s }", "").await;
    let mut client = Client::connect(piped.gateway.address()).await;
    for _ in 0..20 {
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    assert!(piped.metric(CREATED).await > 3);
}

#[tokio::test]
async fn an_instance_that_trapped_is_never_used_again() {
    let list = "[{ name: naughty, config: { do: trap, when: x-deed } }]";
    let piped = Piped::through(list).await;
    let mut client = Client::connect(piped.gateway.address()).await;
    for _ in 0..3 {
        assert_eq!(client.send(Request::get("/").header("x-deed", "1")).await.status, 500);
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    assert_eq!(piped.metric(CREATED).await, 4, "one is there from the last request");
    assert_eq!(
        piped.gateway.metric("gateway_wasm_failures_total", &[("plugin", "naughty"), ("kind", "trap")]).await,
        Some(3)
    );
}

/// One worker, whose one instance of `waiter` calls this upstream.
async fn one_instance(gate: &Gate, settings: &str) -> TestGateway {
    let list = "[{ name: waiter, config: { do: call-upstream, upstream: gate, timeout-ms: 60000 } }]";
    let one = "workers: 1
listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }
limits: { max-concurrent-streams: 300 }";
    let settings = format!("limits: {{ instances: 1 }}{settings}");
    let yaml = yaml(&[("gate", gate.address())], list, &settings, one);
    TestGateway::start_in(guests::folder(), &yaml).await
}

#[tokio::test]
async fn while_every_instance_is_busy_others_wait_and_those_who_find_the_queue_full_are_told_503() {
    const QUEUE: usize = 256;
    const TOO_MANY: usize = 20;
    let gate = Gate::answering("done").await;
    // Of one that belongs to its exchange; others give way.
    let gateway = one_instance(&gate, ", isolation: request").await;
    let client = Client::connect_http2(gateway.address()).await;
    let send = |requests: &mut JoinSet<_>| {
        let mut client = client.share();
        requests.spawn(async move { client.send(Request::get("/")).await });
    };
    let mut requests = JoinSet::new();
    send(&mut requests);
    gate.arrivals(1).await;
    for _ in 0..QUEUE + TOO_MANY {
        send(&mut requests);
    }
    for _ in 0..TOO_MANY {
        let refused = requests.join_next().await.expect("there are more").unwrap();
        assert_eq!(refused.status, 503);
        assert_eq!(refused.problem()["detail"], "the gateway is too busy");
    }
    // The others go through the one instance one after the other.
    gate.release(1 + QUEUE);
    let answers = requests.join_all().await;
    assert_eq!(answers.len(), 1 + QUEUE);
    assert!(answers.iter().all(|response| response.text() == "done"));
    let metrics = gateway.metrics().await;
    let created = format!("gateway_wasm_instances_created_total{{plugin=\"waiter\"}} {}\n", 1 + QUEUE);
    assert!(metrics.contains(&created), "{metrics}");
    assert!(metrics.contains("gateway_failures_total{reason=\"plugin-busy\"} 20\n"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_instance_back() {
    for settings in ["", ", isolation: request"] {
        let gate = Gate::answering("done").await;
        let gateway = one_instance(&gate, settings).await;
        for _ in 0..3 {
            let mut client = Client::connect(gateway.address()).await;
            tokio::select! {
                _ = client.begin(Request::get("/")) => panic!("the gate is shut"),
                () = gate.arrivals(1) => {}
            }
        }
        let waiting = tokio::spawn({
            let address = gateway.address();
            async move { Client::connect(address).await.send(Request::get("/")).await.text() }
        });
        gate.arrivals(1).await;
        // The three before are held back too.
        gate.release(4);
        assert_eq!(waiting.await.unwrap(), "done");
    }
}
