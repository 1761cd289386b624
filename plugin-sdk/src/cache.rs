//! Whole responses in the gateway's memory, shared by all instances of a plugin, in buckets that the operator granted
//! by name. The plugin decides what is kept, and to whom it may be given; heads and bodies stay in the gateway, only
//! the plugin's own note about each comes into the sandbox.
//!
//! Of many exchanges that want the same response at once, one should ask the upstream: see [`Cache::lock`].

use std::{fmt, time::Duration};

use crate::{Request, Response, host};

/// A bucket of responses, by its name in the gateway's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache(String);

/// A response that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Stands for it for the rest of the exchange.
    pub id: u32,
    /// The status code.
    pub status: u16,
    /// Length of the body.
    pub body_bytes: u64,
    /// What the plugin wrote about it.
    pub note: Vec<u8>,
}

/// What of a stored response is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Head and body.
    Whole,
    /// The head alone.
    Nothing,
    /// The head, and of the body the bytes from the first to the last of these.
    Range(u64, u64),
}

/// How a response is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The plugin's own, given back by [`Cache::find`]; up to 16 KiB.
    pub note: Vec<u8>,
    /// Which of the responses under the key it is: it takes the place of the one that had the same.
    pub secondary: Vec<u8>,
    /// How long it may be of use. Whole milliseconds count.
    pub keep: Duration,
    /// For the operator, who can purge by them.
    pub tags: Vec<String>,
    /// Names of fields that are not kept.
    pub exclude_headers: Vec<String>,
    /// A longer body is not kept. The gateway has a limit of its own.
    pub max_bytes: u64,
    /// It is kept for other gateways too, where the operator has put the state, if it is 1 MiB at most.
    pub shared: bool,
}

/// The result of [`Cache::lock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockResult {
    /// This exchange fetches the response; others that want the same key wait for it.
    Acquired,
    /// There is nothing to wait for: the exchange has waited already, or the key was released for a while.
    Free,
    /// Another exchange fetches it: return [`Decision::AwaitRelease`](crate::Decision::AwaitRelease). The request phase is called again
    /// when the lock is released or the time is over.
    Held,
}

impl Cache {
    /// Names a bucket; whether it is granted shows when it is used.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self(bucket.into())
    }

    /// What is kept under a key and has not outlived its time, the newest first. With `shared`, what is not in this
    /// gateway's memory is looked for in the state backend, which the call waits for.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn find(&self, request: &Request, key: &str, shared: bool) -> Result<Vec<Stored>, CacheError> {
        host::cache_find(&request.0, &self.0, key, shared)
    }

    /// In the response phase: the response is kept once its body has passed whole, with the head that it has now.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn keep(&self, request: &Request, response: &Response, key: &str, entry: Entry) -> Result<(), CacheError> {
        host::cache_keep(&request.0, &response.0, &self.0, key, entry)
    }

    /// Forgets what is kept under a key.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn forget(&self, key: &str) -> Result<(), CacheError> {
        host::cache_forget(&self.0, key)
    }

    /// In the request phase, for a response that is not in the cache: so that of many exchanges that want the same key, one asks the
    /// upstream. An exchange waits for `wait` at most, up to a minute.
    ///
    /// ```
    /// use std::time::Duration;
    /// use plugin_sdk::{Decision, Request, cache::{Cache, CacheError, LockResult}};
    ///
    /// fn on_miss(cache: &Cache, request: &Request, key: &str) -> Result<Decision, CacheError> {
    ///     Ok(match cache.lock(request, key, Duration::from_secs(5))? {
    ///         LockResult::Held => Decision::AwaitRelease,
    ///         LockResult::Acquired | LockResult::Free => Decision::Next,
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn lock(&self, request: &Request, key: &str, wait: Duration) -> Result<LockResult, CacheError> {
        host::cache_lock(&request.0, &self.0, key, wait)
    }

    /// The response will not be kept: exchanges that wait continue, and none waits for this key for `time`, up to an hour.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn release(&self, request: &Request, key: &str, time: Duration) -> Result<(), CacheError> {
        host::cache_release(&request.0, &self.0, key, time)
    }

    /// In the request phase, together with an answer: the request, as it is now, is made once more behind the client's
    /// back, from this plugin on, unless somebody fetches that key already. The plugin sees it like any other, but for
    /// [`is_renewal`].
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn renew(&self, request: &Request, key: &str) -> Result<bool, CacheError> {
        host::cache_renew(&request.0, &self.0, key)
    }
}

/// In the request phase: the reply with which this call returns has the fields of the stored response, except those that
/// it has itself, and this part of its body. A 304 has only those of RFC 9110 §15.4.5.
///
/// # Errors
///
/// See [`CacheError`].
pub fn answer(request: &Request, id: u32, part: Part) -> Result<(), CacheError> {
    host::cache_answer(&request.0, id, part)
}

/// In the response phase: status, fields and body become those of the stored response.
///
/// # Errors
///
/// See [`CacheError`].
pub fn restore(request: &Request, response: &Response, id: u32, part: Part) -> Result<(), CacheError> {
    host::cache_restore(&request.0, &response.0, id, part)
}

/// In the response phase: keeps a stored response anew, under the same key, with the fields that this response has
/// (RFC 9111 §3.2). The id stands for it as it is then.
///
/// # Errors
///
/// See [`CacheError`].
pub fn freshen(request: &Request, response: &Response, id: u32, entry: Entry) -> Result<(), CacheError> {
    host::cache_freshen(&request.0, &response.0, id, entry)
}

/// Whether [`Cache::renew`] made this request.
pub fn is_renewal(request: &Request) -> bool {
    host::cache_is_renewal(&request.0)
}

/// Hands something over from the request phase to the response phase, unseen by other plugins.
///
/// # Errors
///
/// See [`CacheError`].
pub fn remember(request: &Request, memo: &[u8]) -> Result<(), CacheError> {
    host::cache_remember(&request.0, memo)
}

/// What was handed over.
pub fn recall(request: &Request) -> Option<Vec<u8>> {
    host::cache_recall(&request.0)
}

/// Why an operation on a cache failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// The bucket is not granted.
    Denied(String),
    /// Bucket and key have more than 4 KiB together, the note, the secondary key or the tags more than 16 KiB, the data for
    /// [`Cache::remember`] more than 64 KiB, or the exchange has found more than 256 responses.
    TooLarge,
    /// No such id or range; not allowed in this phase; the request has a body, which the key does not cover; or the gateway does not know
    /// the consumer, or a later plugin has chosen another upstream.
    Unavailable,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "cache denied: {why}"),
            Self::TooLarge => f.write_str("key, note, secondary key or tags too large for the cache"),
            Self::Unavailable => f.write_str("the cache cannot do that with this response, or in this phase"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CacheError {}
