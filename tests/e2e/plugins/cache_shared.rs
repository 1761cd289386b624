//! A cache and many who want something of it at once, upstreams that fail, and clients that leave.

use std::time::Duration;

use http::Response as Answer;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::cache::Origin;
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, feed::feed, in_time};

/// Before an upstream that answers when it is told to and is good for a minute.
async fn before(gate: &Gate, config: &str) -> TestGateway {
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: cache, config: {config} }}], upstream: origin }}]
",
        gate.address()
    );
    TestGateway::start(&yaml).await
}

#[tokio::test]
async fn a_hundred_who_want_the_same_are_one_request_upstream() {
    let gate = Gate::answering("late").await;
    let gateway = before(&gate, "{ default-ttl: 1m, lock-timeout: 1m }").await;
    let address = gateway.address();
    let clients: Vec<_> = (0..100)
        .map(|_| tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await }))
        .collect();
    gate.arrivals(1).await;
    gate.release(1);
    for client in clients {
        assert_eq!(in_time("an answer", client).await.unwrap().text(), "late");
    }
    assert_eq!(gate.waiting(), 0);
    assert_eq!(gateway.get("/").await.header("age").len(), 1);
}

#[tokio::test]
async fn nobody_waits_for_what_is_not_kept() {
    let gate = Gate::answering("late").await;
    let gateway = before(&gate, "{ lock-timeout: 1m }").await;
    let address = gateway.address();
    let get = move || tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    let clients: Vec<_> = (0..20).map(|_| get()).collect();
    gate.arrivals(1).await;
    gate.release(1);
    // The first answer says nothing about how long it is fresh: the others go on together.
    gate.arrivals(19).await;
    let more: Vec<_> = (0..5).map(|_| get()).collect();
    gate.arrivals(5).await;
    gate.release(100);
    for client in clients.into_iter().chain(more) {
        assert_eq!(client.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_configured() {
    let gate = Gate::answering("late").await;
    let gateway = before(&gate, "{ default-ttl: 1m, lock-timeout: 20ms }").await;
    let address = gateway.address();
    let get = move || tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    let clients = [get(), get()];
    gate.arrivals(2).await;
    gate.release(2);
    for client in clients {
        assert_eq!(client.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn when_the_first_leaves_the_next_one_fetches() {
    let gate = Gate::answering("late").await;
    let gateway = before(&gate, "{ default-ttl: 1m, lock-timeout: 1m }").await;
    let mut first = TcpStream::connect(gateway.address()).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    gate.arrivals(1).await;
    let address = gateway.address();
    let second =
        tokio::spawn(async move { Client::connect(address).await.send(Request::get("/").header("host", "a")).await });
    drop(first);
    gate.arrivals(1).await;
    gate.release(2);
    assert_eq!(in_time("an answer", second).await.unwrap().text(), "late");
}

#[tokio::test]
async fn half_a_body_is_not_kept() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::serving(move |_| {
        let told = told.clone();
        async move {
            let (feed, body) = feed();
            told.send(feed).unwrap();
            let mut answer = Answer::new(body);
            answer.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
            answer
        }
    })
    .await;
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: cache, config: {{ lock-timeout: 1m }} }}], upstream: origin }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let mut client = Client::connect(gateway.address()).await;
    let response = client.begin(Request::get("/")).await.unwrap();
    let feed = tell.recv().await.unwrap();
    assert!(feed.data("half").await);
    drop((response, client));
    eventually("the upstream being left", async || !feed.data("more").await).await;
    let address = gateway.address();
    let whole = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    let feed = tell.recv().await.unwrap();
    assert!(feed.data("whole").await);
    drop(feed);
    assert_eq!(whole.await.unwrap().text(), "whole");
    assert_eq!(gateway.get("/").await.text(), "whole");
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn a_stale_response_is_given_at_once_and_renewed_behind() {
    let stale = [("cache-control", "max-age=5, stale-while-revalidate=60"), ("age", "6"), ("etag", "\"v1\"")];
    let origin = Origin::with(&stale).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    origin.say(&[("cache-control", "max-age=60"), ("etag", "\"v2\"")]);
    let given = gateway.get("/").await;
    assert_eq!(given.text(), "answer 1");
    assert!(given.header("cache-status").starts_with("gateway; hit; ttl=-"), "{:?}", given.headers);
    eventually("the new answer", async || gateway.get("/").await.text() == "answer 2").await;
    assert_eq!(origin.requests(), 2);
    // Nobody's request is counted twice for it.
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains("status=\"304\""), "{metrics}");
}

#[tokio::test]
async fn an_upstream_that_fails_is_made_up_for() {
    for end in ["status", "connection"] {
        // So that nobody is connected any more when it is gone.
        let stale = [("cache-control", "max-age=5"), ("age", "6"), ("etag", "\"v1\""), ("connection", "close")];
        let origin = Origin::with(&stale).await;
        let gateway = origin.cached(&json!({ "stale-if-error": "10m" }), "").await;
        gateway.get("/").await;
        match end {
            "status" => origin.say(&[("status", "503")]),
            _ => drop(origin.upstream),
        }
        let given = gateway.get("/").await;
        assert_eq!((given.status.as_u16(), given.text()), (200, "answer 1".to_owned()), "{end}");
        assert!(given.header("cache-status").contains("; detail=stale-if-error"), "{:?}", given.headers);
        let unknown = gateway.get("/unknown").await;
        assert!(unknown.status.is_server_error());
    }
}

#[tokio::test]
async fn what_must_be_asked_about_is_not_given_when_nobody_answers() {
    let origin = Origin::with(&[
        ("cache-control", "max-age=5, must-revalidate"),
        ("age", "6"),
        ("etag", "\"v1\""),
        ("connection", "close"),
    ])
    .await;
    let gateway = origin.cached(&json!({ "stale-if-error": "10m", "stale-while-revalidate": "10m" }), "").await;
    gateway.get("/").await;
    drop(origin.upstream);
    assert_eq!(gateway.get("/").await.status, 502);
}

#[tokio::test]
async fn hits_need_no_upstream_for_a_while() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    drop(origin.upstream);
    let many = async {
        for _ in 0..100 {
            assert_eq!(gateway.get("/").await.text(), "answer 1");
        }
    };
    tokio::time::timeout(Duration::from_secs(30), many).await.unwrap();
}

#[tokio::test]
async fn a_stale_head_leaves_the_body_for_those_who_want_it() {
    let stale = [("cache-control", "max-age=5, stale-while-revalidate=60"), ("age", "6")];
    let origin = Origin::with(&stale).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    origin.say(&[("cache-control", "max-age=60")]);
    for _ in 0..3 {
        let head = gateway.send(Request::new(http::Method::HEAD, "/")).await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "8"));
    }
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    eventually("the new answer", async || gateway.get("/").await.text() == "answer 2").await;
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_part_of_a_stale_response_renews_the_whole() {
    let stale = [("cache-control", "max-age=5, stale-while-revalidate=60"), ("age", "6")];
    let origin = Origin::with(&stale).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    origin.say(&[("cache-control", "max-age=60")]);
    let part = gateway.send(Request::get("/").header("range", "bytes=0-1")).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "an".to_owned()));
    eventually("the new answer", async || gateway.get("/").await.text() == "answer 2").await;
}
