//! What changes in a message on its way through, and what must not.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{RawUpstream, Response, TestGateway, Upstream, client::Request, in_time};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const TRUSTED: &str = "trusted-proxies: [127.0.0.0/8]";

fn everything_to(upstream: SocketAddr, settings: &str) -> String {
    format!(
        "{settings}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
"
    )
}

/// A gateway before an upstream that records every byte of a request and answers with these.
async fn recording(answer: &'static [u8], settings: &str) -> (TestGateway, RawUpstream) {
    let upstream = RawUpstream::answering(answer).await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), settings)).await;
    (gateway, upstream)
}

/// A gateway before an upstream that tells what it saw.
async fn echoing(settings: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), settings)).await;
    (gateway, upstream)
}

/// The values of a field that the echo saw, in order.
fn seen(response: &Response, name: &str) -> Vec<String> {
    let json = response.json();
    let fields = json["headers"].as_array().expect("a list of headers");
    let values = fields.iter().filter(|field| field[0] == name);
    values.map(|field| field[1].as_str().expect("text").to_owned()).collect()
}

/// Whether a head has a field of this name.
fn has(head: &str, name: &str) -> bool {
    let prefix = format!("{name}:");
    head.lines().any(|line| line.to_ascii_lowercase().starts_with(&prefix))
}

/// Sends bytes and returns all that come back, byte by byte; the request must ask for the connection's end.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    in_time("the connection's end", stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn fields_for_one_connection_do_not_reach_the_upstream() {
    let (gateway, upstream) = recording(OK, "").await;
    let answer = gateway
        .raw(
            b"GET /x HTTP/1.1\r\nHost: example.com\r\nConnection: close, X-Hop, te\r\nConnection: x-second\r\n\
              X-Hop: 1\r\nx-hop: 2\r\nX-Second: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
              Proxy-Authorization: Basic eDp5\r\nTE: trailers, gzip\r\nUpgrade: h2c, websocket\r\n\
              Authorization: Bearer kept\r\nX-Kept: yes\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = upstream.received();
    for name in
        ["x-hop", "x-second", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "transfer-encoding"]
    {
        assert!(!has(&head, name), "{name} in {head}");
    }
    assert!(!head.contains("gzip") && !head.contains("close"), "{head}");
    assert!(has(&head, "x-kept") && has(&head, "authorization"), "{head}");
}

#[tokio::test]
async fn connection_cannot_name_away_what_the_upstream_relies_on() {
    let (gateway, upstream) = recording(OK, "").await;
    gateway
        .raw(
            b"POST /x HTTP/1.1\r\nHost: example.com\r\nConnection: close, host, content-length, authorization, \
              x-forwarded-for, cookie, x-request-id\r\nContent-Length: 2\r\nAuthorization: Bearer kept\r\nCookie: a=b\r\n\r\nhi",
        )
        .await;
    let head = upstream.received();
    for name in ["host", "content-length", "authorization", "x-forwarded-for", "cookie", "x-request-id"] {
        assert!(has(&head, name), "{name} is not in {head}");
    }
    assert!(head.ends_with("\r\n\r\nhi"), "{head}");
}

#[tokio::test]
async fn fields_for_one_connection_do_not_reach_the_client() {
    let answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5, max=100\r\n\
                   Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nhi\r\n0\r\n\r\n";
    let (gateway, _upstream) = recording(answer, "").await;
    let answer = gateway.raw(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    for name in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert!(!has(head, name), "{name} in {head}");
    }
    assert!(has(head, "x-kept") && has(head, "connection") && head.contains("close"), "{head}");
    assert_eq!(body, "2\r\nhi\r\n0\r\n\r\n");
}

#[tokio::test]
async fn what_an_untrusted_client_says_about_itself_is_replaced() {
    let (gateway, _upstream) = echoing("").await;
    let request = Request::get("/")
        .header("host", "api.example.com:8080")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.example.com")
        .header("x-forwarded-prefix", "/evil")
        .header("x-forwarded-port", "1")
        .header("x-real-ip", "192.0.2.1")
        .header("x_forwarded_proto", "https")
        .header("x_forwarded-for", "192.0.2.1")
        .header("x_real_ip", "192.0.2.1")
        .header("x-real_ip", "192.0.2.1")
        .header("forwarded", "for=192.0.2.1;proto=https")
        .header("x-request-id", "mine");
    let response = gateway.send(request).await;
    assert_eq!(seen(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&response, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&response, "x-forwarded-host"), ["api.example.com:8080"]);
    assert_eq!(seen(&response, "forwarded"), [r#"for=127.0.0.1;host="api.example.com:8080";proto=http"#]);
    assert!(seen(&response, "x-forwarded-prefix").is_empty());
    assert_eq!(seen(&response, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen(&response, "x-forwarded-port"), ["8080"]);
    for name in ["x_forwarded_proto", "x_forwarded-for", "x_real_ip", "x-real_ip"] {
        assert!(seen(&response, name).is_empty(), "{name} reaches services that read `_` as `-`");
    }
    assert_ne!(seen(&response, "x-request-id"), ["mine"]);
}

#[tokio::test]
async fn a_trusted_proxys_word_is_kept_and_continued() {
    let (gateway, _upstream) = echoing(TRUSTED).await;
    let request = Request::get("/")
        .header("host", "internal")
        .header("x-forwarded-for", "192.0.2.1, 198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "api.example.com")
        .header("x-request-id", "from-the-proxy");
    let response = gateway.send(request).await;
    assert_eq!(seen(&response, "x-forwarded-for"), ["192.0.2.1, 198.51.100.7, 127.0.0.1"]);
    assert_eq!(seen(&response, "x-forwarded-proto"), ["https"]);
    assert_eq!(seen(&response, "x-forwarded-host"), ["api.example.com"]);
    let expected = r#"for=192.0.2.1, for=198.51.100.7, for=127.0.0.1;host="internal";proto=http"#;
    assert_eq!(seen(&response, "forwarded"), [expected]);
    assert_eq!(seen(&response, "x-request-id"), ["from-the-proxy"]);
    assert_eq!(response.header("x-request-id"), "from-the-proxy");
}

/// What the upstream reads of scheme, host, port and client, when a trusted proxy sends these fields.
async fn told(gateway: &TestGateway, fields: &[(&str, &str)]) -> [String; 4] {
    let request = Request::get("/").header("host", "internal:8080");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = gateway.send(request).await;
    ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"].map(|name| {
        let [value] = &seen(&response, name)[..] else { panic!("{name} is not one: {}", response.text()) };
        value.clone()
    })
}

/// Fields, and what the upstream reads.
type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 4]);

#[tokio::test]
async fn scheme_host_and_port_are_those_of_the_clients_hop() {
    let (gateway, _upstream) = echoing("trusted-proxies: [127.0.0.0/8, 10.0.0.0/8]").await;
    let cases: &[Case<'_>] = &[
        (&[("x-forwarded-proto", "https,http")], ["https", "internal:8080", "8080", "127.0.0.1"]),
        (
            &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "a.test")],
            ["https", "a.test", "443", "127.0.0.1"],
        ),
        (
            &[("x-forwarded-proto", "wss"), ("x-forwarded-host", "a.test, b.internal")],
            ["https", "a.test", "443", "127.0.0.1"],
        ),
        (&[("x-forwarded-proto", "ws"), ("x-forwarded-host", "a.test:81")], ["http", "a.test:81", "81", "127.0.0.1"]),
        (
            &[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443, 80"), ("x-forwarded-host", "a.test")],
            ["https", "a.test", "8443", "127.0.0.1"],
        ),
        // One value for each address: the client's own invention stands left of what the first proxy wrote.
        (
            &[
                ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.1"),
                ("x-forwarded-proto", "https, http, https"),
                ("x-forwarded-host", "evil.test, a.test, b.internal"),
                ("x-forwarded-port", "1, 8080, 2"),
            ],
            ["http", "a.test", "8080", "192.0.2.1"],
        ),
        (
            &[(
                "forwarded",
                "for=203.0.113.9;proto=http;host=evil.test, for=192.0.2.1;proto=https;host=\"a.test:8443\", for=10.0.0.1;proto=http;host=b",
            )],
            ["https", "a.test:8443", "8443", "192.0.2.1"],
        ),
        (
            &[("x-real-ip", "192.0.2.1"), ("x-forwarded-proto", "https")],
            ["https", "internal:8080", "8080", "192.0.2.1"],
        ),
        // What is not valid is replaced by what the connection says.
        (
            &[("x-forwarded-proto", "javascript"), ("x-forwarded-host", "a\"b"), ("x-forwarded-port", "0")],
            ["http", "internal:8080", "8080", "127.0.0.1"],
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(told(&gateway, fields).await, *expected, "{fields:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxys_prefix_passes_and_a_stripped_one_is_added() {
    let upstream = Upstream::echo().await;
    let yaml = |settings: &str| {
        format!(
            "{settings}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: all
    plugins: [{{ name: transform, config: {{ request: {{ path: {{ strip-prefix: /api }} }} }} }}]
    upstream: echo
",
            upstream.address()
        )
    };
    let trusting = TestGateway::start(&yaml(TRUSTED)).await;
    let other = TestGateway::start(&yaml("")).await;
    let ask = async |gateway: &TestGateway, target: &str| {
        seen(&gateway.send(Request::get(target).header("x-forwarded-prefix", "/outer/")).await, "x-forwarded-prefix")
    };
    assert_eq!(ask(&trusting, "/api/x").await, ["/outer/api"]);
    assert_eq!(ask(&trusting, "/x").await, ["/outer/"]);
    assert_eq!(ask(&other, "/api/x").await, ["/api"]);
    assert_eq!(ask(&other, "/x").await, [""; 0]);
}

#[tokio::test]
async fn forwarded_alone_is_continued_too() {
    let (gateway, _upstream) = echoing(TRUSTED).await;
    let request =
        Request::get("/").header("host", "internal").header("forwarded", r#"for="[2001:db8::1]";proto=https"#);
    let response = gateway.send(request).await;
    assert_eq!(seen(&response, "x-forwarded-for"), ["2001:db8::1, 127.0.0.1"]);
    assert_eq!(seen(&response, "x-forwarded-proto"), ["https"]);
    let expected = r#"for="[2001:db8::1]";proto=https, for=127.0.0.1;host="internal";proto=http"#;
    assert_eq!(seen(&response, "forwarded"), [expected]);
}

#[tokio::test]
async fn a_request_id_is_made_for_each_request_and_told_to_both_sides() {
    let (gateway, _upstream) = echoing("").await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let response = gateway.get("/").await;
        let [id] = &seen(&response, "x-request-id")[..] else { panic!("one id: {}", response.text()) };
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(response.header("x-request-id"), id);
        ids.insert(id.clone());
    }
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn a_trusted_proxys_request_id_is_kept_only_if_it_is_sane() {
    let (gateway, _upstream) = echoing(TRUSTED).await;
    let long = "a".repeat(129);
    for id in ["two words", "", &long] {
        let response = gateway.send(Request::get("/").header("x-request-id", id)).await;
        assert_ne!(seen(&response, "x-request-id"), [id]);
        assert_eq!(response.header_values("x-request-id").len(), 1);
    }
    let twice = Request::get("/").header("x-request-id", "a").header("x-request-id", "b");
    assert_eq!(seen(&gateway.send(twice).await, "x-request-id")[0].len(), 32);
}

#[tokio::test]
async fn the_upstreams_own_request_id_is_left_in_its_response() {
    let (gateway, _upstream) =
        recording(b"HTTP/1.1 200 OK\r\nx-request-id: theirs\r\ncontent-length: 0\r\n\r\n", "").await;
    assert_eq!(gateway.get("/").await.header_values("x-request-id"), ["theirs"]);
}

#[tokio::test]
async fn the_upstream_sees_the_clients_host_or_its_own() {
    let upstream = Upstream::echo().await;
    let address = upstream.address();
    let gateway = TestGateway::start(&format!(
        "upstreams:
  preserving: {{ endpoints: ['http://{address}'] }}
  naming: {{ endpoints: ['http://{address}'], host: endpoint }}
routes:
  - {{ name: preserving, match: {{ path: '/preserve' }}, upstream: preserving }}
  - {{ name: naming, match: {{ path: '/endpoint' }}, upstream: naming }}
"
    ))
    .await;
    let ask = async |target: &str| gateway.send(Request::get(target).header("host", "Api.Example.com:81")).await;
    assert_eq!(seen(&ask("/preserve").await, "host"), ["Api.Example.com:81"]);
    let response = ask("/endpoint").await;
    assert_eq!(seen(&response, "host"), [address.to_string()]);
    assert_eq!(seen(&response, "x-forwarded-host"), ["Api.Example.com:81"]);
}

#[tokio::test]
async fn an_absolute_target_decides_the_host() {
    let (gateway, upstream) = recording(OK, "").await;
    gateway
        .raw(b"GET http://real.example.com/x?y HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n")
        .await;
    let head = upstream.received();
    assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nhost: real.example.com\r\n"), "{head}");
    assert!(!head.contains("other.example.com"), "{head}");
}

#[tokio::test]
async fn date_and_server_of_the_upstream_are_not_touched() {
    let answer =
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: theirs/1.0\r\nContent-Length: 0\r\n\r\n";
    let (gateway, _upstream) = recording(answer, "").await;
    let response = gateway.get("/").await;
    assert_eq!(response.header_values("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(response.header_values("server"), ["theirs/1.0"]);
    let (gateway, _upstream) = recording(OK, "").await;
    let response = gateway.get("/").await;
    // RFC 9110 §6.6.1: who has a clock and forwards a response without Date adds one.
    assert_eq!(response.header_values("date").len(), 1);
    assert!(response.headers.get("server").is_none(), "the gateway names itself");
}

#[tokio::test]
async fn repeated_fields_stay_apart_and_in_order() {
    let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-Between: yes\r\nSet-Cookie: b=2, still b\r\n\
                   Set-Cookie: c=3\r\nContent-Length: 0\r\n\r\n";
    let (gateway, upstream) = recording(answer, "").await;
    let request = Request::get("/").header("x-many", "1").header("x-many", "2, 3").header("x-many", "4");
    let response = gateway.send(request).await;
    assert_eq!(response.header_values("set-cookie"), ["a=1; Path=/", "b=2, still b", "c=3"]);
    let head = upstream.received();
    let many: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("x-many: ")).collect();
    assert_eq!(many, ["1", "2, 3", "4"]);
}

#[tokio::test]
async fn octets_above_ascii_in_values_pass_as_they_are() {
    let answer = b"HTTP/1.1 200 OK\r\nx-latin: caf\xe9\r\nx-utf8: \xc3\xbc\r\nx-odd: \xff\xfe\x80\tz\r\ncontent-length: 0\r\n\r\n";
    let (gateway, upstream) = recording(answer, "").await;
    let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nx-latin: na\xefve\r\nx-odd: \xff\xfe\x80\tz\r\n\r\n";
    let answer = exchange(gateway.address(), request).await;
    for line in [&b"\r\nx-latin: caf\xe9\r\n"[..], b"\r\nx-utf8: \xc3\xbc\r\n", b"\r\nx-odd: \xff\xfe\x80\tz\r\n"] {
        assert!(contains(&answer, line), "{line:?} not in {:?}", String::from_utf8_lossy(&answer));
    }
    let arrived = upstream.received_bytes();
    for line in [&b"\r\nx-latin: na\xefve\r\n"[..], b"\r\nx-odd: \xff\xfe\x80\tz\r\n"] {
        assert!(contains(&arrived, line), "{line:?} not in {:?}", String::from_utf8_lossy(&arrived));
    }
}

#[tokio::test]
async fn every_status_of_the_upstream_passes() {
    let upstream = Upstream::serving(|request| async move {
        let status: u16 = request.uri().path()[1..].parse().expect("the path is a status");
        let mut response = http::Response::new(crate::support::upstream::full("theirs"));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    })
    .await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    for status in [200, 201, 206, 299, 301, 308, 400, 401, 404, 418, 429, 451, 500, 503, 599, 799] {
        let response = gateway.get(&format!("/{status}")).await;
        assert_eq!((response.status.as_u16(), response.text().as_str()), (status, "theirs"));
    }
}
