//! What happens before a request's body is sent, and before the response comes: expectations, early refusals, early hints.

use std::{net::SocketAddr, sync::Arc};

use http::Response;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Notify};

use crate::support::{
    RawUpstream, TestGateway, Upstream,
    frames::{self, Fate, Frames},
    strict::{RawClient, StrictUpstream},
};

const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const EXPECTS: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

async fn gateway_to(upstream: SocketAddr, settings: &str) -> TestGateway {
    let config = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'], {settings} }} }}
routes: [{{ name: all, upstream: it }}]
"
    );
    TestGateway::start(&config).await
}

/// A request whose client waits to be asked for its body.
async fn expecting(client: &mut Frames, stream: u32) {
    let fields = [&POST[..], &[("expect", "100-continue"), ("content-length", "5")]].concat();
    assert!(client.try_send(&frames::headers(stream, 0, &fields)).await);
}

#[tokio::test]
async fn a_client_of_http_2_that_expects_100_continue_is_asked_for_its_body() {
    let http1 = Upstream::echo().await;
    let http2 = http2(|mut body, mut respond| async move {
        let mut seen = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            seen.extend_from_slice(&data);
        }
        if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
            let _ = stream.send_data(seen.into(), true);
        }
    })
    .await;
    for (upstream, settings) in [(http1.address(), ""), (http2, "protocol: http2")] {
        let gateway = gateway_to(upstream, settings).await;
        for _ in 0..3 {
            let mut client = Frames::connect(gateway.address()).await;
            expecting(&mut client, 1).await;
            assert_eq!(client.fate(1).await, Fate::Answered(100), "{settings}");
            assert!(client.try_send(&frames::frame(frames::DATA, frames::END_STREAM, 1, b"hello")).await);
            assert_eq!(client.fate(1).await, Fate::Answered(200), "{settings}");
            let body = String::from_utf8_lossy(&client.next_of(frames::DATA).await.payload).into_owned();
            assert!(body.contains("hello"), "{body}");
        }
        // A client that does not wait is not asked.
        let fields = [&POST[..], &[("expect", "100-continue")]].concat();
        let mut request = frames::headers(1, 0, &fields);
        request.extend(frames::frame(frames::DATA, frames::END_STREAM, 1, b"hello"));
        let mut client = Frames::connect(gateway.address()).await;
        assert!(client.try_send(&request).await);
        assert_eq!(client.fate(1).await, Fate::Answered(200), "{settings}");
    }
}

#[tokio::test]
async fn who_expects_100_continue_is_not_asked_for_the_body_where_the_upstream_refuses() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno").await;
    let gateway = gateway_to(upstream.address(), "").await;
    let mut client = RawClient::connect(gateway.address()).await;
    let response = client.say(EXPECTS).await.response().await;
    assert_eq!((&*response.start, response.text()), ("HTTP/1.1 413 Too Much", "no".to_owned()));
    assert!(upstream.received().contains("expect: 100-continue\r\n"), "{}", upstream.received());
    for _ in 0..2 {
        let mut client = Frames::connect(gateway.address()).await;
        expecting(&mut client, 1).await;
        assert_eq!(client.fate(1).await, Fate::Answered(413));
    }
}

#[tokio::test]
async fn a_plugin_that_sets_a_header_leaves_the_expectation_to_the_upstream() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno").await;
    let config = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: all, plugins: [{{ name: transform, config: {{ request: {{ set-headers: {{ x-a: b }} }} }} }}], upstream: it }}
",
        upstream.address()
    );
    let gateway = TestGateway::start(&config).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let response = client.say(EXPECTS).await.response().await;
    assert_eq!((&*response.start, response.text()), ("HTTP/1.1 413 Too Much", "no".to_owned()));
    let seen = upstream.received().to_ascii_lowercase();
    assert!(seen.contains("expect: 100-continue") && seen.contains("x-a: b"), "{seen}");
}

#[tokio::test]
async fn an_upstream_that_knows_no_expectations_gets_the_body_after_a_while() {
    let upstream = StrictUpstream::start().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let mut client = RawClient::connect(gateway.address()).await;
    assert_eq!(client.say(EXPECTS).await.response().await.start, "HTTP/1.1 100 Continue");
    assert_eq!(client.say("hello").await.response().await.text(), "ok");
    assert_eq!(upstream.take_seen()[0].as_ref().expect("a request").text(), "hello");
}

#[tokio::test]
async fn a_final_response_reaches_the_client_while_it_still_sends() {
    let raw = RawUpstream::answering(b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno").await;
    let multiplexed = http2(|_body, mut respond| async move {
        let response = Response::builder().status(413).body(()).expect("a response");
        if let Ok(mut stream) = respond.send_response(response, false) {
            let _ = stream.send_data("no".into(), true);
        }
    })
    .await;
    for (upstream, settings) in [(raw.address(), ""), (multiplexed, "protocol: http2")] {
        let gateway = gateway_to(upstream, settings).await;
        let mut client = RawClient::connect(gateway.address()).await;
        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.text()), (413, "no".to_owned()), "{settings}");
        for _ in 0..2 {
            let mut client = Frames::connect(gateway.address()).await;
            let mut request = frames::headers(1, 0, &POST);
            request.extend(frames::frame(frames::DATA, 0, 1, b"hello"));
            assert!(client.try_send(&request).await);
            assert_eq!(client.fate(1).await, Fate::Answered(413), "{settings}");
            // RFC 9113 §8.1: and the client is told that no more is wanted.
            assert_eq!(client.next_of(frames::RST_STREAM).await.error(), 0, "{settings}");
        }
    }
}

const HINTS: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
    x-internal: 1\r\nlink: </b.js>; rel=preload\r\n\r\n";

#[tokio::test]
async fn early_hints_reach_the_client_before_the_response() {
    let seen = Arc::new(Notify::new());
    let told = seen.clone();
    let upstream = RawUpstream::on_head(move |mut stream| {
        let told = told.clone();
        async move {
            let _ = stream.write_all(HINTS).await;
            told.notified().await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
            None
        }
    })
    .await;
    let gateway = gateway_to(upstream.address(), "").await;
    let mut client = RawClient::connect(gateway.address()).await;
    for _ in 0..3 {
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 102);
        let hints = client.response().await;
        assert_eq!(hints.status(), 103);
        assert_eq!(hints.values("link"), ["</a.css>; rel=preload", "</b.js>; rel=preload"]);
        assert_eq!(hints.fields.len(), 2, "plugins have not seen the others: {hints}");
        seen.notify_one();
        assert_eq!(client.response().await.text(), "ok");
    }
    for _ in 0..2 {
        let mut client = Frames::connect(gateway.address()).await;
        client.get(1, "a", &[]).await;
        assert_eq!(client.fate(1).await, Fate::Answered(102));
        assert_eq!(client.fate(1).await, Fate::Answered(103));
        seen.notify_one();
        assert_eq!(client.fate(1).await, Fate::Answered(200));
    }
    // HTTP/1.0 does not know of them (RFC 9110 §15.2).
    let mut client = RawClient::connect(gateway.address()).await;
    seen.notify_one();
    let response = client.say("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await.response().await;
    assert_eq!((response.status(), response.text()), (200, "ok".to_owned()));
}

#[tokio::test]
async fn of_hints_without_end_a_client_gets_a_few_and_its_response() {
    let mut all = HINTS.repeat(500);
    all.extend(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let upstream = StrictUpstream::answering(all.leak()).await;
    let gateway = gateway_to(upstream.address(), "").await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut hints = 0;
    loop {
        let response = client.response().await;
        if response.status() == 200 {
            break assert_eq!(response.text(), "ok");
        }
        hints += 1;
    }
    assert!((1..=16).contains(&hints), "{hints}");
}

/// An HTTP/2 server that does as told with each request.
async fn http2<F, R>(act: F) -> SocketAddr
where
    F: Fn(h2::RecvStream, h2::server::SendResponse<bytes::Bytes>) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let act = act.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(act(request.into_body(), respond));
                }
            });
        }
    });
    address
}
