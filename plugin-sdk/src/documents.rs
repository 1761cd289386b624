//! Documents of granted upstreams, such as key sets. The gateway fetches each of them once for all instances, keeps it, and
//! refreshes it before it expires, while the present one remains in use.
//!
//! A call in [`Plugin::new`](crate::Plugin::new) declares a document: the gateway fetches it as soon as the configuration becomes
//! active, and refreshes it also while no call needs it.
//!
//! ```
//! use plugin_sdk::{Reply, documents::{self, Source}, testkit::TestHost};
//!
//! let host = TestHost::new();
//! host.answer_calls(|_| Ok(Reply::new(200).with_text("{}")));
//! host.run(|| {
//!     let source = Source::new("provider", "/keys");
//!     let document = documents::get(&source, 0, false)?.expect("version 0 is never known");
//!     assert_eq!(document.bytes, b"{}");
//!     assert_eq!(documents::get(&source, document.version, false)?, None, "it has not changed");
//!     Ok::<(), documents::DocumentError>(())
//! })
//! .unwrap();
//! ```

use std::{fmt, time::Duration};

use crate::host;

/// Where a document is, and how old it may become. Durations are in whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of an upstream in the gateway's configuration.
    pub upstream: String,
    /// Path and query.
    pub path_with_query: String,
    /// The age at which the document is fetched again. Calls do not wait for that.
    pub refresh: Duration,
    /// The least time between two attempts; at least a second.
    pub retry: Duration,
    /// The age up to which the document remains in use if it cannot be fetched again.
    pub max_stale: Duration,
    /// For each attempt; at most a minute.
    pub timeout: Duration,
}

impl Source {
    /// A document that is fetched again after ten minutes, at most every half minute, and remains in use for a day.
    pub fn new(upstream: &str, path_with_query: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            path_with_query: path_with_query.to_owned(),
            refresh: Duration::from_secs(600),
            retry: Duration::from_secs(30),
            max_stale: Duration::from_secs(86_400),
            timeout: Duration::from_secs(5),
        }
    }
}

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Changes with the text; never 0.
    pub version: u64,
    /// The whole text.
    pub bytes: Vec<u8>,
}

/// The document, or `None` if its version is still the `known` one (0 for none).
///
/// Waits only if there is no document in use yet, or with `force_refresh`, which fetches it again unless that was attempted less
/// than `retry` ago.
///
/// # Errors
///
/// See [`DocumentError`].
pub fn get(source: &Source, known: u64, force_refresh: bool) -> Result<Option<Document>, DocumentError> {
    host::document(source, known, force_refresh)
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// No such upstream, or not granted; the text names it.
    Denied(String),
    /// The path is not valid; the text says why.
    Invalid(String),
    /// It could not be fetched; the text says why. Always in [`Plugin::new`](crate::Plugin::new), where nothing is
    /// fetched yet.
    Unavailable(String),
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "document denied: {why}"),
            Self::Invalid(why) => write!(f, "invalid document path: {why}"),
            Self::Unavailable(why) => write!(f, "document unavailable: {why}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DocumentError {}
