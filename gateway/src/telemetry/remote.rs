//! How it goes with where the plugins' state is, if it is not in the gateway's memory.

use std::fmt;

/// Whoever keeps the state elsewhere, asked at each scrape.
pub trait RemoteState: fmt::Debug + Send + Sync {
    fn figures(&self) -> RemoteFigures;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFigures {
    /// It answered last.
    pub up: bool,
    /// In the order of `RESULTS`.
    pub questions: [u64; RESULTS.len()],
    /// Until the answers of those that were answered.
    pub micros: u64,
}

/// What became of a question. `late` had no answer in time, `unasked` was not even sent.
pub const RESULTS: [&str; 4] = ["answered", "late", "failed", "unasked"];
