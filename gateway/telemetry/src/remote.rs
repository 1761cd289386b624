//! How it goes with the plugins' state: in the gateway's memory, and where else it is.

use std::fmt;

/// The remote state backend, read at each scrape.
pub trait RemoteState: fmt::Debug + Send + Sync {
    fn figures(&self) -> RemoteFigures;
}

#[derive(Debug, Clone, PartialEq)]
pub struct RemoteFigures {
    /// All of it can be read and written.
    pub up: bool,
    /// Servers that hold a part of it, in the order of `NODES`.
    pub nodes: [u64; NODES.len()],
    /// In the order of `RESULTS`.
    pub requests: [u64; RESULTS.len()],
    /// Durations of the requests with the result `ok`: upper bounds in seconds, and how many are in each bucket.
    pub durations: Vec<(f64, u64)>,
    /// The sum of these durations.
    pub seconds: f64,
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
    /// Of the instances of all plugins: accounted for, and how much may be.
    pub plugin_memory: u64,
    pub plugin_memory_limit: u64,
}

/// How servers are.
pub const NODES: [&str; 2] = ["available", "unavailable"];

/// Results of requests to Redis. `timeout`: no reply within `state.backend.redis.timeout`; `skipped`: not sent.
pub const RESULTS: [&str; 4] = ["ok", "timeout", "error", "skipped"];
