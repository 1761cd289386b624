//! Upstreams that speak HTTP/2: many requests on one connection, and what they can do to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Method, Response};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::{configured, is_problem};
use crate::support::{Authority, Client, RawUpstream, TestGateway, client::Request, counted::failed};

/// An HTTP/2 server by hand.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

type Exchange = (http::Request<RecvStream>, SendResponse<Bytes>, usize);

impl Server {
    /// Does as told with each request, which comes with its number.
    async fn acting<F, R>(builder: h2::server::Builder, act: F) -> Self
    where
        F: Fn(Exchange) -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.0.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, builder.clone(), counts.1.clone(), act.clone()));
            }
        });
        Self { address, connections, requests, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S, F, R>(stream: S, builder: h2::server::Builder, requests: Arc<AtomicUsize>, act: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Fn(Exchange) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(act((request, respond, requests.fetch_add(1, Ordering::SeqCst))));
    }
}

/// Says what came: method, target, authority, body.
async fn mirror((request, mut respond, _): Exchange) {
    let (head, mut body) = request.into_parts();
    let mut seen = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        seen.extend_from_slice(&data);
    }
    assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"), "{head:?}");
    let text = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&seen));
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    let _ = stream.send_data(text.into(), true);
}

/// Says what came of forwarding headers.
async fn forwarding((request, mut respond, _): Exchange) {
    let names =
        ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "forwarded"];
    let lines = names.map(|name| request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect());
    let lines: [Vec<_>; 6] = lines;
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    let _ = stream.send_data(format!("{lines:?}").into(), true);
}

#[tokio::test]
async fn an_endpoint_gets_each_forwarding_header_once() {
    let server = Server::acting(h2::server::Builder::new(), forwarding).await;
    let gateway = gateway_to(server.address, "").await;
    let expected = |port: &str| {
        let forwarded = format!("for=127.0.0.1;host=\"api.test:{port}\";proto=http");
        format!("{:?}", [["127.0.0.1"], ["127.0.0.1"], ["http"], [port], [&format!("api.test:{port}")], [&forwarded]])
    };
    for port in ["81", "82", "81"] {
        let request = Request::get("/").header("host", &format!("api.test:{port}"));
        assert_eq!(gateway.send(request).await.text(), expected(port));
    }
    let request = Request::get("/").header("host", "api.test:83").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(gateway.send(request).await.text(), expected("83"));
}

async fn gateway_to(address: SocketAddr, settings: &str) -> TestGateway {
    TestGateway::start(&configured(&format!("'http://{address}'"), &format!("protocol: http2, {settings}"))).await
}

#[tokio::test]
async fn a_response_with_a_field_name_that_is_no_token_is_refused() {
    let server = Server::acting(h2::server::Builder::new(), |(request, mut respond, _)| async move {
        let name = http::HeaderName::from_lowercase(match request.uri().path() {
            "/quote" => b"x\"y",
            _ => b"x'y",
        })
        .expect("a name, for the library");
        let response = Response::builder().header(name, "1").body(()).expect("a response");
        let _ = respond.send_response(response, true);
    })
    .await;
    let gateway = gateway_to(server.address, "").await;
    is_problem(&gateway.get("/quote").await, 502);
    let response = gateway.get("/apostrophe").await;
    assert_eq!((response.status.as_u16(), response.header("x'y")), (200, "1"));
}

#[tokio::test]
async fn requests_of_http_1_and_2_go_on_one_connection_with_their_bodies() {
    let server = Server::acting(h2::server::Builder::new(), mirror).await;
    let gateway = gateway_to(server.address, "host: preserve").await;
    let response = gateway.send(Request::get("/a?b=c").header("host", "x.example")).await;
    assert_eq!(response.text(), "GET http://x.example/a?b=c ");
    let chunked = b"POST /up HTTP/1.1\r\nhost: x.example\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = gateway.raw(chunked).await;
    assert!(answer.contains("POST http://x.example/up hello"), "{answer}");
    let mut client = Client::connect_http2(gateway.address()).await;
    let large = "x".repeat(1 << 20);
    let response = client.send(Request::post("/large", large.clone())).await;
    assert_eq!(response.text().len(), format!("POST http://{}/large ", gateway.address()).len() + large.len());
    let requests = (0..200).map(|_| {
        let mut client = client.share();
        tokio::spawn(async move { client.send(Request::get("/")).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.expect("no panic"), 200);
    }
    assert!(server.connections() <= 3, "{} connections", server.connections());
}

#[tokio::test]
async fn an_upstream_that_takes_one_request_at_a_time_gets_one_at_a_time() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let server = Server::acting(builder, mirror).await;
    let gateway = gateway_to(server.address, "").await;
    let client = Client::connect_http2(gateway.address()).await;
    let requests = (0..50).map(|_| {
        let mut client = client.share();
        tokio::spawn(async move { client.send(Request::get("/")).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn what_the_upstream_refuses_unprocessed_is_sent_again_once() {
    let server = Server::acting(h2::server::Builder::new(), |(request, mut respond, number)| async move {
        if number % 2 == 0 {
            respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            mirror((request, respond, number)).await;
        }
    })
    .await;
    let gateway = gateway_to(server.address, "").await;
    for method in [Method::GET, Method::POST, Method::PUT] {
        // A POST may be: the upstream says that it has done nothing for it (RFC 9113 §8.7).
        assert_eq!(gateway.send(Request::new(method, "/")).await.status, 200);
    }
    assert_eq!(server.requests(), 6);

    let stubborn = Server::acting(h2::server::Builder::new(), |(_, mut respond, _)| async move {
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let gateway = gateway_to(stubborn.address, "").await;
    is_problem(&gateway.get("/").await, 502);
    assert_eq!(stubborn.requests(), 2);
}

#[tokio::test]
async fn a_reset_within_a_response_cuts_it_off_and_spares_the_connection() {
    let seen = Arc::new(Notify::new());
    let told = seen.clone();
    let server = Server::acting(h2::server::Builder::new(), move |(request, mut respond, number)| {
        let told = told.clone();
        async move {
            if request.uri().path() != "/broken" {
                return mirror((request, respond, number)).await;
            }
            let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
            let _ = stream.send_data("half".into(), false);
            told.notified().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let gateway = gateway_to(server.address, "").await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"half\r\n") {
        assert!(client.read_buf(&mut answer).await.expect("it goes on") > 0);
    }
    seen.notify_one();
    let _ = client.read_to_end(&mut answer).await;
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{}", answer.escape_ascii());
    failed(&gateway, "upstream-closed", 1).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    // Each connection answers one request, and says that it will take no more.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                if let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(mirror((request, respond, 0)));
                    connection.graceful_shutdown();
                }
                while connection.accept().await.is_some() {}
            });
        }
    });
    let gateway = gateway_to(address, "").await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent_is_timed_out_and_its_connection_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let accepted = Arc::<AtomicUsize>::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            kept.push(stream);
        }
    });
    let gateway = gateway_to(address, "timeouts: { response: 50ms }").await;
    for _ in 0..4 {
        is_problem(&gateway.get("/").await, 504);
    }
    failed(&gateway, "upstream-timeout", 4).await;
    assert_eq!(accepted.load(Ordering::SeqCst), 2, "after three without an answer another one is opened");
}

#[tokio::test]
async fn a_huge_head_or_another_protocol_is_a_bad_gateway() {
    let server = Server::acting(h2::server::Builder::new(), |(_, mut respond, _)| async move {
        let mut response = Response::new(());
        for number in 0..40 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).expect("a name");
            response.headers_mut().insert(name, "x".repeat(10_000).parse().expect("a value"));
        }
        let _ = respond.send_response(response, true);
    })
    .await;
    let gateway = gateway_to(server.address, "").await;
    is_problem(&gateway.get("/").await, 502);

    let other = RawUpstream::answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let gateway = gateway_to(other.address(), "").await;
    is_problem(&gateway.get("/").await, 502);
    other.closed().await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let server = Server::acting(h2::server::Builder::new(), |(request, mut respond, _)| async move {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.data().await {}
        let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
        let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
        let _ = stream.send_data("body".into(), false);
        let _ = stream.send_trailers(trailers);
    })
    .await;
    let gateway = gateway_to(server.address, "").await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close, te\r\nte: trailers\r\ntrailer: x-sum\r\n\
        transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n";
    let answer = gateway.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// An HTTPS server that offers these protocols, and says which one it speaks.
async fn https(folder: &std::path::Path, authority: &Authority, protocols: &[&str]) -> SocketAddr {
    let certificate = authority.issue(folder, "server", &["localhost"]);
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let builder = h2::server::Builder::new();
                    return serve(stream, builder, Arc::default(), |(_, mut respond, _)| async move {
                        let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
                        let _ = stream.send_data("h2".into(), true);
                    })
                    .await;
                }
                let mut reader = crate::support::strict::Reader::new(stream);
                while reader.message(crate::support::strict::Kind::Request).await.is_ok() {
                    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhttp/1.1";
                    let _ = reader.stream.write_all(response).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn over_tls_the_protocol_is_agreed() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.write(&folder.path().join("ca.pem"));
    let both = https(folder.path(), &authority, &["h2", "http/1.1"]).await;
    let old = https(folder.path(), &authority, &["http/1.1"]).await;
    let silent = https(folder.path(), &authority, &[]).await;
    let ca = folder.path().join("ca.pem").display().to_string();
    for (protocol, server, answer) in [
        ("auto", both, Some("h2")),
        ("http2", both, Some("h2")),
        ("http1", both, Some("http/1.1")),
        ("auto", old, Some("http/1.1")),
        ("auto", silent, Some("http/1.1")),
        ("http2", old, None),
        ("http2", silent, None),
    ] {
        let settings = format!("protocol: {protocol}, tls: {{ ca: '{ca}', server-name: localhost }}");
        let gateway = TestGateway::start(&configured(&format!("'https://{server}'"), &settings)).await;
        for _ in 0..3 {
            let response = gateway.get("/").await;
            match answer {
                Some(answer) => assert_eq!(response.text(), answer, "{protocol}"),
                None => is_problem(&response, 502),
            }
        }
        // Many at once, before anything is known of the endpoint.
        let gateway = TestGateway::start(&configured(&format!("'https://{server}'"), &settings)).await;
        let address = gateway.address();
        let requests = (0..8).map(|_| {
            tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status.as_u16() })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.expect("no panic"), if answer.is_some() { 200 } else { 502 }, "{protocol}");
        }
    }
}
