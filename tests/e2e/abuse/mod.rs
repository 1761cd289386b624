//! Clients that mean harm: whatever they do costs them their connection and nobody else anything.

mod hostile;
mod http2;
mod memory;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Response;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::support::{
    Client, RawUpstream, TestGateway, Upstream,
    client::Request,
    counted::metric,
    eventually,
    frames::{self, Fate, Frames},
    in_time, panics, raw,
    strict::RawClient,
    upstream::full,
};

/// Answers with the path.
async fn paths() -> Upstream {
    Upstream::serving(|request| async move { Response::new(full(request.uri().path().to_owned())) }).await
}

async fn gateway_to(upstream: SocketAddr, settings: &str) -> TestGateway {
    panics::watch();
    TestGateway::start(&format!(
        "{settings}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
"
    ))
    .await
}

/// Somebody who uses the gateway all the while and must not notice anything.
struct Bystander {
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Bystander {
    fn of(gateway: &TestGateway) -> Self {
        Self::at(gateway.address())
    }

    fn at(address: SocketAddr) -> Self {
        let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shared = (done.clone(), served.clone());
        let task = tokio::spawn(async move {
            while !shared.0.load(Ordering::SeqCst) {
                // A connection of its own each time, so that every worker is asked.
                let response = Client::connect(address).await.send(Request::get("/bystander")).await;
                assert_eq!((response.status.as_u16(), response.text()), (200, "/bystander".to_owned()));
                shared.1.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { done, served, task }
    }

    /// Was served all the time, and still is.
    async fn noticed_nothing(self) {
        let before = self.served.load(Ordering::SeqCst);
        eventually("being served", async || self.served.load(Ordering::SeqCst) > before + 2).await;
        self.done.store(true, Ordering::SeqCst);
        self.task.await.expect("served without a failure");
        panics::none_seen();
    }
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

#[tokio::test]
async fn hundreds_of_half_requests_disturb_nobody_and_are_turned_out() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "timeouts: { header-read: 1s, idle: 1s, body: 1s }").await;
    let bystander = Bystander::of(&gateway);
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
        let part = [
            "G",
            "GET / HTTP/1.1\r\nHost: a\r\nX-A",
            "PRI * HTTP/2.0\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
            "",
        ][n % 6];
        stream.write_all(part.as_bytes()).await.expect("taken");
        slow.push(stream);
    }
    for mut stream in slow {
        raw::read_to_close(&mut stream).await;
    }
    bystander.noticed_nothing().await;
    eventually("all being gone", async || metric(&gateway, "gateway_connections").await == 0).await;
}

#[tokio::test]
async fn thousands_of_streams_opened_and_reset_end_their_connection() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let bystander = Bystander::of(&gateway);
    for _ in 0..3 {
        let mut client = Frames::connect(gateway.address()).await;
        let mut burst = Vec::new();
        for n in 0..5000 {
            burst.extend(frames::headers(2 * n + 1, frames::END_STREAM, &GET));
            burst.extend(frames::reset(2 * n + 1));
        }
        client.try_send(&burst).await;
        let mut error = None;
        while let Some(frame) = client.next().await {
            if frame.kind == frames::GOAWAY {
                error = Some(frame.error());
            }
        }
        // ENHANCE_YOUR_CALM, unless the reset that follows was faster.
        assert!(error.is_none_or(|error| error == 11), "{error:?}");
    }
    bystander.noticed_nothing().await;
    assert!(upstream.requests() < 5000, "{} of 15000 reached the upstream", upstream.requests());
}

#[tokio::test]
async fn streams_that_are_reset_one_by_one_leave_nothing_behind() {
    let upstream = RawUpstream::answering(b"").await;
    let gateway = gateway_to(upstream.address(), "").await;
    let mut client = Frames::connect(gateway.address()).await;
    let mut burst = Vec::new();
    for n in 0..500 {
        burst.extend(frames::headers(2 * n + 1, frames::END_STREAM, &GET));
        burst.extend(frames::frame(frames::PING, 0, 0, &[7; 8]));
        client.try_send(&burst).await;
        // The answer says that the stream before it has been seen.
        client.next_of(frames::PING).await;
        burst = frames::reset(2 * n + 1);
    }
    client.try_send(&burst).await;
    eventually("all requests being given up", async || {
        metric(&gateway, "gateway_upstream_connections{upstream=\"it\"}").await == 0
    })
    .await;
    panics::none_seen();
}

#[tokio::test]
async fn a_head_that_unpacks_to_more_than_the_limit_is_refused() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let bystander = Bystander::of(&gateway);
    let mut client = Frames::connect(gateway.address()).await;
    // One large field goes into the table (RFC 7541 §6.2.1), and then each byte (§6.1) stands for all of it.
    let mut block = frames::block(&GET);
    let large = frames::block(&[("x-bomb", &"x".repeat(3000))]);
    block.push(0x40);
    block.extend(&large[1..]);
    block.extend([0xbe; 10_000]);
    client.try_send(&frames::frame(frames::HEADERS, frames::END_STREAM | frames::END_HEADERS, 1, &block)).await;
    let fate = client.fate(1).await;
    assert!(matches!(fate, Fate::Answered(431) | Fate::Reset | Fate::Ended), "{fate:?}");
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_head_that_goes_on_for_ever_ends_its_connection() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let bystander = Bystander::of(&gateway);
    for field in ["x".repeat(10_000), String::new()] {
        let mut client = Frames::connect(gateway.address()).await;
        client.try_send(&frames::frame(frames::HEADERS, frames::END_STREAM, 1, &frames::block(&GET))).await;
        let part = frames::frame(frames::CONTINUATION, 0, 1, &frames::block(&[("x-a", &field)]));
        let mut sent = 0;
        while client.try_send(&part).await {
            sent += part.len();
            assert!(sent < 64 << 20, "takes {sent} bytes of one head");
        }
        client.is_ended().await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn frames_that_ask_for_answers_are_answered_or_end_the_connection() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let bystander = Bystander::of(&gateway);
    for frame in [
        frames::frame(frames::PING, 0, 0, &[7; 8]),
        frames::frame(frames::SETTINGS, 0, 0, &[]),
        // PRIORITY and an unknown type
        frames::frame(2, 0, 1, &[0, 0, 0, 3, 1]),
        frames::frame(0x77, 0, 0, &[]),
    ] {
        let mut client = Frames::connect(gateway.address()).await;
        if client.try_send(&frame.repeat(5000)).await {
            client.try_send(&frames::headers(1, frames::END_STREAM, &GET)).await;
        }
        let fate = client.fate(1).await;
        assert!(matches!(fate, Fate::Answered(200) | Fate::Ended), "{fate:?}");
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn ten_thousand_requests_in_one_write_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "").await;
    let bystander = Bystander::of(&gateway);
    let requests: String = (0..REQUESTS).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let client = RawClient::connect(gateway.address()).await;
    let (reading, mut writing) = tokio::io::split(client.0.stream);
    let sending = tokio::spawn(async move {
        writing.write_all(requests.as_bytes()).await.expect("all is taken");
        writing
    });
    let mut reader = crate::support::strict::Reader::new(reading);
    for n in 0..REQUESTS {
        let response = in_time("a response", reader.message(crate::support::strict::Kind::Response)).await;
        assert_eq!(response.expect("a response").text(), format!("/{n}"));
    }
    drop(sending.await.expect("no panic"));
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn responses_that_are_never_read_hold_up_nobody() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "timeouts: { body: 1s }").await;
    let bystander = Bystander::of(&gateway);
    // Each asks until its answers fill all buffers.
    let deaf: Vec<_> = (0..4)
        .map(|_| {
            let address = gateway.address();
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(4096).expect("a buffer size");
                let mut stream = socket.connect(address).await.expect("a connection");
                let requests = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(10_000)).repeat(20);
                while stream.write_all(requests.as_bytes()).await.is_ok() {}
            })
        })
        .collect();
    for client in deaf {
        tokio::time::timeout(Duration::from_secs(60), client).await.expect("turned out").expect("no panic");
    }
    bystander.noticed_nothing().await;
}

/// SplitMix64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    /// A few bytes changed, doubled, removed or put in.
    fn spoil(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        const TRICKS: &[u8] = b"\r\n\0\t :;,/%\\\"\x7f\xff0f";
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.next() as u8,
                1 => bytes[at] = TRICKS[self.below(TRICKS.len())],
                2 => bytes.insert(at, TRICKS[self.below(TRICKS.len())]),
                3 if bytes.len() > 1 => _ = bytes.remove(at),
                _ => {
                    let part = bytes[at..].to_vec();
                    bytes.extend(part);
                }
            }
        }
        bytes
    }
}

#[tokio::test]
async fn garbage_breaks_nothing() {
    let upstream = paths().await;
    let gateway = gateway_to(upstream.address(), "timeouts: { header-read: 200ms, idle: 200ms, body: 200ms }").await;
    let bystander = Bystander::of(&gateway);
    let chunked = b"POST /a/../b?c=d HTTP/1.1\r\nHost: a.example:80\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\
        Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nForwarded: for=1.2.3.4\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let sized = b"PUT http://a/%2e%2e/x HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
    let mut http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    http2.extend(frames::frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]));
    http2.extend(frames::headers(
        1,
        0,
        &[(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")],
    ));
    http2.extend(frames::frame(frames::DATA, 0, 1, b"hello"));
    http2.extend(frames::headers(1, frames::END_STREAM, &[("x", "y")]));
    http2.extend(frames::headers(3, frames::END_STREAM, &GET));
    http2.extend(frames::reset(3));
    let seeds = [&chunked[..], &sized[..], &http2[..], &chunked.repeat(3)[..]].map(<[u8]>::to_vec);

    let mut random = Random(42);
    let mut connections = Vec::new();
    for n in 0..400 {
        let bytes = if n % 5 == 0 { random.bytes(2000) } else { random.spoil(seeds[n % 4].clone()) };
        let address = gateway.address();
        // Every third one leaves at once, and every third one says that it has said all.
        connections.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let _ = stream.write_all(&bytes).await;
            match n % 3 {
                0 => {}
                1 => {
                    let _ = stream.shutdown().await;
                    raw::read_to_close(&mut stream).await;
                }
                _ => _ = raw::read_to_close(&mut stream).await,
            }
        }));
        if connections.len() == 200 {
            for connection in connections.drain(..) {
                connection.await.expect("the connection ends");
            }
        }
    }
    bystander.noticed_nothing().await;
    eventually("all being gone", async || metric(&gateway, "gateway_connections").await == 0).await;
}

#[tokio::test]
async fn an_upstream_that_sends_garbage_breaks_nothing() {
    let good = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nContent-Type: text/plain\r\n\r\n\
        5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let sized = b"HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nConnection: keep-alive\r\nSet-Cookie: a=b\r\n\r\nhello";
    let random = Arc::new(std::sync::Mutex::new(Random(7)));
    let garbage = RawUpstream::on_head(move |mut stream| {
        let bytes = {
            let mut random = random.lock().expect("no panic");
            match random.below(5) {
                0 => random.bytes(500),
                n => random.spoil(if n % 2 == 0 { good.to_vec() } else { sized.to_vec() }),
            }
        };
        async move {
            let _ = stream.write_all(&bytes).await;
            None
        }
    })
    .await;
    let paths = paths().await;
    panics::watch();
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ garbage: {{ endpoints: ['http://{}'] }}, it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: garbage, match: {{ path: /garbage }}, upstream: garbage }}
  - {{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}
",
        garbage.address(),
        paths.address()
    ))
    .await;
    let bystander = Bystander::of(&gateway);
    for n in 0..300 {
        let mut client = if n % 3 == 0 {
            Client::connect_http2(gateway.address()).await
        } else {
            Client::connect(gateway.address()).await
        };
        // A whole answer or none; which one depends on what was spoiled.
        let _ = client.try_send(Request::get("/garbage").header("te", "trailers")).await;
    }
    bystander.noticed_nothing().await;
}
