//! Connections that are in use when the gateway ends: their clients are asked to leave, and lose no request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::JoinHandle;

use super::{Running, is_refused, with};
use crate::support::{
    Upstream,
    client::Request,
    eventually,
    frames::{Fate, Frames, GOAWAY, HEADERS, PING},
    strict::RawClient,
};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
/// GOAWAY without a last stream (RFC 9113 §6.8).
const ANY_STREAM: u32 = (1 << 31) - 1;
const CLIENTS: usize = 4;

/// Clients that send one request after another on one connection, until they are asked to leave.
struct BackToBack {
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl BackToBack {
    fn start(address: SocketAddr) -> Self {
        let served = Arc::<AtomicUsize>::default();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(tokio::spawn(by_http1(address, served.clone())));
            clients.push(tokio::spawn(by_http2(address, served.clone())));
        }
        Self { served, clients }
    }

    async fn goes_on(&self) {
        let before = self.served.load(Ordering::SeqCst);
        eventually("clients being served", async || {
            let ended = self.clients.iter().any(JoinHandle::is_finished);
            ended || self.served.load(Ordering::SeqCst) >= before + 20 * CLIENTS
        })
        .await;
    }

    async fn all_left(self) {
        for client in self.clients {
            client.await.expect("no panic").expect("no request is lost");
        }
    }
}

async fn by_http1(address: SocketAddr, served: Arc<AtomicUsize>) -> Result<(), String> {
    let mut client = RawClient::connect(address).await;
    loop {
        let response = client.say(ASK).await.try_response().await;
        let response = response.map_err(|end| format!("HTTP/1.1: {end:?} after {served:?} requests"))?;
        if response.status() != 200 {
            return Err(format!("HTTP/1.1: {response}"));
        }
        served.fetch_add(1, Ordering::SeqCst);
        if response.value("connection") == "close" {
            return Ok(());
        }
    }
}

async fn by_http2(address: SocketAddr, served: Arc<AtomicUsize>) -> Result<(), String> {
    let mut client = Frames::connect(address).await;
    let mut leaves = false;
    for stream in (1..).step_by(2) {
        client.get(stream, "a.example", &[]).await;
        loop {
            let frame = client.next().await.ok_or_else(|| format!("HTTP/2: stream {stream} is lost"))?;
            leaves |= frame.kind == GOAWAY;
            if frame.stream == stream && frame.ends_stream() {
                break;
            }
        }
        served.fetch_add(1, Ordering::SeqCst);
        if leaves {
            break;
        }
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_send_back_to_back_lose_no_request_when_the_gateway_ends() {
    for delay in ["0s", "300ms"] {
        let upstream = Upstream::named("served").await;
        let settings = format!("timeouts: {{ drain-delay: {delay}, drain: 1h }}");
        let gateway = Running::start(&with(upstream.address(), &settings)).await;
        let clients = BackToBack::start(gateway.address);
        clients.goes_on().await;
        gateway.process.signal("TERM");
        clients.all_left().await;
        assert_eq!(gateway.process.ended().await.code, 0);
    }
}

#[tokio::test]
async fn a_request_on_a_connection_that_is_at_rest_when_a_drain_begins_is_answered() {
    let upstream = Upstream::named("served").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 1h }")).await;
    let mut client = gateway.client().await;
    assert_eq!(client.send(Request::get("/")).await.header("connection"), "");
    gateway.process.signal("TERM");
    gateway.process.logged("draining").await;
    eventually("new connections are refused", async || is_refused(gateway.address).await).await;
    let response = client.send(Request::get("/")).await;
    assert_eq!((response.text().as_str(), response.header("connection")), ("served", "close"));
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn in_the_delay_clients_are_asked_to_leave_and_new_connections_are_served() {
    let upstream = Upstream::named("served").await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 1h }")).await;
    let mut http1 = RawClient::connect(gateway.address).await;
    assert_eq!(http1.say(ASK).await.response().await.value("connection"), "");
    let mut http2 = Frames::connect(gateway.address).await;
    http2.get(1, "a.example", &[]).await;
    assert_eq!(http2.fate(1).await, Fate::Answered(200));
    gateway.process.signal("TERM");
    eventually("readiness falls", async || gateway.admin_page("/readyz").await.0 == 503).await;

    // Twice, so that what is sent before the first one arrives is served.
    let (first, last) = (http2.next_of(GOAWAY).await, http2.next_of(GOAWAY).await);
    assert_eq!([first.number(0), first.error()], [ANY_STREAM, 0]);
    assert_eq!([last.number(0), last.error()], [1, 0]);
    http2.is_ended().await;
    assert_eq!(http1.say(ASK).await.response().await.value("connection"), "close");
    http1.is_closed().await;

    for _ in 0..2 {
        let response = gateway.client().await.send(Request::get("/")).await;
        assert_eq!((response.text().as_str(), response.header("connection")), ("served", "close"));
    }
    // A client that has just connected is not asked to leave before it is served: it would connect again and again.
    let mut new = Frames::connect(gateway.address).await;
    new.send(PING, 0, 0, &[7; 8]).await;
    loop {
        let frame = new.next().await.expect("an acknowledgement");
        assert_ne!(frame.kind, GOAWAY);
        if frame.kind == PING && frame.payload == [7; 8] {
            break;
        }
    }
    new.get(1, "a.example", &[]).await;
    let (mut answered, mut asked) = (false, false);
    while let Some(frame) = new.next().await {
        answered |= frame.kind == HEADERS && frame.stream == 1;
        asked |= frame.kind == GOAWAY && frame.error() == 0;
    }
    assert!(answered && asked);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.ended().await.code, 0);
}
