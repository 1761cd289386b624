//! HTTP/2 on the client's side: streams beside each other, limits, bodies, trailers, the end of a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    Client, Gate, RawUpstream, TestGateway, Upstream,
    client::{Body, Request},
    frames::{DATA, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS},
    in_time,
};

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
/// RFC 9113 §6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;

fn everything_to(upstream: SocketAddr, settings: &str) -> String {
    format!(
        "{settings}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
"
    )
}

/// One connection, of which every clone of the sender opens streams.
async fn connect(address: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(address: SocketAddr, target: &str) -> http::Request<Body> {
    http::Request::get(format!("http://{address}{target}")).body(Full::default().boxed()).unwrap()
}

/// Sends all requests at once and returns the tasks that wait for their answers.
fn send_all(
    sender: &SendRequest<Body>,
    requests: impl IntoIterator<Item = http::Request<Body>>,
) -> Vec<tokio::task::JoinHandle<(u16, Bytes)>> {
    let send = |request| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            in_time("the connection", sender.ready()).await.unwrap();
            let response = in_time("a response", sender.send_request(request)).await.unwrap();
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes())
        })
    };
    requests.into_iter().map(send).collect()
}

#[tokio::test]
async fn a_hundred_streams_of_one_connection_are_served_beside_each_other() {
    let upstream = Gate::answering("done").await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let sender = connect(gateway.address()).await;
    let requests = (0..100).map(|n| get(gateway.address(), &format!("/{n}")));
    let answers = send_all(&sender, requests);
    // All of them are with the upstream before any is answered.
    upstream.arrivals(100).await;
    upstream.release(100);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), (200, Bytes::from_static(b"done")));
    }
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_connections_accepted_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn thousands_of_requests_on_one_connection_each_get_their_own_answer() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let sender = connect(gateway.address()).await;
    let requests = (0..2000).map(|n| get(gateway.address(), &format!("/{n}")));
    for (n, answer) in send_all(&sender, requests).into_iter().enumerate() {
        let (status, body) = answer.await.unwrap();
        assert_eq!(status, 200);
        let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(seen["target"], format!("/{n}"));
    }
}

#[tokio::test]
async fn a_client_that_heeds_the_limit_of_streams_gets_every_answer() {
    let upstream = Gate::answering("done").await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "limits: { max-concurrent-streams: 4 }")).await;
    let sender = connect(gateway.address()).await;
    // The limit comes with the server's settings, which the first answer follows.
    upstream.release(1);
    let first = send_all(&sender, [get(gateway.address(), "/")]).pop().unwrap();
    assert_eq!(first.await.unwrap().0, 200);
    upstream.arrivals(1).await;
    let answers = send_all(&sender, (0..12).map(|_| get(gateway.address(), "/")));
    for _ in 0..3 {
        upstream.arrivals(4).await;
        assert_eq!(upstream.waiting(), 0, "more streams than the limit");
        upstream.release(4);
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn a_stream_over_the_limit_is_refused_and_the_others_go_on() {
    let upstream = Gate::answering("done").await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "limits: { max-concurrent-streams: 2 }")).await;
    let mut client = Frames::connect(gateway.address()).await;
    assert_eq!(client.next_of(SETTINGS).await.setting(MAX_CONCURRENT_STREAMS), Some(2));
    for stream in [1, 3, 5] {
        client.get(stream, "example.com", &[]).await;
    }
    let refused = client.next_of(RST_STREAM).await;
    assert_eq!((refused.stream, refused.error()), (5, REFUSED_STREAM));
    upstream.arrivals(2).await;
    upstream.release(2);
    for _ in 0..2 {
        assert!(client.next_of(DATA).await.payload == b"done");
    }
    assert_eq!(upstream.waiting(), 0, "the refused request reached the upstream");
}

#[tokio::test]
async fn large_bodies_pass_both_ways_at_once() {
    // Sends back what comes, as it comes.
    let upstream = Upstream::serving(|request| async move {
        http::Response::new(request.into_body().map_err(std::io::Error::other).boxed())
    })
    .await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let bodies: Vec<Bytes> =
        (0..4_u8).map(|n| (0..2 << 20).map(|at: usize| (at % 251) as u8 ^ n).collect::<Vec<u8>>().into()).collect();
    let sender = connect(gateway.address()).await;
    let request = |body: &Bytes| {
        let uri = format!("http://{}/", gateway.address());
        http::Request::post(uri).body(Full::new(body.clone()).boxed()).unwrap()
    };
    let answers = send_all(&sender, bodies.iter().map(request));
    for (answer, body) in answers.into_iter().zip(&bodies) {
        let (status, echoed) = answer.await.unwrap();
        assert_eq!(status, 200);
        assert!(echoed == *body, "{} bytes came back of {}", echoed.len(), body.len());
    }
}

#[tokio::test]
async fn trailers_pass_from_client_to_upstream() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    let body = Full::from("body").with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    let request = Request::post("/", "").header("trailer", "x-checksum").body(body);
    let seen = client.send(request).await.json();
    assert_eq!(seen["body"], "body");
    assert_eq!(seen["trailers"], serde_json::json!([["x-checksum", "abc"]]));
}

#[tokio::test]
async fn trailers_pass_from_upstream_to_client() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status, x-other\r\n\r\n\
          4\r\nbody\r\n0\r\ngrpc-status: 0\r\nx-other: yes\r\n\r\n",
    )
    .await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::get("/").header("te", "trailers")).await;
    assert_eq!(response.text(), "body");
    let trailers = response.trailers.expect("trailers");
    assert_eq!((&trailers["grpc-status"], &trailers["x-other"]), (&"0".parse().unwrap(), &"yes".parse().unwrap()));
    assert!(response.headers.get("transfer-encoding").is_none());
}

#[tokio::test]
async fn host_may_repeat_the_authority_and_must_not_contradict_it() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let mut sender = connect(gateway.address()).await;
    let mut ask = async |authority: &str, host: Option<&str>| {
        let mut request = http::Request::get(format!("http://{authority}/"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = sender.send_request(request.body(Full::default().boxed()).unwrap()).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    for (authority, host) in [
        ("api.example.com", None),
        ("api.example.com", Some("api.example.com")),
        ("api.example.com", Some("API.example.com:80")),
    ] {
        let (status, seen) = ask(authority, host).await;
        assert_eq!(status, 200, "{host:?}");
        assert!(seen.contains(r#"["host","api.example.com"]"#), "{seen}");
        assert_eq!(seen.matches(r#"["host","#).count(), 1, "{seen}");
    }
    let (status, problem) = ask("api.example.com", Some("other.example.com")).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem.contains(r#""status":400"#), "{problem}");
    // The connection is none the worse for it.
    assert_eq!(ask("api.example.com", None).await.0, 200);
}

#[tokio::test]
async fn connection_specific_fields_are_a_protocol_error_of_their_stream() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let mut client = Frames::connect(gateway.address()).await;
    for (stream, field) in [(1, ("connection", "close")), (3, ("transfer-encoding", "chunked")), (5, ("te", "gzip"))] {
        client.get(stream, "example.com", &[field]).await;
        let reset = client.next_of(RST_STREAM).await;
        assert_eq!((reset.stream, reset.error()), (stream, PROTOCOL_ERROR), "{field:?}");
    }
    assert_eq!(upstream.requests(), 0);
    client.get(7, "example.com", &[("te", "trailers")]).await;
    assert_eq!(client.next_of(HEADERS).await.stream, 7);
}

#[tokio::test]
async fn a_drain_says_goaway_and_streams_in_flight_finish() {
    let upstream = Gate::answering("done").await;
    let mut gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let mut client = Frames::connect(gateway.address()).await;
    client.get(1, "example.com", &[]).await;
    client.get(3, "example.com", &[]).await;
    upstream.arrivals(2).await;
    let drained = gateway.drain();
    assert_eq!(client.next_of(GOAWAY).await.error(), 0, "a drain is no error");
    upstream.release(2);
    let mut whole = Vec::new();
    while let Some(frame) = client.next().await {
        if frame.ends_stream() {
            whole.push(frame.stream);
        }
    }
    whole.sort_unstable();
    assert_eq!(whole, [1, 3], "answers that came whole before the connection closed");
    in_time("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_drain_closes_a_connection_without_streams_at_once() {
    let upstream = Upstream::echo().await;
    let mut gateway = TestGateway::start(&everything_to(upstream.address(), "timeouts: { drain: 1h }")).await;
    let mut client = Frames::connect(gateway.address()).await;
    client.get(1, "example.com", &[]).await;
    while !client.next().await.expect("an answer").ends_stream() {}
    let drained = gateway.drain();
    client.next_of(GOAWAY).await;
    while client.next().await.is_some() {}
    in_time("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_head_over_the_limit_is_431_and_the_next_stream_is_served() {
    let upstream = Upstream::echo().await;
    let limits = "limits: { header-bytes: 4KiB, uri-bytes: 1KiB, header-count: 20 }";
    let gateway = TestGateway::start(&everything_to(upstream.address(), limits)).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let large = Request::get("/").header("x-large", &"a".repeat(4200));
    let mut many = Request::get("/");
    for n in 0..30 {
        many = many.header(&format!("x-{n}"), "1");
    }
    for request in [large, many] {
        let response = client.send(request).await;
        assert_eq!(response.status, 431);
        assert_eq!(response.header("content-type"), "application/problem+json");
        assert_eq!(response.json()["request-id"], response.header("x-request-id"));
    }
    let response = client.send(Request::get(&format!("/{}", "a".repeat(2000)))).await;
    assert_eq!(response.status, 414);
    assert_eq!(upstream.requests(), 0);
    assert_eq!(client.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn a_head_far_over_the_limit_is_431_too() {
    let upstream = Upstream::echo().await;
    let limits = "limits: { header-bytes: 4KiB, uri-bytes: 1KiB }";
    let gateway = TestGateway::start(&everything_to(upstream.address(), limits)).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::get("/").header("x-large", &"a".repeat(12_000))).await;
    assert_eq!(response.status, 431);
    assert_eq!(client.send(Request::get("/")).await.status, 200);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn h2load_finds_no_error() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let running = tokio::process::Command::new("h2load")
        .args(["--requests=3000", "--clients=4", "--max-concurrent-streams=32", "--threads=1"])
        .arg(format!("http://{}/", gateway.address()))
        .output();
    let output = match in_time("h2load", running).await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return eprintln!("skipped: there is no h2load");
        }
        Err(error) => panic!("h2load: {error}"),
    };
    let report = String::from_utf8_lossy(&output.stdout);
    let line = "requests: 3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(report.contains(line), "{report}");
    assert!(report.contains("status codes: 3000 2xx"), "{report}");
}

#[tokio::test]
async fn a_field_name_that_is_no_token_is_refused_like_on_http_1() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address(), "")).await;
    let sender = connect(gateway.address()).await;
    let named = |name: &[u8]| {
        let mut request = get(gateway.address(), "/");
        let name = http::HeaderName::from_lowercase(name).expect("a name, for the library");
        request.headers_mut().insert(name, "1".parse().unwrap());
        request
    };
    // The connection goes on, and other characters of tokens pass.
    for (name, expected) in [(&b"x\"y"[..], 400), (b"x'y", 200), (b"\"", 400), (b"x", 200)] {
        let answer = send_all(&sender, [named(name)]).pop().unwrap().await.unwrap();
        assert_eq!(answer.0, expected, "{}: {answer:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(upstream.requests(), 2);
}
