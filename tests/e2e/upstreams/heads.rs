//! What of a response's head reaches the client, and how much a head may hold.

use super::{balanced, gateway_to, is_problem};
use crate::support::{
    Client, RawUpstream, TestGateway,
    client::Request,
    strict::{RawClient, StrictUpstream},
};

fn leaked(response: String) -> &'static [u8] {
    response.leak().as_bytes()
}

#[tokio::test]
async fn a_response_of_many_fields_arrives_with_all_of_them() {
    let fields: String = (0..1000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let trailers: String = (0..300).map(|n| format!("y-{n}: {n}\r\n")).collect();
    let response = format!(
        "HTTP/1.1 200 OK\r\n{fields}trailer: y-299\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{trailers}\r\n"
    );
    let upstream = StrictUpstream::answering(leaked(response)).await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers\r\n\r\n";
    for _ in 0..2 {
        let response = client.say(request).await.response().await;
        assert_eq!((response.value("x-0"), response.value("x-999"), response.text()), ("0", "999", "ok".to_owned()));
        assert_eq!(response.trailers, [("y-299".to_owned(), "299".to_owned())]);
    }

    let endless: String = (0..5000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let upstream =
        StrictUpstream::answering(leaked(format!("HTTP/1.1 200 OK\r\n{endless}content-length: 0\r\n\r\n"))).await;
    is_problem(&gateway_to(upstream.address()).await.get("/").await, 502);
}

#[tokio::test]
async fn a_client_of_http_1_1_reads_what_the_upstream_calls_a_status() {
    for (line, told) in [
        ("HTTP/1.1 200 Everything is fine", "HTTP/1.1 200 Everything is fine"),
        ("HTTP/1.1 404 Gone Fishing", "HTTP/1.1 404 Gone Fishing"),
        ("HTTP/1.1 499 Client Closed", "HTTP/1.1 499 Client Closed"),
        ("HTTP/1.1 499 ", "HTTP/1.1 499 "),
        ("HTTP/1.1 200", "HTTP/1.1 200 OK"),
    ] {
        let upstream = StrictUpstream::answering(leaked(format!("{line}\r\ncontent-length: 2\r\n\r\nok"))).await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = RawClient::connect(gateway.address()).await;
        assert_eq!(client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await.start, told);
        let status: u16 = line[9..12].parse().expect("a status");
        assert_eq!(Client::connect_http2(gateway.address()).await.send(Request::get("/")).await.status, status);
    }
}

#[tokio::test]
async fn the_name_of_a_status_goes_with_the_status_that_it_is_for() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 Never Mind\r\ncontent-length: 2\r\n\r\nok").await;
    let config = "upstreams: { it: { endpoints: ['http://ADDRESS'] } }
routes: [{ name: one, match: { path: /one }, respond: { status: 299 } }, { name: all, upstream: it }]
"
    .replace("ADDRESS", &upstream.address().to_string());
    let gateway = TestGateway::start(&config).await;
    let mut client = RawClient::connect(gateway.address()).await;
    assert_eq!(client.say("GET /one HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await.start, "HTTP/1.1 299 ");
    let broken =
        RawUpstream::answering(b"HTTP/1.1 200 Never Mind\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n");
    let gateway = TestGateway::start(&balanced(&[broken.await.address()], "")).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let start = client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await.start;
    assert_eq!(start, "HTTP/1.1 502 Bad Gateway");
}
