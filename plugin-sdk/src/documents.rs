//! Documents of granted upstreams, such as key sets: the gateway fetches them once for everybody, keeps them, and
//! fetches them again before they are too old.
//!
//! [`get`] never waits. Where there is nothing to give yet it says [`DocumentError::Later`]: fail then, before you have
//! changed anything, and the phase is called again when there is an answer. With `?` that is what happens.

use std::{fmt, time::Duration};

use crate::host;

/// Where a document is, and how old it may get. Whole milliseconds count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of an upstream in the gateway's configuration.
    pub upstream: String,
    /// Path and query.
    pub path_with_query: String,
    /// The age from which it is fetched again, without anyone waiting for it.
    pub refresh: Duration,
    /// The least time between two attempts; at least a second.
    pub retry: Duration,
    /// The age up to which it is given if it cannot be had again.
    pub keep: Duration,
    /// For each attempt; at most a minute.
    pub timeout: Duration,
}

impl Source {
    /// A document that is fetched again after ten minutes, at most every half minute, and kept for a day.
    pub fn new(upstream: &str, path_with_query: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            path_with_query: path_with_query.to_owned(),
            refresh: Duration::from_secs(600),
            retry: Duration::from_secs(30),
            keep: Duration::from_secs(86_400),
            timeout: Duration::from_secs(5),
        }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Another one for each other text; never 0.
    pub version: u64,
    /// The whole text.
    pub body: Vec<u8>,
}

/// The document; `None` if it is still that of the `known` version, 0 for none. With `insist` the known one does not
/// do, and it is fetched again unless that was tried less than `retry` ago.
///
/// # Errors
///
/// See [`DocumentError`].
pub fn get(source: &Source, known: u64, insist: bool) -> Result<Option<Document>, DocumentError> {
    host::document(source, known, insist)
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentError {
    /// No such upstream, or not granted.
    Denied(String),
    /// The path is not valid; the text says why.
    Invalid(String),
    /// It could not be had; the text says why.
    Unavailable(String),
    /// It is on its way: fail, and be called again.
    Later,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "document denied: {why}"),
            Self::Invalid(why) => write!(f, "document's place invalid: {why}"),
            Self::Unavailable(why) => write!(f, "document unavailable: {why}"),
            Self::Later => f.write_str("the document is on its way"),
        }
    }
}

impl std::error::Error for DocumentError {}
