//! Passive ejection: who fails requests gets none for a while.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Response, StatusCode};

use super::{answers, balanced};
use crate::support::nobody;
use crate::support::{Client, TestGateway, Upstream, client::Request, counted::metric, eventually, upstream::full};

/// Answers with its name, and with 500 while it is sick.
struct Patient {
    upstream: Upstream,
    sick: Arc<AtomicBool>,
}

impl Patient {
    async fn named(name: &'static str) -> Self {
        let sick = Arc::<AtomicBool>::default();
        let shared = sick.clone();
        let upstream = Upstream::serving(move |_| {
            let sick = shared.load(Ordering::SeqCst);
            async move {
                let mut response = Response::new(full(name));
                if sick {
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                }
                response
            }
        })
        .await;
        Self { upstream, sick }
    }

    fn set(&self, sick: bool) {
        self.sick.store(sick, Ordering::SeqCst);
    }
}

async fn failures(gateway: &TestGateway, requests: usize) -> usize {
    let mut client = Client::connect(gateway.address()).await;
    let mut failed = 0;
    for _ in 0..requests {
        failed += usize::from(client.send(Request::get("/")).await.status != 200);
    }
    failed
}

async fn ejections(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_ejections_total{upstream=\"it\"}").await
}

#[tokio::test]
async fn failures_in_a_row_eject_an_endpoint_for_a_while() {
    let (a, b) = (Patient::named("a").await, Patient::named("b").await);
    let settings = "health: { passive: { consecutive-failures: 3, ejection-time: 500ms } }";
    let gateway = TestGateway::start(&balanced(&[a.upstream.address(), b.upstream.address()], settings)).await;
    a.set(true);
    assert_eq!(failures(&gateway, 100).await, 3);
    assert_eq!(ejections(&gateway).await, 1);
    a.set(false);
    eventually("it coming back", async || answers(&gateway, 10).await.contains_key("a")).await;
}

#[tokio::test]
async fn a_share_of_failures_ejects_an_endpoint() {
    let (a, b) = (Patient::named("a").await, Patient::named("b").await);
    let settings = "health: { passive: { consecutive-failures: 0, failure-rate: 40%, minimum-requests: 10, \
        ejection-time: 1h, max-ejection-time: 1h } }";
    let gateway = TestGateway::start(&balanced(&[a.upstream.address(), b.upstream.address()], settings)).await;
    let mut client = Client::connect(gateway.address()).await;
    for request in 0..100 {
        // Every second one of its own: it never fails twice in a row.
        a.set(request % 4 < 2);
        client.send(Request::get("/")).await;
    }
    assert_eq!(ejections(&gateway).await, 1);
    a.set(false);
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("b".to_owned(), 20)]));
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_ejected_and_no_request_lost() {
    let alive = Upstream::named("alive").await;
    let settings = "health: { passive: { consecutive-failures: 2, ejection-time: 1h, max-ejection-time: 1h } }";
    let gateway = TestGateway::start(&balanced(&[nobody(), alive.address()], settings)).await;
    assert_eq!(failures(&gateway, 50).await, 0);
    assert_eq!(ejections(&gateway).await, 1);
    let refused = metric(&gateway, "gateway_upstream_connects_total{upstream=\"it\",result=\"error\"}").await;
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn no_more_than_the_share_is_ejected() {
    let (a, b, c) = (Patient::named("a").await, Patient::named("b").await, Patient::named("c").await);
    let addresses = [&a, &b, &c].map(|patient| patient.upstream.address());
    let settings = "health: { panic-threshold: 0%, passive: { consecutive-failures: 1, max-ejected: 67%, \
        ejection-time: 1h, max-ejection-time: 1h } }";
    let gateway = TestGateway::start(&balanced(&addresses, settings)).await;
    for patient in [&a, &b, &c] {
        patient.set(true);
    }
    assert_eq!(failures(&gateway, 30).await, 30);
    assert_eq!(ejections(&gateway).await, 2);
    let fit = metric(&gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}").await;
    assert_eq!(fit, 1);
}

#[tokio::test]
async fn an_ejected_endpoint_stands_in_where_no_other_can_be_reached() {
    let a = Patient::named("a").await;
    let b = Upstream::named("b").await;
    let settings = "health: { passive: { consecutive-failures: 1, ejection-time: 1h, max-ejection-time: 1h } }, \
        idle-connections: 0";
    let gateway = TestGateway::start(&balanced(&[a.upstream.address(), b.address()], settings)).await;
    a.set(true);
    assert_eq!(failures(&gateway, 10).await, 1);
    a.set(false);
    drop(b);
    eventually("the other being gone", async || answers(&gateway, 1).await.contains_key("a")).await;
    assert_eq!(answers(&gateway, 10).await, HashMap::from([("a".to_owned(), 10)]));
}

#[tokio::test]
async fn what_one_worker_finds_out_holds_for_all() {
    let (a, b) = (Patient::named("a").await, Patient::named("b").await);
    let settings = "health: { passive: { consecutive-failures: 4, ejection-time: 1h, max-ejection-time: 1h } }";
    let config = balanced(&[a.upstream.address(), b.upstream.address()], settings).replace("workers: 1", "workers: 4");
    let gateway = TestGateway::start(&config).await;
    a.set(true);
    let mut failed = 0;
    // Each on a connection of its own, which any worker may get.
    for _ in 0..60 {
        failed += usize::from(gateway.get("/").await.status != 200);
    }
    assert_eq!((failed, ejections(&gateway).await), (4, 1));
}
