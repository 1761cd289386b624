//! Requests that clients cancel, and stream errors, over HTTP/2: however many there are, other requests go on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::configured;
use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    eventually,
    frames::{self, Fate, Frames},
};

/// An HTTP/2 service that answers at once, but for `/slow`, which waits for the test.
struct Service {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let release = Arc::new(Notify::new());
        let shared = (connections.clone(), requests.clone(), release.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.0.fetch_add(1, Ordering::SeqCst);
                let (requests, release) = (shared.1.clone(), shared.2.clone());
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_pending_accept_reset_streams(10_000);
                    let Ok(mut connection) = builder.handshake(stream).await else { return };
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let release = release.clone();
                        tokio::spawn(async move {
                            if request.uri().path() == "/slow" {
                                release.notified().await;
                            }
                            if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
                                let _ = stream.send_data(bytes::Bytes::from("ok"), true);
                            }
                        });
                    }
                });
            }
        });
        Self { address, connections, requests, release }
    }

    /// The same as if it were far away: what it says arrives so much later.
    async fn far_away(&self, delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (near, far) = (listener.local_addr().expect("an address"), self.address);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let server = TcpStream::connect(far).await.expect("a connection");
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                    let mut buffer = [0; 64 * 1024];
                    while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                        tokio::time::sleep(delay).await;
                        if to_client.write_all(&buffer[..n]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        near
    }
}

#[tokio::test]
async fn cancelled_requests_leave_the_upstream_connection_to_the_others() {
    const AT_ONCE: usize = 80;
    let service = Service::start().await;
    let address = service.far_away(Duration::from_millis(20)).await;
    let gateway = TestGateway::start(&configured(&format!("'http://{address}'"), "protocol: http2")).await;
    let mut slow = Client::connect_http2(gateway.address()).await;
    let slow = tokio::spawn(async move { slow.try_send(Request::get("/slow")).await.map(|response| response.text()) });
    eventually("it being under way", async || service.requests.load(Ordering::SeqCst) == 1).await;
    let mut client = Frames::connect(gateway.address()).await;
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    for round in 0..20 {
        let streams = (0..AT_ONCE).map(|n| (2 * (round * AT_ONCE + n) + 1) as u32).collect::<Vec<_>>();
        let begin = |stream: &u32| frames::headers(*stream, frames::END_STREAM, &get);
        assert!(client.try_send(&streams.iter().flat_map(begin).collect::<Vec<_>>()).await);
        let arrived = 1 + (round + 1) * AT_ONCE;
        // They have been answered already, but the answers are still on their way.
        eventually("their arrival", async || service.requests.load(Ordering::SeqCst) >= arrived).await;
        assert!(client.try_send(&streams.iter().flat_map(|stream| frames::reset(*stream)).collect::<Vec<_>>()).await);
    }
    service.release.notify_one();
    assert_eq!(slow.await.expect("no panic").expect("a response"), "ok");
    client.get(9999, "a", &[]).await;
    assert_eq!(client.fate(9999).await, Fate::Answered(200));
    assert_eq!(service.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_connection_outlives_many_stream_errors() {
    let upstream = Upstream::named("fine").await;
    let gateway = super::gateway_to(upstream.address()).await;
    let mut client = Frames::connect(gateway.address()).await;
    for number in 0..1500 {
        // RFC 9113 §8.2.2: malformed, and a stream error.
        client.get(2 * number + 1, "a", &[("connection", "close")]).await;
        assert_eq!(client.fate(2 * number + 1).await, Fate::Reset);
    }
    client.get(9999, "a", &[]).await;
    assert_eq!(client.fate(9999).await, Fate::Answered(200));
}

#[tokio::test]
async fn a_client_that_resets_without_end_is_turned_away() {
    let upstream = Upstream::named("fine").await;
    let gateway = super::gateway_to(upstream.address()).await;
    let mut client = Frames::connect(gateway.address()).await;
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let mut stream = 1;
    // Few at a time, so that the rate alone tells.
    for _ in 0..10_000 {
        let mut burst = Vec::new();
        for _ in 0..5 {
            burst.extend(frames::headers(stream, frames::END_STREAM, &get));
            burst.extend(frames::reset(stream));
            stream += 2;
        }
        if !client.try_send(&burst).await {
            break;
        }
    }
    client.is_ended().await;
    assert_eq!(gateway.get("/").await.text(), "fine");
}

#[tokio::test]
async fn an_upstream_that_allows_no_streams_is_busy_and_not_waited_for() {
    // `SETTINGS_MAX_CONCURRENT_STREAMS` is 0.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let settings = frames::frame(frames::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]);
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&settings).await;
            kept.push(stream);
        }
    });
    let config = configured(&format!("'http://{address}'"), "protocol: http2").replace("request: 5s", "request: 30s");
    let gateway = TestGateway::start(&config).await;
    for _ in 0..2 {
        super::is_problem(&gateway.get("/").await, 503);
    }
}
