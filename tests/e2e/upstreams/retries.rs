//! Sending a request again: where it is safe, as often as the budget allows, and never once a response has begun.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{balanced, is_problem};
use crate::support::free_address;
use crate::support::{
    Client, RawUpstream, TestGateway, Upstream, client::Request, counted::metric, eventually, upstream::full,
};

const RETRY: &str = "retry: { attempts: 2, budget: 100%, backoff: 1ms }";

/// Answers with a status so many times, and with 200 from then on.
async fn failing(times: usize, status: u16) -> Upstream {
    let left = Arc::new(AtomicUsize::new(times));
    Upstream::serving(move |request| {
        let left = left.clone();
        async move {
            let _ = request.into_body().collect().await;
            let mut response = Response::new(full("ok"));
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            }
            response
        }
    })
    .await
}

async fn sent_again(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_retries_total{upstream=\"it\",result=\"sent\"}").await
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_on_the_statuses_that_are_listed() {
    let upstream = failing(2, 503).await;
    let gateway = TestGateway::start(&balanced(&[upstream.address()], RETRY)).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!((upstream.requests(), sent_again(&gateway).await), (3, 2));

    let upstream = failing(1, 500).await;
    let gateway = TestGateway::start(&balanced(&[upstream.address()], RETRY)).await;
    assert_eq!(gateway.get("/").await.status, 500, "not among the statuses");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_idempotent_or_whose_body_has_gone_is_not_sent_again() {
    let upstream = failing(9, 503).await;
    let gateway = TestGateway::start(&balanced(&[upstream.address()], RETRY)).await;
    for request in [Request::post("/", "body"), Request::new(http::Method::PUT, "/").body(body())] {
        assert_eq!(gateway.send(request).await.status, 503);
    }
    assert_eq!(upstream.requests(), 2);
}

fn body() -> crate::support::client::Body {
    let parts = ["a body ", "that streams"].map(|part| Ok(http_body::Frame::data(bytes::Bytes::from(part))));
    http_body_util::StreamBody::new(futures_util::stream::iter(parts)).boxed()
}

#[tokio::test]
async fn another_endpoint_is_asked_than_before() {
    let (bad, good) = (failing(1000, 502).await, Upstream::named("good").await);
    let gateway = TestGateway::start(&balanced(&[bad.address(), good.address()], RETRY)).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.text(), "good");
    }
    assert_eq!(good.requests(), 20);
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_another() {
    let hanging = RawUpstream::answering(b"").await;
    let good = Upstream::named("good").await;
    let settings = "retry: { on: [timeout], budget: 100% }, timeouts: { response: 200ms }";
    let gateway = TestGateway::start(&balanced(&[hanging.address(), good.address()], settings)).await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.text(), "good");
    }
    assert_eq!(sent_again(&gateway).await, 2);
    hanging.closed().await;
}

#[tokio::test]
async fn without_retries_the_first_byte_has_its_time_nevertheless() {
    let hanging = RawUpstream::answering(b"").await;
    let config = balanced(&[hanging.address()], "timeouts: { response: 100ms }").replace("request: 5s", "request: 1h");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.get("/").await, 504);
}

/// Closes each of so many connections, and what comes next is answered.
async fn closing(times: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut buffer = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
            if connection >= times {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_response_is_no_end() {
    let gateway = TestGateway::start(&balanced(&[closing(2).await], RETRY)).await;
    assert_eq!(gateway.get("/").await.text(), "ok");
    assert_eq!(sent_again(&gateway).await, 2);
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_is_sent_again_whatever_its_method() {
    // Nobody is there at first: an upstream that is just being restarted.
    let address = free_address();
    let settings = "retry: { attempts: 10, on: [connect-failure], budget: 100%, min-retries-per-second: 100, backoff: 1s, \
        max-backoff: 1s }";
    let gateway = TestGateway::start(&balanced(&[address], settings).replace("request: 5s", "request: 30s")).await;
    let to = gateway.address();
    let asking = tokio::spawn(async move { Client::connect(to).await.send(Request::post("/", "body")).await.text() });
    eventually("it being sent again", async || sent_again(&gateway).await > 0).await;
    let answer = |_| async { Response::new(full("restarted")) };
    let _upstream = Upstream::serving_at(address, answer).await.expect("the port is free");
    assert_eq!(asking.await.expect("no panic"), "restarted");
}

#[tokio::test]
async fn a_response_that_has_begun_is_never_asked_for_again() {
    let count = Arc::<AtomicUsize>::default();
    let seen = count.clone();
    let upstream = RawUpstream::on_head(move |mut stream| {
        seen.fetch_add(1, Ordering::SeqCst);
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await.ok();
            None
        }
    })
    .await;
    let gateway = TestGateway::start(&balanced(&[upstream.address()], RETRY)).await;
    assert!(Client::connect(gateway.address()).await.try_send(Request::get("/")).await.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_storm_of_failures_adds_no_more_load_than_the_budget() {
    let (a, b) = (failing(usize::MAX, 503).await, failing(usize::MAX, 503).await);
    let settings = "retry: { attempts: 3, budget: 20%, min-retries-per-second: 0, backoff: 0ms, max-backoff: 0ms }";
    let gateway = TestGateway::start(&balanced(&[a.address(), b.address()], settings)).await;
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..500 {
        assert_eq!(client.send(Request::get("/")).await.status, 503);
    }
    assert_eq!(a.requests() + b.requests(), 600, "a fifth more");
    assert!(metric(&gateway, "gateway_upstream_retries_total{upstream=\"it\",result=\"denied\"}").await >= 400);
}

#[tokio::test]
async fn a_body_that_takes_too_long_as_a_whole_is_cut_off_though_it_flows() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        None
    })
    .await;
    let config =
        balanced(&[upstream.address()], "").replace("upstream: it", "upstream: it, timeouts: { total: 300ms }");
    let gateway = TestGateway::start(&config).await;
    assert!(Client::connect(gateway.address()).await.try_send(Request::get("/")).await.is_err());
    crate::support::counted::failed(&gateway, "total-timeout", 1).await;
}

#[tokio::test]
async fn the_time_for_a_whole_response_also_limits_the_wait_for_its_head() {
    // It reads the request and never answers.
    let upstream = RawUpstream::on_head(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
        None
    })
    .await;
    for timeouts in ["request: off, total: 300ms", "request: 1h, total: 300ms"] {
        let timeouts = format!("upstream: it, timeouts: {{ {timeouts} }}");
        let config = balanced(&[upstream.address()], "").replace("upstream: it", &timeouts);
        let gateway = TestGateway::start(&config).await;
        let response = Client::connect(gateway.address()).await.send(Request::get("/")).await;
        assert_eq!(response.status, 504, "{timeouts}");
    }
}

#[tokio::test]
async fn an_upstream_can_have_a_time_of_its_own_between_two_parts_of_a_body() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell").await;
    let gateway = TestGateway::start(&balanced(&[upstream.address()], "timeouts: { body: 100ms }")).await;
    assert!(Client::connect(gateway.address()).await.try_send(Request::get("/")).await.is_err());
    crate::support::counted::failed(&gateway, "upstream-timeout", 1).await;
}
