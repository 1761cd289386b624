//! HTTP/2 clients that mean harm, against a gateway of their own: what they do costs a bounded amount of memory, and
//! others are served meanwhile.

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use http::Response;
use tempfile::TempDir;
use tokio::{net::TcpSocket, task::JoinSet};

use super::{Bystander, GET};
use crate::support::{
    Process, Upstream,
    frames::{self, Frames},
    upstream::full,
};

/// Connections of each attack.
const ATTACKERS: usize = 4;
/// What an attack may cost, of all its connections: a fraction of what it sends or asks for.
const MOST: u64 = 96 << 20;
/// What `/large` answers with.
const LARGE: usize = 4 << 20;

/// Runs an attack over several connections at once, while somebody else is served.
async fn endures<F, R>(attack: F)
where
    F: Fn(SocketAddr) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    // Made once: this thread has the bystander to look after, whom the gateway turns out if it does not come to speak.
    let large = Bytes::from(vec![b'x'; LARGE]);
    let upstream = Upstream::serving(move |request| {
        let large = large.clone();
        async move {
            match request.uri().path() {
                "/large" => Response::new(full(large)),
                path => Response::new(full(path.to_owned())),
            }
        }
    })
    .await;
    let folder = TempDir::new().expect("a folder");
    let config = format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
timeouts: {{ header-read: 5s, body: 3s, idle: 5s }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, upstream: it }}]
",
        upstream.address()
    );
    fs::write(folder.path().join("gateway.yaml"), config).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml", "--no-watch"]);
    let address = process.addresses().await[0];
    // So that what everybody costs is there before.
    let mut warm = Frames::connect(address).await;
    warm.get(1, "a", &[]).await;
    warm.fate(1).await;
    let before = process.memory("VmRSS");
    let bystander = Bystander::at(address);
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(attack(address));
    }
    while let Some(ended) = attackers.join_next().await {
        ended.expect("no panic");
    }
    bystander.noticed_nothing().await;
    assert!(process.is_running());
    let cost = process.memory("VmHWM").saturating_sub(before);
    assert!(cost < MOST, "{} KiB", cost >> 10);
}

/// Sends the same again and again, as long as it is taken, and reads nothing meanwhile.
async fn flood(address: SocketAddr, frame: Vec<u8>, times: usize) {
    let mut client = Frames::connect(address).await;
    let burst = frame.repeat(1000);
    for _ in 0..times / 1000 {
        if !client.try_send(&burst).await {
            return;
        }
    }
}

#[tokio::test]
async fn rapid_reset() {
    endures(|address| async move {
        let mut client = Frames::connect(address).await;
        for block in 0..100 {
            let mut burst = Vec::new();
            for n in 0..200 {
                let stream = 2 * (block * 200 + n) + 1;
                burst.extend(frames::headers(stream, frames::END_STREAM, &GET));
                burst.extend(frames::reset(stream));
            }
            if !client.try_send(&burst).await {
                return;
            }
        }
        client.is_ended().await;
    })
    .await;
}

#[tokio::test]
async fn a_head_of_endless_continuations() {
    endures(|address| async move {
        let mut client = Frames::connect(address).await;
        client.try_send(&frames::frame(frames::HEADERS, frames::END_STREAM, 1, &frames::block(&GET))).await;
        let part = frames::frame(frames::CONTINUATION, 0, 1, &frames::block(&[("x-a", &"x".repeat(10_000))]));
        let mut sent = 0_usize;
        while client.try_send(&part).await && sent < 256 << 20 {
            sent += part.len();
        }
        assert!(sent < 256 << 20, "it is taken for ever");
    })
    .await;
}

#[tokio::test]
async fn heads_that_unpack_to_a_thousand_times_their_size() {
    endures(|address| async move {
        let mut client = Frames::connect(address).await;
        let mut fill = frames::block(&GET);
        let large = frames::block(&[("x-bomb", &"x".repeat(3900))]);
        // Into the dynamic table (RFC 7541 §6.2.1), from where one byte fetches it.
        fill.push(0x40);
        fill.extend(&large[1..]);
        client.try_send(&frames::frame(frames::HEADERS, frames::END_STREAM | frames::END_HEADERS, 1, &fill)).await;
        for stream in 1..100 {
            let mut block = frames::block(&GET);
            block.extend([0xbe; 15_000]);
            let flags = frames::END_STREAM | frames::END_HEADERS;
            if !client.try_send(&frames::frame(frames::HEADERS, flags, 2 * stream + 1, &block)).await {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn pings_whose_answers_are_not_read() {
    endures(|address| flood(address, frames::frame(frames::PING, 0, 0, &[7; 8]), 500_000)).await;
}

#[tokio::test]
async fn settings_whose_acknowledgements_are_not_read() {
    // SETTINGS_HEADER_TABLE_SIZE, back and forth.
    let mut settings = frames::frame(frames::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    settings.extend(frames::frame(frames::SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]));
    endures(move |address| flood(address, settings.clone(), 200_000)).await;
}

#[tokio::test]
async fn window_updates_without_end() {
    // By one byte each, of the connection.
    endures(|address| flood(address, frames::frame(frames::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()), 500_000)).await;
}

#[tokio::test]
async fn priorities_without_end() {
    endures(|address| async move {
        let mut client = Frames::connect(address).await;
        for block in 0..200_u32 {
            // Of streams that will never be (RFC 9113 §5.3.2 lets them be ignored).
            let frames = (0..1000)
                .flat_map(|n| frames::frame(frames::PRIORITY, 0, 2 * (block * 1000 + n) + 1, &[0, 0, 0, 0, 1]));
            if !client.try_send(&frames.collect::<Vec<_>>()).await {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn data_frames_without_data() {
    endures(|address| async move {
        let mut client = Frames::connect(address).await;
        let post = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        client.try_send(&frames::headers(1, 0, &post)).await;
        let burst = frames::frame(frames::DATA, 0, 1, &[]).repeat(1000);
        for _ in 0..500 {
            if !client.try_send(&burst).await {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn large_responses_behind_closed_windows() {
    endures(|address| async move {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a buffer size");
        let mut client = Frames::over(socket.connect(address).await.expect("a connection")).await;
        // SETTINGS_INITIAL_WINDOW_SIZE: nothing may be sent on any stream.
        client.try_send(&frames::frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        let large = [(":method", "GET"), (":scheme", "http"), (":path", "/large"), (":authority", "a")];
        for stream in 0..100 {
            client.try_send(&frames::headers(2 * stream + 1, frames::END_STREAM, &large)).await;
        }
        // All of them are given up in time, one by one or with their connection.
        let mut left = 100;
        while left > 0 {
            match client.next().await {
                Some(frame) if frame.kind == frames::RST_STREAM => left -= 1,
                Some(_) => {}
                None => return,
            }
        }
    })
    .await;
}
