//! Active health checks: who fails them gets no requests, who passes them again does.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use http::Response;

use super::{answers, balanced};
use crate::support::nobody;
use crate::support::{TestGateway, Upstream, counted::metric, eventually, upstream::full};

/// Answers with its name, and checks with a status that the test sets.
struct Checked {
    upstream: Upstream,
    status: Arc<AtomicU16>,
    checks: Arc<AtomicUsize>,
}

impl Checked {
    async fn named(name: &'static str) -> Self {
        let (status, checks) = (Arc::new(AtomicU16::new(200)), Arc::<AtomicUsize>::default());
        let shared = (status.clone(), checks.clone());
        let upstream = Upstream::serving(move |request| {
            let shared = shared.clone();
            async move {
                let mut response = Response::new(full(name));
                if request.uri().path() == "/healthz" {
                    shared.1.fetch_add(1, Ordering::SeqCst);
                    let status = shared.0.load(Ordering::SeqCst);
                    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                }
                response
            }
        })
        .await;
        Self { upstream, status, checks }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }
}

const CHECKS: &str = "health: { active: { path: /healthz, interval: 50ms, timeout: 5s, unhealthy-after: 2 } }";

async fn endpoints(gateway: &TestGateway, state: &str) -> u64 {
    metric(gateway, &format!("gateway_upstream_endpoints{{upstream=\"it\",state=\"{state}\"}}")).await
}

#[tokio::test]
async fn an_endpoint_that_fails_its_checks_gets_no_requests_until_it_passes_them_again() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let gateway = TestGateway::start(&balanced(&[a.upstream.address(), b.upstream.address()], CHECKS)).await;
    assert_eq!(answers(&gateway, 20).await.len(), 2);
    a.set(503);
    eventually("the checks failing", async || endpoints(&gateway, "unhealthy").await == 1).await;
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("b".to_owned(), 20)]));
    a.set(204);
    eventually("the checks passing", async || endpoints(&gateway, "healthy").await == 2).await;
    assert_eq!(answers(&gateway, 20).await.len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_at_fails_its_checks() {
    let a = Checked::named("a").await;
    let gateway = TestGateway::start(&balanced(&[a.upstream.address(), nobody()], CHECKS)).await;
    eventually("the checks failing", async || endpoints(&gateway, "unhealthy").await == 1).await;
    let failed = "gateway_upstream_connects_total{upstream=\"it\",result=\"error\"}";
    let before = metric(&gateway, failed).await;
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("a".to_owned(), 20)]));
    assert_eq!(metric(&gateway, failed).await, before);
}

#[tokio::test]
async fn the_statuses_that_are_expected_can_be_said() {
    let a = Checked::named("a").await;
    a.set(418);
    let checks = CHECKS.replace("path: /healthz", "path: /healthz, expect: [418, \"200-204\"]");
    let gateway = TestGateway::start(&balanced(&[a.upstream.address()], &checks)).await;
    eventually("some checks", async || a.checks() > 5).await;
    assert_eq!(endpoints(&gateway, "healthy").await, 1);
    a.set(302);
    eventually("the checks failing", async || endpoints(&gateway, "unhealthy").await == 1).await;
}

#[tokio::test]
async fn with_too_few_endpoints_left_all_are_used() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let panics = CHECKS.replace("health: {", "health: { panic-threshold: 60%,");
    let mut gateway = TestGateway::start(&balanced(&[a.upstream.address(), b.upstream.address()], &panics)).await;
    a.set(500);
    eventually("the checks failing", async || endpoints(&gateway, "unhealthy").await == 1).await;
    assert_eq!(answers(&gateway, 20).await.len(), 2);
    // Where none is fit, all are used whatever the threshold.
    let never = CHECKS.replace("health: {", "health: { panic-threshold: 0%,");
    gateway.reload(&balanced(&[a.upstream.address(), b.upstream.address()], &never)).await.expect("a configuration");
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("b".to_owned(), 20)]));
    b.set(500);
    eventually("the checks failing", async || endpoints(&gateway, "unhealthy").await == 2).await;
    assert_eq!(answers(&gateway, 20).await.len(), 2);
}

#[tokio::test]
async fn checks_are_made_once_for_the_process_and_not_for_each_worker() {
    let a = Checked::named("a").await;
    let many = balanced(&[a.upstream.address()], &CHECKS.replace("50ms", "1h")).replace("workers: 1", "workers: 8");
    let gateway = TestGateway::start(&many).await;
    eventually("the first check", async || a.checks() > 0).await;
    let checked = "gateway_upstream_health_checks_total{upstream=\"it\",result=\"ok\"}";
    eventually("it being counted", async || metric(&gateway, checked).await > 0).await;
    assert_eq!((a.checks(), metric(&gateway, checked).await), (1, 1));
}

#[tokio::test]
async fn checks_carry_the_fields_and_the_host_that_they_are_given() {
    let upstream = Upstream::serving(|request| async move {
        let is = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
        let good = is("host", "users.example") && is("authorization", "Basic Y2hlY2s=") && is("user-agent", "us");
        let mut response = Response::new(full("it"));
        if request.uri().path() == "/healthz" && !good {
            *response.status_mut() = http::StatusCode::MISDIRECTED_REQUEST;
        }
        response
    })
    .await;
    let fields = "headers: { host: users.example, authorization: 'Basic Y2hlY2s=', user-agent: us }";
    let checks = CHECKS.replace("path: /healthz", &format!("path: /healthz, {fields}"));
    let gateway = TestGateway::start(&balanced(&[upstream.address()], &checks)).await;
    let checked = "gateway_upstream_health_checks_total{upstream=\"it\",result=\"ok\"}";
    eventually("checks that succeed", async || metric(&gateway, checked).await > 2).await;
    assert_eq!(endpoints(&gateway, "healthy").await, 1);
    let bare = TestGateway::start(&balanced(&[upstream.address()], CHECKS)).await;
    eventually("the checks failing", async || endpoints(&bare, "unhealthy").await == 1).await;
}

#[tokio::test]
async fn checks_over_http_2_have_their_host_as_the_authority() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let good = request.uri().authority().is_some_and(|authority| authority == "users.example");
                    let status = if good { 200 } else { 421 };
                    let response = Response::builder().status(status).body(()).expect("a response");
                    let _ = respond.send_response(response, true);
                }
            });
        }
    });
    let checks = CHECKS.replace("path: /healthz", "path: /healthz, headers: { host: users.example }");
    let gateway = TestGateway::start(&balanced(&[address], &format!("protocol: http2, {checks}"))).await;
    let checked = "gateway_upstream_health_checks_total{upstream=\"it\",result=\"ok\"}";
    eventually("checks that succeed", async || metric(&gateway, checked).await > 2).await;
    assert_eq!(endpoints(&gateway, "healthy").await, 1);
}
