//! Bodies that plugins read and replace. Everyone else's stream past.

use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;

use super::{Piped, passes, waiter};
use crate::support::{Client, RawUpstream, TestGateway, client::Request, counted::failed, eventually, guests};

const SMALL_BUFFER: &str = "limits: { buffer-bytes: 1KiB }";

/// One plugin before an upstream that does exactly what it is told.
async fn before(upstream: &RawUpstream, plugin: &str) -> TestGateway {
    let yaml = format!(
        "plugins: {{ {} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{plugin}], upstream: echo }}]",
        guests::waiter("upstreams: [echo]", ""),
        upstream.address(),
    );
    TestGateway::start_in(guests::folder(), &yaml).await
}

fn chunked(size: usize) -> Vec<u8> {
    let mut bytes = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b'x'; 512];
    for _ in 0..size / chunk.len() {
        bytes.extend_from_slice(b"200\r\n");
        bytes.extend_from_slice(&chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn a_request_body_is_read_and_still_forwarded() {
    let piped =
        Piped::with(&format!("[{}, {}]", waiter("read-request"), waiter("read-request")), "", SMALL_BUFFER).await;
    for body in [String::new(), "four".to_owned(), "x".repeat(1024)] {
        let response = piped.send(Request::post("/", body.clone())).await;
        assert_eq!(response.upstream_saw("x-length"), [body.len().to_string()]);
        assert_eq!(response.json()["body"], body);
        assert!(response.header("x-length").contains("cannot be replaced"), "on the way back it is gone");
    }
    let mut http2 = Client::connect_http2(piped.gateway.address()).await;
    let response = http2.send(Request::post("/", "over http2")).await;
    assert_eq!(response.upstream_saw("x-length"), ["10"]);
    assert_eq!(response.json()["body"], "over http2");
}

#[tokio::test]
async fn a_request_body_over_the_buffer_is_refused_to_the_plugin_and_forwarded_whole() {
    let piped = Piped::with(&format!("[{}]", waiter("read-request")), "", SMALL_BUFFER).await;
    let announced = piped.send(Request::post("/", "y".repeat(1025))).await;
    assert_eq!(announced.upstream_saw("x-length"), ["the body is over the limit of 1024 bytes"]);
    assert_eq!(announced.json()["body"], "y".repeat(1025));
    let counted = piped.gateway.raw(&chunked(4096)).await;
    assert!(counted.contains("over the limit of 1024 bytes"), "{counted}");
    assert!(counted.contains(&"x".repeat(4096)), "{counted}");
}

#[tokio::test]
async fn a_request_body_over_the_limit_is_413_whoever_reads_it() {
    let limits = "limits: { body-bytes: 1KiB, buffer-bytes: 64KiB }";
    for list in [format!("[{}]", waiter("read-request")), format!("[{}]", passes("a"))] {
        let piped = Piped::with(&list, "", limits).await;
        let answer = piped.gateway.raw(&chunked(4096)).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(piped.send(Request::post("/", "z".repeat(2000))).await.status, 413);
        assert_eq!(piped.send(Request::post("/", "z".repeat(1024))).await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_what_a_plugin_reads_is_told_408() {
    let piped = Piped::with(&format!("[{}]", waiter("read-request")), "", "timeouts: { body: 200ms }").await;
    let half = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = piped.gateway.raw(half).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(piped.upstream.requests(), 0);
    assert_eq!(piped.send(Request::post("/", "whole")).await.json()["body"], "whole");
}

#[tokio::test]
async fn both_bodies_are_replaced_with_their_lengths() {
    let piped = Piped::through(&format!("[{}]", waiter("replace"))).await;
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nraw\r\n").await;
    let gateway = before(&upstream, &waiter("replace")).await;
    let response = gateway.send(Request::post("/", "the original")).await;
    assert_eq!((response.text().as_str(), response.header("content-length")), ("replaced", "8"));
    let received = upstream.received();
    assert!(received.ends_with("\r\n\r\nreplaced"), "{received}");
    assert_eq!(received.matches("content-length: 8").count(), 1, "{received}");
    assert!(!received.contains("transfer-encoding") && !received.contains("original"), "{received}");

    let mut http2 = Client::connect_http2(piped.gateway.address()).await;
    let response = http2.send(Request::post("/", "the original")).await;
    assert_eq!((response.text().as_str(), response.header("content-length")), ("replaced", "8"));
    let head = http2.send(Request::new(http::Method::HEAD, "/")).await;
    assert_eq!((head.status.as_u16(), head.text().as_str()), (200, ""));
}

#[tokio::test]
async fn a_response_body_is_read_and_still_sent() {
    let piped = Piped::through(&format!("[{}]", waiter("read-response"))).await;
    let response = piped.send(Request::post("/", "echo me")).await;
    assert_eq!(response.header("x-length"), response.body.len().to_string());
    assert_eq!(response.json()["body"], "echo me");
    let large = Piped::with(&format!("[{}]", waiter("read-response")), "", SMALL_BUFFER).await;
    let response = large.send(Request::post("/", "e".repeat(5000))).await;
    assert_eq!(response.header("x-length"), "the body is over the limit of 1024 bytes");
    assert_eq!(response.json()["body"], "e".repeat(5000));
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_pass_as_whole_because_a_plugin_reads_it() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        None
    })
    .await;
    let gateway = before(&upstream, &waiter("read-response")).await;
    let mut clients = [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await];
    for client in &mut clients {
        // How much of it is seen does not matter, as long as it is not taken for a response.
        assert!(client.try_send(Request::get("/")).await.is_err());
    }
    failed(&gateway, "upstream-closed", 2).await;
}

#[tokio::test]
async fn a_skipped_plugins_replacement_is_undone() {
    let list = "[{ name: waiter, on-error: skip, config: { do: replace-then-trap } }]";
    let piped = Piped::through(list).await;
    let response = piped.send(Request::post("/", "the original")).await;
    assert_eq!(response.json()["body"], "the original");
    let answer = piped.gateway.raw(&chunked(2048)).await;
    assert!(answer.contains(&"x".repeat(2048)), "{answer}");
}

#[tokio::test]
async fn a_body_that_no_plugin_reads_is_not_waited_for() {
    let upstream = RawUpstream::answering(b"").await;
    let gateway = before(&upstream, &passes("a")).await;
    let mut client = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    eventually("half a body is there", async || upstream.received().ends_with("half")).await;
}

#[tokio::test]
async fn trailers_survive_a_plugin_that_reads() {
    let piped = Piped::through(&format!("[{}]", waiter("read-request"))).await;
    let mut http2 = Client::connect_http2(piped.gateway.address()).await;
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    let body = Full::from("body").with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    let request = Request::post("/", "").body(body).header("trailer", "x-sum");
    let response = http2.send(request).await;
    assert_eq!(response.json()["body"], "body");
    assert_eq!(response.json()["trailers"], serde_json::json!([["x-sum", "7"]]), "{}", response.text());
}
