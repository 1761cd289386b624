//! Who leaves, whichever side it is, and what becomes of the other side.

use http::Response;
use http_body_util::combinators::BoxBody;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::gateway_to;
use crate::support::{
    RawUpstream, TestGateway, Upstream,
    counted::failed,
    eventually,
    frames::{self, Fate, Frames},
    in_time, raw,
    strict::{End, Kind, RawClient, StrictUpstream},
};

#[tokio::test]
async fn a_client_that_leaves_before_the_response_cancels_the_request() {
    let upstream = RawUpstream::answering(b"").await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the request arriving", async || upstream.received().ends_with("\r\n\r\n")).await;
    drop(client);
    upstream.closed().await;
    failed(&gateway, "client-closed", 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_the_response_cancels_the_request() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello").await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    raw::read_until(&mut client, "hello").await;
    drop(client);
    upstream.closed().await;
    failed(&gateway, "client-closed", 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_request_leaves_no_whole_request_behind() {
    let upstream = StrictUpstream::start().await;
    let gateway = gateway_to(upstream.address()).await;
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = RawClient::connect(gateway.address()).await;
        client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        drop(client);
        let mut seen = Vec::new();
        eventually("the upstream being given up", async || {
            seen.extend(upstream.take_seen());
            !seen.is_empty()
        })
        .await;
        assert!(matches!(seen[..], [Err(End::CutOff(_))]), "{seen:?}");
    }
}

#[tokio::test]
async fn an_http_2_stream_that_is_reset_cancels_its_request_only() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello").await;
    let named = Upstream::named("undisturbed").await;
    let config = format!(
        "upstreams: {{ slow: {{ endpoints: ['http://{}'] }}, named: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: slow, match: {{ path: /slow }}, upstream: slow }}
  - {{ name: named, match: {{ path: / }}, upstream: named }}
",
        upstream.address(),
        named.address()
    );
    let gateway = TestGateway::start(&config).await;
    let mut client = Frames::connect(gateway.address()).await;
    let request = [(":method", "GET"), (":scheme", "http"), (":path", "/slow"), (":authority", "a")];
    client.try_send(&frames::headers(1, frames::END_STREAM, &request)).await;
    assert_eq!(client.fate(1).await, Fate::Answered(200));
    client.try_send(&frames::reset(1)).await;
    upstream.closed().await;
    failed(&gateway, "client-closed", 1).await;
    client.get(3, "a", &[]).await;
    assert_eq!(client.fate(3).await, Fate::Answered(200));
}

#[tokio::test]
async fn an_http_2_upload_that_is_reset_leaves_no_whole_request_behind() {
    let upstream = StrictUpstream::start().await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = Frames::connect(gateway.address()).await;
    let request = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    client.try_send(&frames::headers(1, 0, &request)).await;
    client.try_send(&frames::frame(frames::DATA, 0, 1, b"hello")).await;
    client.try_send(&frames::reset(1)).await;
    client.try_send(&frames::headers(3, frames::END_STREAM, &request)).await;
    assert_eq!(client.fate(3).await, Fate::Answered(200));
    failed(&gateway, "client-closed", 1).await;
    let whole: Vec<_> = upstream.take_seen().into_iter().flatten().map(|request| request.text()).collect();
    assert_eq!(whole, [""]);
}

#[tokio::test]
async fn an_upstream_that_gives_up_an_upload_ends_it() {
    let upstream = Upstream::serving(|request| async {
        drop(request.into_body());
        Response::new(BoxBody::default())
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let response = in_time("a response", client.0.message(Kind::Response)).await.expect("a response");
    assert_eq!(response.status(), 200);
    // The upstream has closed, and so the rest of the body has nowhere to go.
    client.is_closed().await;
}
