//! How it goes with the plugins' state: in the gateway's memory, and where else it is.

use std::fmt;

/// Whoever keeps the state elsewhere, asked at each scrape.
pub trait RemoteState: fmt::Debug + Send + Sync {
    fn figures(&self) -> RemoteFigures;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFigures {
    /// All of it can be read and written.
    pub up: bool,
    /// Servers that hold a part of it, in the order of `NODES`.
    pub nodes: [u64; NODES.len()],
    /// In the order of `RESULTS`.
    pub questions: [u64; RESULTS.len()],
    /// Until the answers of those that were answered.
    pub micros: u64,
}

/// What is in the gateway's own memory, asked at each scrape.
pub trait OwnState: fmt::Debug + Send + Sync {
    fn figures(&self) -> OwnFigures;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnFigures {
    /// What plugins count and remember.
    pub entries: u64,
    pub entry_bytes: u64,
    /// Responses that plugins keep.
    pub responses: u64,
    pub response_bytes: u64,
}

/// How servers are.
pub const NODES: [&str; 2] = ["available", "unavailable"];

/// What became of a question. `late` had no answer in time, `unasked` was not even sent.
pub const RESULTS: [&str; 4] = ["answered", "late", "failed", "unasked"];
