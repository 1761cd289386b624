//! Connections to upstreams: refused, left hanging, closed too early or just as they are used again.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Method;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Notify};

use super::{balanced, gateway_to, is_problem};
use crate::support::nobody;
use crate::support::{
    Client, RawUpstream, TestGateway,
    client::Request,
    counted::{failed, metric},
    eventually,
    frames::{self, Fate, Frames},
    strict::{Kind, RawClient, Reader, StrictUpstream},
};

#[tokio::test]
async fn an_upstream_that_refuses_is_a_bad_gateway() {
    let gateway = gateway_to(nobody()).await;
    is_problem(&gateway.get("/").await, 502);
    failed(&gateway, "upstream-unreachable", 1).await;
}

#[tokio::test]
async fn an_upstream_that_accepts_and_hangs_is_a_gateway_timeout() {
    let upstream = RawUpstream::answering(b"").await;
    let config = balanced(&[upstream.address()], "").replace("request: 5s", "request: 300ms");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.get("/").await, 504);
    failed(&gateway, "upstream-timeout", 1).await;
    upstream.closed().await;
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_a_bad_gateway() {
    let upstream = RawUpstream::on_head(|_| async { None }).await;
    let gateway = gateway_to(upstream.address()).await;
    is_problem(&gateway.get("/").await, 502);
    is_problem(&gateway.send(Request::post("/", "body")).await, 502);
    failed(&gateway, "upstream-closed", 2).await;
}

#[tokio::test]
async fn an_upstream_that_closes_within_the_head_is_a_bad_gateway() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.ok();
        None
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    is_problem(&gateway.get("/").await, 502);
    failed(&gateway, "upstream-closed", 1).await;
}

/// Answers each request on a connection, and closes the connection when the next one comes.
async fn closing_as_the_next_request_comes() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let refused = count.clone();
            tokio::spawn(async move {
                let mut reader = Reader::new(stream);
                if reader.message(Kind::Request).await.is_ok() {
                    let _ = reader.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    if reader.message(Kind::Request).await.is_ok() {
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    (address, refused)
}

#[tokio::test]
async fn an_idle_connection_that_closes_as_the_next_request_comes_fails_no_idempotent_request() {
    let (address, refused) = closing_as_the_next_request_comes().await;
    let gateway = gateway_to(address).await;
    let mut client = Client::connect(gateway.address()).await;
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS].into_iter().cycle().take(50)
    {
        assert_eq!(client.send(Request::new(method, "/")).await.status, 200);
    }
    assert!(refused.load(Ordering::SeqCst) > 20, "idle connections were used");
}

/// The whole request came in one part, so that its body is still there when the idle connection turns out to be closed.
#[tokio::test]
async fn a_put_whose_small_body_came_with_its_head_is_sent_again() {
    let (address, refused) = closing_as_the_next_request_comes().await;
    let gateway = gateway_to(address).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let mut http2 = Frames::connect(gateway.address()).await;
    for number in 0..10 {
        client.say("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.response().await.status(), 200);
        let stream = 2 * number + 1;
        let head = [(":method", "PUT"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        let mut request = frames::headers(stream, 0, &head);
        request.extend(frames::frame(frames::DATA, frames::END_STREAM, stream, b"hello"));
        http2.try_send(&request).await;
        assert_eq!(http2.fate(stream).await, Fate::Answered(200));
    }
    assert!(refused.load(Ordering::SeqCst) > 5, "idle connections were used");
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.response().await.status(), 502, "it may have been done");
}

#[tokio::test]
async fn several_idle_connections_that_close_fail_no_request_either() {
    let (address, _) = closing_as_the_next_request_comes().await;
    let gateway = gateway_to(address).await;
    let address = gateway.address();
    for _ in 0..5 {
        let requests: Vec<_> = (0..8)
            .map(|_| tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status }))
            .collect();
        for request in requests {
            assert_eq!(request.await.expect("no panic"), 200);
        }
        // One after the other, so that all but the first idle connection stay idle.
        for _ in 0..4 {
            assert_eq!(gateway.get("/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_request_that_is_not_idempotent_is_not_sent_twice() {
    let (address, _) = closing_as_the_next_request_comes().await;
    let gateway = gateway_to(address).await;
    assert_eq!(gateway.get("/").await.status, 200);
    // The upstream may have done it before it closed.
    is_problem(&gateway.send(Request::new(Method::POST, "/")).await, 502);
    assert_eq!(gateway.send(Request::new(Method::POST, "/")).await.status, 200);
}

#[tokio::test]
async fn idle_connections_that_the_upstream_closed_are_not_used() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok();
        None
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    for _ in 0..3 {
        assert_eq!(gateway.send(Request::get("/")).await.status, 200);
        eventually("the gateway noticing", async || {
            metric(&gateway, "gateway_upstream_connections{upstream=\"it\"}").await == 0
        })
        .await;
    }
    assert_eq!(gateway.send(Request::post("/", "body")).await.status, 200);
}

/// Somebody could otherwise answer the next request, whoever's that is.
#[tokio::test]
async fn what_an_upstream_says_unasked_answers_nobody() {
    let (speak, spoken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, telling) = (speak.clone(), spoken.clone());
    let upstream = RawUpstream::on_head(move |mut stream| {
        let (told, telling) = (told.clone(), telling.clone());
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await.ok();
            told.notified().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.ok();
            telling.notify_one();
            Some(stream)
        }
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    for method in [Method::GET, Method::POST].into_iter().cycle().take(10) {
        // The connection of the request before is still there, with something to read on it.
        assert_eq!(gateway.send(Request::new(method, "/")).await.text(), "good");
        speak.notify_one();
        spoken.notified().await;
    }
}

#[tokio::test]
async fn a_server_of_http_1_0_gets_every_body_whole() {
    let upstream =
        StrictUpstream::answering(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok").await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    for _ in 0..3 {
        client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "ok");
        let seen = upstream.take_seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].as_ref().expect("a request").text(), "hello");
    }
}
