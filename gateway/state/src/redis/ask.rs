//! What workers ask the thread for, and counts of what became of it.

use std::sync::atomic::AtomicU64;

use tokio::sync::oneshot;

use super::{
    failure::Failure,
    ops::{Op, Reply},
};

/// What became of the questions so far. Pings are none.
#[derive(Debug, Default)]
pub struct Counts {
    pub answered: AtomicU64,
    /// The server did not answer in time.
    pub late: AtomicU64,
    /// The server said no, or the connection broke.
    pub failed: AtomicU64,
    /// Not asked: the server was away, or too many were waiting.
    pub unasked: AtomicU64,
    /// Until the answers of those that were answered.
    pub micros: AtomicU64,
}

/// A question and where its answer goes.
pub(super) struct Ask {
    pub(super) op: Op,
    pub(super) answer: oneshot::Sender<Result<Reply, Failure>>,
}
