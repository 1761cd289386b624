//! Bodies on their way: in pieces, no faster than they are taken, with trailers, and given up when nobody
//! wants them any more.

mod cancellation;
mod trailers;
mod uploads;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::oneshot,
};

use crate::support::{
    Client, RawUpstream, TestGateway, Upstream,
    client::Request,
    counted::failures,
    feed::{feed, sized_feed},
    in_time,
    strict::{RawClient, StrictUpstream},
};

/// More than all buffers between a client and an upstream can hold, those of the system included.
const HUGE: usize = 64 << 20;

/// What may be on its way at most. Most of it is in the sockets' buffers, which grow to a few MiB each.
const IN_FLIGHT: usize = 24 << 20;

/// So long without progress, and it has come to a stop.
const STALLED: Duration = Duration::from_millis(300);

const PIECE: usize = 64 << 10;

async fn gateway_to(upstream: SocketAddr) -> TestGateway {
    TestGateway::start(&format!(
        "limits: {{ body-bytes: 1GiB }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
"
    ))
    .await
}

async fn connect(gateway: &TestGateway, http2: bool) -> Client {
    if http2 { Client::connect_http2(gateway.address()).await } else { Client::connect(gateway.address()).await }
}

/// Sends each piece back as it comes.
async fn mirror() -> Upstream {
    Upstream::serving(|request| async { Response::new(request.into_body().map_err(std::io::Error::other).boxed()) })
        .await
}

/// The next piece that is not empty; HTTP/2 may end a body with an empty one.
async fn piece(body: &mut Incoming) -> Option<Bytes> {
    loop {
        let frame = in_time("a piece of the body", body.frame()).await?.expect("the body goes on");
        let data = frame.into_data().expect("no trailers");
        if !data.is_empty() {
            return Some(data);
        }
    }
}

/// Takes no byte of the body until it is told to; then answers with how many there were.
async fn reading_when_told() -> (RawUpstream, oneshot::Sender<()>) {
    let (told, waiting) = oneshot::channel();
    let waiting = std::sync::Arc::new(tokio::sync::Mutex::new(Some(waiting)));
    let upstream = RawUpstream::on_head(move |mut stream| {
        let waiting = waiting.clone();
        async move {
            let waiting = waiting.lock().await.take().expect("one connection");
            waiting.await.ok();
            // With chunks' framing, hence the end is looked for.
            let (mut count, mut tail, mut buffer) = (0_usize, Vec::new(), vec![0; PIECE]);
            while !tail.ends_with(b"0\r\n\r\n") && count < 2 * HUGE {
                let n = stream.read(&mut buffer).await.ok()?;
                count += n;
                tail.extend_from_slice(&buffer[..n]);
                tail.drain(..tail.len().saturating_sub(5));
                if n == 0 {
                    return None;
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.ok()?;
            Some(stream)
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test]
async fn an_upload_waits_for_an_upstream_that_does_not_read() {
    for http2 in [false, true] {
        let (upstream, tell) = reading_when_told().await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = connect(&gateway, http2).await;
        let (body, streamed) = feed();
        let response = tokio::spawn(async move { client.send(Request::post("/", "").body(streamed)).await });
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let mut sent = 0;
        while let Ok(taken) = tokio::time::timeout(STALLED, body.data(piece.clone())).await {
            assert!(taken, "the body is wanted");
            sent += PIECE;
            assert!(sent <= IN_FLIGHT, "the gateway takes what it cannot pass on");
        }
        tell.send(()).expect("the upstream waits");
        while sent < HUGE {
            assert!(in_time("the rest being taken", body.data(piece.clone())).await);
            sent += PIECE;
        }
        drop(body);
        assert_eq!(response.await.expect("no panic").text(), "done");
    }
}

#[tokio::test]
async fn a_download_waits_for_a_client_that_does_not_read() {
    for http2 in [false, true] {
        let (handed, mut counting) = tokio::sync::mpsc::unbounded_channel();
        let upstream = Upstream::serving(move |_| {
            let handed = handed.clone();
            async move {
                let (body, streamed) = sized_feed(HUGE as u64);
                tokio::spawn(async move {
                    for _ in 0..HUGE / PIECE {
                        if !body.data(vec![b'x'; PIECE]).await || handed.send(PIECE).is_err() {
                            return;
                        }
                    }
                });
                Response::new(streamed)
            }
        })
        .await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = connect(&gateway, http2).await;
        let mut body = client.begin(Request::get("/")).await.expect("a response").into_body();
        let mut sent = 0;
        while let Ok(Some(piece)) = tokio::time::timeout(STALLED, counting.recv()).await {
            sent += piece;
            assert!(sent <= IN_FLIGHT, "the gateway takes what it cannot pass on");
        }
        let mut received = 0;
        while let Some(piece) = piece(&mut body).await {
            received += piece.len();
        }
        assert_eq!(received, HUGE);
    }
}

#[tokio::test]
async fn a_slow_reader_with_small_buffers_gets_everything() {
    let upstream = mirror().await;
    let gateway = gateway_to(upstream.address()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a buffer size");
    let mut stream = socket.connect(gateway.address()).await.expect("a connection");
    let body = "0123456789abcdef".repeat(20_000);
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (mut reading, mut writing) = stream.split();
    let (written, answer) = tokio::join!(writing.write_all(request.as_bytes()), async {
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        while let n @ 1.. = in_time("a piece", reading.read(&mut buffer)).await.expect("no reset") {
            all.extend_from_slice(&buffer[..n]);
        }
        all
    });
    written.expect("all is taken");
    assert!(answer.ends_with(body.as_bytes()), "{} bytes", answer.len());
}

#[tokio::test]
async fn each_piece_arrives_before_the_next_one_is_sent() {
    let upstream = mirror().await;
    let gateway = gateway_to(upstream.address()).await;
    for http2 in [false, true] {
        let mut client = connect(&gateway, http2).await;
        let (body, streamed) = feed();
        let mut answer = client.begin(Request::post("/", "").body(streamed)).await.expect("a response").into_body();
        for text in ["first", "second", "third"] {
            assert!(body.data(text).await);
            assert_eq!(piece(&mut answer).await.as_deref(), Some(text.as_bytes()));
        }
        drop(body);
        assert_eq!(piece(&mut answer).await, None);
    }
    assert_eq!(failures(&gateway, "client-closed").await, 0);
}

#[tokio::test]
async fn a_response_may_come_before_the_request_is_whole() {
    for http2 in [false, true] {
        let upstream = RawUpstream::answering(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = connect(&gateway, http2).await;
        let (body, streamed) = feed();
        let response = client.send(Request::post("/", "").body(streamed)).await;
        assert_eq!((response.status.as_u16(), response.text()), (403, "no".to_owned()));
        drop(body);
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    trailers.insert("content-length", HeaderValue::from_static("7"));
    trailers
}

#[tokio::test]
async fn announced_trailers_pass_both_ways_and_the_connection_stays_in_use() {
    let upstream = Upstream::serving(|request| async {
        let collected = request.into_body().collect().await.expect("a whole body");
        let sum = collected.trailers().and_then(|trailers| trailers.get("x-sum").cloned());
        let (body, streamed) = feed();
        tokio::spawn(async move {
            body.data(collected.to_bytes()).await;
            body.trailers(trailers()).await;
        });
        let mut response = Response::new(streamed);
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum, content-length"));
        response.headers_mut().insert("x-seen", sum.unwrap_or(HeaderValue::from_static("none")));
        response
    })
    .await;
    let config = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&config).await;
    for http2 in [false, true] {
        let mut client = connect(&gateway, http2).await;
        for _ in 0..3 {
            let (body, streamed) = feed::<Infallible>();
            tokio::spawn(async move {
                body.data("hello").await;
                body.trailers(trailers()).await;
            });
            let request = Request::post("/", "").header("trailer", "x-sum, content-length").header("te", "trailers");
            let response = client.send(request.body(streamed)).await;
            assert_eq!((response.header("x-seen"), response.text()), ("42", "hello".to_owned()));
            let trailers = response.trailers.expect("trailers");
            assert_eq!(trailers.len(), 1, "{trailers:?}");
            assert_eq!(trailers["x-sum"], "42");
        }
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(failures(&gateway, "client-closed").await, 0);
}

#[tokio::test]
async fn a_client_of_http_1_1_that_wants_no_trailers_gets_none() {
    let upstream = StrictUpstream::answering(
        b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    for _ in 0..2 {
        let response = client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await;
        assert_eq!((response.text(), response.trailers.len()), ("hello".to_owned(), 0));
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_before_its_body() {
    let upstream = Upstream::echo().await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    for body in ["hello", "again"] {
        client.say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
        assert_eq!(client.response().await.start, "HTTP/1.1 100 Continue");
        let response = client.say(body).await.response().await;
        let seen: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(seen["body"], body);
        assert!(seen["headers"].to_string().contains("expect"), "the upstream is asked: {seen}");
    }
}

#[tokio::test]
async fn who_is_refused_is_not_asked_for_the_body() {
    let upstream = Upstream::echo().await;
    let config = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: one, match: {{ path: /one }}, upstream: it }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&config).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("POST /two HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 404);
    // Whether the body still comes is the client's secret: so this was the last request here.
    client.is_closed().await;
}

#[tokio::test]
async fn a_response_to_head_tells_the_length_and_has_no_body() {
    let upstream = Upstream::named("eleven long").await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    for _ in 0..3 {
        let response = client.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.response_to_head().await;
        assert_eq!((response.status(), response.value("content-length")), (200, "11"));
        assert_eq!(client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await.text(), "eleven long");
    }
    let response = Client::connect_http2(gateway.address()).await.send(Request::new(Method::HEAD, "/")).await;
    assert_eq!((response.header("content-length"), response.text()), ("11", String::new()));
    // The gateway's own answers, too.
    let response = client.say("HEAD /% HTTP/1.1\r\nHost: a\r\n\r\n").await.response_to_head().await;
    assert_eq!((response.status(), response.value("content-type")), (400, "application/problem+json"));
    assert_eq!(client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await.text(), "eleven long");
}
