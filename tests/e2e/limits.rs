//! What is too much, too long or too late: each has its own answer, as a problem that leaks nothing.

use std::{net::SocketAddr, time::Duration};

use http::Method;

use crate::support::{
    Client, RawUpstream, Response, TestGateway, Upstream,
    client::Request,
    counted::{failed, failures},
    feed::feed,
    frames::{self, Fate, Frames},
    strict::{End, Message, RawClient},
};

/// Small limits.
fn strict(upstream: SocketAddr, more: &str) -> String {
    format!(
        "limits: {{ header-bytes: 4KiB, header-count: 20, uri-bytes: 1KiB, body-bytes: 64KiB }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - {{ name: all, match: {{ host: a.example, path: '/{{*rest}}', methods: [GET, POST] }}, upstream: echo }}
{more}
"
    )
}

/// Short time-outs.
const QUICK: &str = "timeouts: { header-read: 300ms, idle: 300ms, body: 300ms, request: 300ms }";

fn get(target: &str) -> Request {
    Request::get(target).header("host", "a.example")
}

fn head(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

/// RFC 9457, and nothing but what `http/reply.rs` documents.
fn is_problem(response: &Response, status: u16) {
    let content_type = response.header("content-type");
    let body = check_problem(response.status.as_u16(), status, content_type, &response.body);
    assert_eq!(body, response.header("x-request-id"));
    for name in ["server", "via", "x-powered-by", "x-forwarded-for", "forwarded"] {
        assert!(!response.headers.contains_key(name), "{name}");
    }
}

fn is_raw_problem(response: &Message, status: u16) {
    let body = check_problem(response.status(), status, response.value("content-type"), &response.body);
    assert_eq!(body, response.value("x-request-id"));
    let known = ["content-type", "cache-control", "content-length", "connection", "date", "x-request-id"];
    let unknown: Vec<_> = response.fields.iter().filter(|(name, _)| !known.contains(&&**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The request's identifier.
fn check_problem(status: u16, expected: u16, content_type: &str, body: &[u8]) -> String {
    assert_eq!(status, expected, "{}", String::from_utf8_lossy(body));
    assert_eq!(content_type, "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let members: Vec<_> = problem.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["type", "title", "status", "detail", "request-id"]);
    assert_eq!(problem["status"], expected);
    let text = problem.to_string();
    assert!(!text.contains("127.0.0.1") && !text.contains("hyper") && !text.contains("os error"), "{text}");
    problem["request-id"].as_str().expect("a string").to_owned()
}

/// Sends bytes and reads one answer and the end of the connection.
async fn raw(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> Message {
    let mut client = RawClient::connect(gateway.address()).await;
    let response = client.say(bytes).await.response().await;
    client.is_closed().await;
    response
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_request() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    is_raw_problem(&raw(&gateway, "what is this?\r\n\r\n").await, 400);
    is_raw_problem(&raw(&gateway, "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}").await, 400);
    failed(&gateway, "malformed-request", 2).await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn what_no_route_matches_is_not_found() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    is_problem(&gateway.get("/").await, 404);
    failed(&gateway, "no-route", 1).await;
}

#[tokio::test]
async fn another_method_is_not_allowed() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    let response = gateway.send(Request::new(Method::DELETE, "/").header("host", "a.example")).await;
    is_problem(&response, 405);
    assert_eq!(response.header("allow"), "GET, POST");
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_answered_with_408() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    for part in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a.example\r\n"] {
        let response = raw(&gateway, part).await;
        is_raw_problem(&response, 408);
        assert_eq!(response.value("connection"), "close");
    }
    failed(&gateway, "head-timeout", 3).await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_late_as_a_whole() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\n").await;
    let response = loop {
        // Each line is in time for itself.
        client.say("X-A: 1\r\n").await;
        let answer = tokio::time::timeout(std::time::Duration::from_millis(50), client.try_response()).await;
        if let Ok(answer) = answer {
            break answer.expect("a response");
        }
    };
    is_raw_problem(&response, 408);
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_to_come_in_time_too() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 200);
    client.say("GET / HTT").await;
    is_raw_problem(&client.response().await, 408);
    client.is_closed().await;
}

#[tokio::test]
async fn a_connection_without_a_request_closes_silently() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    RawClient::connect(gateway.address()).await.is_closed().await;
    let mut used = RawClient::connect(gateway.address()).await;
    used.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(used.response().await.status(), 200);
    used.is_closed().await;
    let mut http2 = Frames::connect(gateway.address()).await;
    http2.is_ended().await;
    assert_eq!(failures(&gateway, "head-timeout").await, 0);
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_with_408() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "timeouts: { body: 300ms }")).await;
    is_raw_problem(&raw(&gateway, head("Content-Length: 10\r\n") + "hello").await, 408);
    is_raw_problem(&raw(&gateway, head("Transfer-Encoding: chunked\r\n") + "5\r\nhel").await, 408);
    let (body, unsent) = feed();
    let mut client = Client::connect_http2(gateway.address()).await;
    let request = Request::post("/", "").header("host", "a.example").body(unsent);
    is_problem(&client.send(request).await, 408);
    failed(&gateway, "body-timeout", 3).await;
    drop(body);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_before_it_comes() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    is_raw_problem(&raw(&gateway, head("Content-Length: 65537\r\n")).await, 413);
    is_raw_problem(&raw(&gateway, head("Expect: 100-continue\r\nContent-Length: 65537\r\n")).await, 413);
    let mut client = Client::connect_http2(gateway.address()).await;
    let request = Request::post("/", vec![b'x'; 65537]).header("host", "a.example");
    is_problem(&client.send(request).await, 413);
    failed(&gateway, "body-too-large", 3).await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_body_without_length_is_refused_when_it_goes_over_its_limit() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    for http2 in [false, true] {
        let address = gateway.address();
        let mut client = if http2 { Client::connect_http2(address).await } else { Client::connect(address).await };
        let (body, streamed) = feed();
        let sending = tokio::spawn(async move { while body.data(vec![b'x'; 16 * 1024]).await {} });
        let request = Request::post("/", "").header("host", "a.example").body(streamed);
        is_problem(&client.send(request).await, 413);
        drop(client);
        sending.await.expect("the body is given up");
    }
    failed(&gateway, "body-too-large", 2).await;
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    let body = "x".repeat(64 * 1024);
    let response = gateway.send(Request::post("/", body.clone()).header("host", "a.example")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["body"], body);
}

#[tokio::test]
async fn a_target_over_its_limit_is_too_long() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    let path = format!("/{}", "x".repeat(1023));
    assert_eq!(gateway.send(get(&path)).await.status, 200);
    is_problem(&gateway.send(get(&format!("{path}x"))).await, 414);
    is_problem(&gateway.send(get(&format!("/?{}", "x".repeat(1023)))).await, 414);
    let mut client = Client::connect_http2(gateway.address()).await;
    is_problem(&client.send(get(&format!("{path}x"))).await, 414);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn headers_over_their_limit_are_too_large() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    assert_eq!(gateway.send(get("/").header("x-a", &"x".repeat(3900))).await.status, 200);
    is_problem(&gateway.send(get("/").header("x-a", &"x".repeat(4096))).await, 431);
    // Over what the parser takes as well.
    is_raw_problem(&raw(&gateway, head(&format!("X-A: {}\r\n", "x".repeat(10_000)))).await, 431);
    // Without end.
    is_raw_problem(&raw(&gateway, head(&"x".repeat(10_000))).await, 431);
    let mut client = Client::connect_http2(gateway.address()).await;
    is_problem(&client.send(get("/").header("x-a", &"x".repeat(4096))).await, 431);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn too_many_headers_are_too_large() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    // `Host` is one of them.
    let many = |n| (0..n).fold(get("/"), |request, i| request.header(&format!("x-{i}"), "1"));
    assert_eq!(gateway.send(many(19)).await.status, 200);
    is_problem(&gateway.send(many(20)).await, 431);
    let repeated = (0..20).fold(get("/"), |request, _| request.header("x-same", "1"));
    is_problem(&gateway.send(repeated).await, 431);
    let mut client = Client::connect_http2(gateway.address()).await;
    is_problem(&client.send(many(21)).await, 431);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn http_2_headers_far_over_their_limit_cost_the_stream_only() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    let mut client = Frames::connect(gateway.address()).await;
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
    let large = "x".repeat(10_000);
    let fields: Vec<_> = usual.into_iter().chain([("x-a", &*large)]).collect();
    client.try_send(&frames::headers(1, frames::END_STREAM, &fields)).await;
    assert_eq!(client.fate(1).await, Fate::Answered(431));
    client.try_send(&frames::headers(3, frames::END_STREAM, &usual)).await;
    assert_eq!(client.fate(3).await, Fate::Answered(200));
}

#[tokio::test]
async fn connections_over_their_limit_are_turned_away() {
    let upstream = Upstream::echo().await;
    let config = strict(upstream.address(), "").replace("limits: {", "limits: { connections: 2,");
    let gateway = TestGateway::start(&config).await;
    let mut first = Client::connect(gateway.address()).await;
    let mut second = Client::connect(gateway.address()).await;
    assert_eq!(first.send(get("/")).await.status, 200);
    assert_eq!(second.send(get("/")).await.status, 200);
    is_raw_problem(&raw(&gateway, "").await, 503);
    failed(&gateway, "too-many-connections", 1).await;
    drop(first);
    crate::support::eventually("a place becoming free", async || {
        let mut third = RawClient::connect(gateway.address()).await;
        third.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        third.response().await.status() == 200
    })
    .await;
    assert_eq!(second.send(get("/")).await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let upstream = RawUpstream::answering(b"").await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    is_problem(&gateway.send(get("/")).await, 504);
    upstream.closed().await;
    let half = RawUpstream::answering(b"HTTP/1.1 200 OK\r\nx-half: ").await;
    let gateway = TestGateway::start(&strict(half.address(), QUICK)).await;
    is_problem(&gateway.send(get("/")).await, 504);
    failed(&gateway, "upstream-timeout", 1).await;
}

#[tokio::test]
async fn a_routes_own_time_out_counts() {
    let upstream = RawUpstream::answering(b"").await;
    let config =
        strict(upstream.address(), "").replace("upstream: echo }", "upstream: echo, timeouts: { request: 300ms } }");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.send(get("/")).await, 504);
}

#[tokio::test]
async fn a_response_that_stalls_is_cut_off() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let response = client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await;
    assert!(matches!(response, Err(End::CutOff(_))), "{response:?}");
    failed(&gateway, "upstream-timeout", 1).await;
    upstream.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_response_is_given_up() {
    let upstream = Upstream::serving(|_| async {
        let (body, streamed) = feed();
        tokio::spawn(async move { while body.data(vec![b'x'; 64 * 1024]).await {} });
        http::Response::new(streamed)
    })
    .await;
    let gateway = TestGateway::start(&strict(upstream.address(), QUICK)).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    // Not a byte is read.
    failed(&gateway, "client-timeout", 1).await;
    // The stream's window stays closed, while others on the connection could flow.
    let mut client = Client::connect_http2(gateway.address()).await;
    let _response = client.begin(get("/")).await.unwrap();
    failed(&gateway, "client-timeout", 2).await;
    assert_eq!(failures(&gateway, "client-closed").await, 0);
}

#[tokio::test]
async fn a_response_that_takes_too_long_in_all_is_cut_off_for_that() {
    let upstream = Upstream::serving(|_| async {
        let (body, streamed) = feed();
        tokio::spawn(async move {
            while body.data("x").await {
                // The pace of a body that never ends.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        http::Response::new(streamed)
    })
    .await;
    let config =
        strict(upstream.address(), "").replace("upstream: echo }", "upstream: echo, timeouts: { total: 300ms } }");
    let gateway = TestGateway::start(&config).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let response = client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await;
    assert!(matches!(response, Err(End::CutOff(_))), "{response:?}");
    failed(&gateway, "total-timeout", 1).await;
    let silent = RawUpstream::answering(b"").await;
    let config =
        strict(silent.address(), "").replace("upstream: echo }", "upstream: echo, timeouts: { total: 300ms } }");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.send(get("/")).await, 504);
    failed(&gateway, "total-timeout", 1).await;
    assert_eq!(failures(&gateway, "upstream-timeout").await, 0);
}

#[tokio::test]
async fn an_expectation_other_than_100_continue_fails() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    is_problem(&gateway.send(get("/").header("expect", "a-miracle")).await, 417);
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn trace_and_connect_are_not_implemented() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&strict(upstream.address(), "")).await;
    is_problem(&gateway.send(Request::new(Method::TRACE, "/").header("host", "a.example")).await, 501);
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await;
    let response = client.response().await;
    is_raw_problem(&response, 501);
    assert_eq!(upstream.requests(), 0);
}
