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

use std::time::Duration;

/// No test waits longer than this for anything: a hang becomes a failure. It is not a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
