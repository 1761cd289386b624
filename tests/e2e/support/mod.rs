//! What the tests are written with.

pub mod certs;
pub mod client;
pub mod collector;
pub mod counted;
pub mod dns;
pub mod feed;
pub mod frames;
pub mod gate;
pub mod gateway;
pub mod grpc;
pub mod guests;
pub mod openid;
pub mod panics;
pub mod process;
pub mod raw;
pub mod redis;
pub mod registry;
pub mod strict;
pub mod thrift;
pub mod token;
pub mod traffic;
pub mod upstream;

pub use certs::Authority;
pub use client::{Client, Response};
pub use gate::Gate;
pub use gateway::TestGateway;
pub use process::Process;
pub use traffic::Traffic;
pub use upstream::{RawUpstream, Upstream};

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// An address on which nobody listens, as long as the tests run: it is taken, so that nobody else gets it.
pub fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address = socket.local_addr().expect("an address").as_socket().expect("of IP");
    // Without `listen` whoever connects is refused.
    std::mem::forget(socket);
    address
}

/// An address on which somebody will listen later. It is none of those that the system hands out for port 0, which all others
/// use, so that nobody takes it in between; nor is the port 10,000 above it, on which a Redis of a cluster speaks to others.
pub fn free_address() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at a time begin elsewhere.
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// No test waits longer than this for anything: a hang becomes a failure. It is not a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Fails the test instead of hanging it.
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}

/// Asks again until it holds; for what another thread brings about.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
