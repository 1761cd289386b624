//! Upstreams that fail, lie, or say more than they should: each has one right outcome, and no client is told
//! anything that was not said.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Method;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::support::{
    Authority, Client, RawUpstream, Response, TestGateway, Upstream,
    client::Request,
    counted::{failed, failures, metric},
    eventually,
    strict::{End, Kind, Message, RawClient, Reader, StrictUpstream},
};

/// Everything to these endpoints.
fn balanced(endpoints: &[SocketAddr], settings: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("'http://{address}'")).collect();
    configured(&endpoints.join(", "), settings)
}

/// One worker, so that turns and idle connections are what they seem.
fn configured(endpoints: &str, settings: &str) -> String {
    format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ request: 5s }}
upstreams: {{ it: {{ endpoints: [{endpoints}], {settings} }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
"
    )
}

async fn gateway_to(upstream: SocketAddr) -> TestGateway {
    TestGateway::start(&balanced(&[upstream], "")).await
}

/// An address on which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

/// What a client sees of a response that the upstream sends in these bytes and then keeps open.
async fn seen(response: &'static [u8]) -> Result<Message, End> {
    let upstream = RawUpstream::answering(response).await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await
}

fn is_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json()["request-id"], response.header("x-request-id"));
    assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
}

#[tokio::test]
async fn an_upstream_that_refuses_is_a_bad_gateway() {
    let gateway = gateway_to(nobody().await).await;
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

#[tokio::test]
async fn a_response_that_breaks_off_reaches_the_client_as_broken_off() {
    for part in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nff",
    ] {
        let upstream = RawUpstream::on_head(move |mut stream| async move {
            stream.write_all(part).await.ok();
            None
        })
        .await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = RawClient::connect(gateway.address()).await;
        let response = client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await;
        let Err(End::CutOff(seen)) = response else { panic!("{response:?}") };
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
        failed(&gateway, "upstream-closed", 1).await;

        let mut client = Client::connect_http2(gateway.address()).await;
        let error = client.try_send(Request::get("/")).await.expect_err("no whole response");
        assert!(!error.is_user(), "{error}");
        failed(&gateway, "upstream-closed", 2).await;
    }
}

#[tokio::test]
async fn what_an_upstream_sends_over_its_length_is_dropped_with_its_connection() {
    let sent = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let upstream = StrictUpstream::answering(sent).await;
    let gateway = gateway_to(upstream.address()).await;
    for _ in 0..10 {
        let response = gateway.get("/").await;
        assert_eq!((response.status.as_u16(), response.text()), (200, "hello".to_owned()));
    }
}

#[tokio::test]
async fn a_body_where_there_can_be_none_is_dropped_with_its_connection() {
    for (method, status, sent) in [
        (Method::GET, 204, &b"HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil"[..]),
        (Method::GET, 304, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\netag: \"x\"\r\n\r\nevil"),
        (Method::HEAD, 200, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        (Method::HEAD, 200, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
    ] {
        let upstream = StrictUpstream::answering(sent).await;
        let gateway = gateway_to(upstream.address()).await;
        for _ in 0..5 {
            let mut client = RawClient::connect(gateway.address()).await;
            client.say(format!("{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n{method} /2 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            for _ in 0..2 {
                // The second one would begin with what was too much of the first.
                let kind = if method == Method::HEAD { Kind::ResponseToHead } else { Kind::Response };
                let response = client.0.message(kind).await.expect("a response");
                assert_eq!((response.status(), &response.body[..]), (status, &b""[..]), "{response}");
                assert!(status == 200 || response.values("content-length").is_empty(), "{response}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_gateway() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let upstream = RawUpstream::answering(garbage).await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        failed(&gateway, "upstream-protocol", 1).await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_response_framed_in_two_ways_is_a_bad_gateway() {
    for ambiguous in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 100\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
    ] {
        let upstream = RawUpstream::answering(ambiguous).await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        failed(&gateway, "upstream-protocol", 1).await;
    }
}

#[tokio::test]
async fn equal_lengths_become_one() {
    for repeated in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let response = seen(repeated).await.expect("a response");
        assert_eq!((response.value("content-length"), response.text()), ("5", "hello".to_owned()));
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let upstream = RawUpstream::answering(switching).await;
    let gateway = gateway_to(upstream.address()).await;
    is_problem(&gateway.get("/").await, 502);
    let asked = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    is_problem(&gateway.send(asked).await, 502);
    is_problem(&Client::connect_http2(gateway.address()).await.send(Request::get("/")).await, 502);
    failed(&gateway, "upstream-protocol", 3).await;
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let response = seen(interim).await.expect("a response");
    assert_eq!((response.status(), response.text()), (200, "hello".to_owned()));
    assert!(response.values("link").is_empty());
}

#[tokio::test]
async fn a_huge_response_head_is_a_bad_gateway() {
    let fields: &'static str = format!("x-a: {}\r\n", "x".repeat(1000)).repeat(300).leak();
    let many: &'static str = "x: 1\r\n".repeat(1000).leak();
    for fields in [fields, many] {
        let upstream = RawUpstream::on_head(move |mut stream| async move {
            // The gateway need not take it all.
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).await;
            Some(stream)
        })
        .await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_response_without_length_ends_with_its_connection() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.ok();
        None
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..2 {
        let response = client.response().await;
        assert_eq!((response.value("transfer-encoding"), response.text()), ("chunked", "hello".to_owned()));
    }
    assert_eq!(failures(&gateway, "upstream-closed").await, 0);
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
    for _ in 0..20 {
        assert_eq!(gateway.send(Request::get("/")).await.status, 200);
        eventually("the gateway noticing", async || {
            metric(&gateway, "gateway_upstream_connections{upstream=\"it\"}").await == 0
        })
        .await;
    }
    assert_eq!(gateway.send(Request::post("/", "body")).await.status, 200);
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

/// How many of so many requests each name answered.
async fn answers(gateway: &TestGateway, requests: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..requests {
        *counts.entry(client.send(Request::get("/")).await.text()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn endpoints_take_turns_by_their_weights() {
    let (a, b, c) = (Upstream::named("a").await, Upstream::named("b").await, Upstream::named("c").await);
    let endpoints = format!(
        "'http://{}', {{ url: 'http://{}', weight: 2 }}, {{ url: 'http://{}', weight: 3 }}",
        a.address(),
        b.address(),
        c.address()
    );
    let gateway = TestGateway::start(&configured(&endpoints, "")).await;
    let expected = [("a", 10), ("b", 20), ("c", 30)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(answers(&gateway, 60).await, HashMap::from(expected));
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let alive = Upstream::named("alive").await;
    let gateway = TestGateway::start(&balanced(&[nobody().await, alive.address(), nobody().await], "")).await;
    assert_eq!(answers(&gateway, 30).await, HashMap::from([("alive".to_owned(), 30)]));
    assert_eq!(gateway.send(Request::post("/", "a body that is not lost")).await.text(), "alive");
}

#[tokio::test]
async fn an_endpoint_gets_its_own_name_also_when_it_stands_in_for_another() {
    let alive = StrictUpstream::start().await;
    let config = balanced(&[nobody().await, alive.address()], "host: endpoint");
    let gateway = TestGateway::start(&config).await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    for request in alive.take_seen() {
        assert_eq!(request.expect("a request").value("host"), alive.address().to_string());
    }
}

#[tokio::test]
async fn all_endpoints_down_is_a_bad_gateway() {
    let gateway = TestGateway::start(&balanced(&[nobody().await, nobody().await], "")).await;
    is_problem(&gateway.get("/").await, 502);
    failed(&gateway, "upstream-unreachable", 1).await;
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_is_a_gateway_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = configured(&format!("'https://{address}'"), "timeouts: { connect: 200ms }");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.get("/").await, 504);
    failed(&gateway, "upstream-connect-timeout", 1).await;
}

/// An HTTPS server that answers `secret`, with a certificate for `localhost`.
async fn https(folder: &std::path::Path, authority: &Authority) -> SocketAddr {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    let certificate = authority.issue(folder, "server", &["localhost"]);
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let mut reader = Reader::new(stream);
                while reader.message(Kind::Request).await.is_ok() {
                    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
                    let _ = reader.stream.write_all(response).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_https_upstream_of_a_private_authority_is_believed_if_it_is_named() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = https(folder.path(), &authority).await.port();
    authority.write(&folder.path().join("ca.pem"));
    let named = configured(&format!("'https://localhost:{port}'"), "tls: { ca: ca.pem }");
    let by_server_name =
        configured(&format!("'https://127.0.0.1:{port}'"), "tls: { ca: ca.pem, server-name: localhost }");
    let mut gateway = TestGateway::start_in(folder, &named).await;
    assert_eq!(gateway.get("/").await.text(), "secret");
    gateway.reload(&by_server_name).await.expect("a good configuration");
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.text(), "secret");
    }
}

#[tokio::test]
async fn an_https_upstream_that_is_not_believed_is_a_bad_gateway() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = https(folder.path(), &authority).await.port();
    authority.write(&folder.path().join("ca.pem"));
    Authority::new().write(&folder.path().join("other.pem"));
    let other_authority = configured(&format!("'https://localhost:{port}'"), "tls: { ca: other.pem }");
    let other_name = configured(&format!("'https://127.0.0.1:{port}'"), "tls: { ca: ca.pem }");
    let the_systems = configured(&format!("'https://localhost:{port}'"), "");
    let mut gateway = TestGateway::start_in(folder, &other_authority).await;
    is_problem(&gateway.get("/").await, 502);
    for config in [other_name, the_systems] {
        gateway.reload(&config).await.expect("a good configuration");
        is_problem(&gateway.get("/").await, 502);
    }
}

#[tokio::test]
async fn an_upstream_without_tls_where_https_is_configured_is_a_bad_gateway() {
    let upstream = Upstream::named("plain").await;
    let gateway = TestGateway::start(&configured(&format!("'https://{}'", upstream.address()), "")).await;
    is_problem(&gateway.get("/").await, 502);
}

#[tokio::test]
async fn the_host_is_the_clients_or_the_endpoints() {
    for (setting, is_clients) in [("host: preserve", true), ("host: endpoint", false)] {
        let upstream = StrictUpstream::start().await;
        let gateway = TestGateway::start(&balanced(&[upstream.address()], setting)).await;
        gateway.send(Request::get("/").header("host", "www.example:8080")).await;
        let request = upstream.take_seen().remove(0).expect("a request");
        let expected = if is_clients { "www.example:8080".to_owned() } else { upstream.address().to_string() };
        assert_eq!(request.value("host"), expected);
        assert_eq!(request.value("x-forwarded-host"), "www.example:8080");
    }
}
