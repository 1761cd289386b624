//! Sparing an upstream: a circuit breaker, and limits of requests and connections.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Response, StatusCode};

use super::{balanced, is_problem};
use crate::support::{
    Client, Gate, TestGateway, Upstream,
    client::Request,
    counted::{failed, metric},
    eventually,
    upstream::full,
};

async fn sick() -> (Upstream, Arc<AtomicBool>) {
    let sick = Arc::new(AtomicBool::new(true));
    let shared = sick.clone();
    let upstream = Upstream::serving(move |_| {
        let sick = shared.load(Ordering::SeqCst);
        async move {
            let mut response = Response::new(full("ok"));
            if sick {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    })
    .await;
    (upstream, sick)
}

const OPEN: &str = "gateway_upstream_circuit_open{upstream=\"it\"}";

#[tokio::test]
async fn an_open_circuit_answers_at_once_and_says_when_to_come_again() {
    let (upstream, _) = sick().await;
    let settings = "circuit-breaker: { failure-rate: 50%, minimum-requests: 10, open-duration: 1h }";
    let mut gateway = TestGateway::start(&balanced(&[upstream.address()], settings)).await;
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..10 {
        assert_eq!(client.send(Request::get("/")).await.status, 500);
    }
    let response = client.send(Request::get("/")).await;
    is_problem(&response, 503);
    let seconds: u64 = response.header("retry-after").parse().expect("seconds");
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert_eq!((upstream.requests(), metric(&gateway, OPEN).await), (10, 1));
    failed(&gateway, "circuit-open", 1).await;
    // It is the upstream's, not the configuration's: a reload that changes something else leaves it open.
    let changed = balanced(&[upstream.address()], &format!("{settings}, idle-connections: 3"));
    gateway.reload(&changed).await.expect("a good configuration");
    is_problem(&gateway.get("/").await, 503);
    assert_eq!(upstream.requests(), 10);
}

#[tokio::test]
async fn a_circuit_closes_when_the_requests_that_are_let_through_end_well() {
    let (upstream, sick) = sick().await;
    let settings = "circuit-breaker: { minimum-requests: 5, open-duration: 200ms, half-open-requests: 2 }";
    let gateway = TestGateway::start(&balanced(&[upstream.address()], settings)).await;
    eventually("the circuit opening", async || gateway.get("/").await.status == 503).await;
    sick.store(false, Ordering::SeqCst);
    eventually("the circuit closing", async || {
        gateway.get("/").await.status == 200 && metric(&gateway, OPEN).await == 0
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
}

async fn ask(gateway: &TestGateway) -> tokio::task::JoinHandle<u16> {
    let address = gateway.address();
    tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status.as_u16() })
}

#[tokio::test]
async fn requests_over_the_limit_are_refused_and_those_under_way_are_not() {
    let gate = Gate::answering("ok").await;
    let gateway = TestGateway::start(&balanced(&[gate.address()], "limits: { requests: 2 }")).await;
    let (first, second) = (ask(&gateway).await, ask(&gateway).await);
    gate.arrivals(2).await;
    is_problem(&gateway.get("/").await, 503);
    failed(&gateway, "upstream-busy", 1).await;
    gate.release(3);
    assert_eq!((first.await.expect("no panic"), second.await.expect("no panic")), (200, 200));
    eventually("room for more", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test]
async fn requests_wait_for_one_of_few_connections_and_the_queue_has_an_end() {
    let gate = Gate::answering("ok").await;
    let gateway = TestGateway::start(&balanced(&[gate.address()], "limits: { connections: 1, pending: 2 }")).await;
    let mut asked = vec![ask(&gateway).await];
    gate.arrivals(1).await;
    asked.extend([ask(&gateway).await, ask(&gateway).await, ask(&gateway).await]);
    let refused = "gateway_upstream_rejected_total{upstream=\"it\",reason=\"pending\"}";
    eventually("the queue being full", async || metric(&gateway, refused).await == 1).await;
    gate.release(3);
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.expect("no panic"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    assert_eq!(metric(&gateway, "gateway_upstream_connects_total{upstream=\"it\",result=\"ok\"}").await, 1);
}
