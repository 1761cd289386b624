//! Whole responses in the gateway's memory, shared by all instances of a plugin, in buckets that the operator granted
//! by name. The plugin decides what is kept, and to whom it may be given; heads and bodies stay in the gateway, only
//! the plugin's own note about each comes into the sandbox.
//!
//! [`Cache::claim`] and [`Cache::find`] may say [`CacheError::Later`]: fail then, before you have changed anything, and the phase is called
//! again when there is more to say. With `?` that is what happens.

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
    pub without: Vec<String>,
    /// A longer body is not kept. The gateway has a limit of its own.
    pub most_bytes: u64,
    /// It is kept for other gateways too, where the operator has put the state, if it is 1 MiB at most.
    pub shared: bool,
}

/// Whose turn it is to fetch what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Others who want the same wait for this exchange.
    Mine,
    /// There is nothing to wait for: the exchange has waited already, or it was said that nobody need.
    Nobodys,
}

impl Cache {
    /// Names a bucket; whether it is granted shows when it is used.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self(bucket.into())
    }

    /// What is kept under a key and has not outlived its time, the newest first. With `shared`, what is not in this
    /// gateway's memory is looked for where the operator has put the state, and the answer may be [`CacheError::Later`].
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

    /// In the request phase, for what is not there: so that many who want the same ask the upstream once. Nobody waits
    /// for longer than `wait`; at most a minute.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn claim(&self, request: &Request, key: &str, wait: Duration) -> Result<Turn, CacheError> {
        host::cache_claim(&request.0, &self.0, key, wait)
    }

    /// What was claimed will not be kept: whoever waits goes on, and nobody waits for that key for so long; at most an
    /// hour.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn waive(&self, request: &Request, key: &str, time: Duration) -> Result<(), CacheError> {
        host::cache_waive(&request.0, &self.0, key, time)
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

/// Why a cache did not do as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheError {
    /// The bucket is not granted.
    Denied(String),
    /// The key is over 4 KiB, or the note, the secondary key or the tags over 16 KiB.
    TooLarge,
    /// No such id, no such range, not in this phase, or the request has a body, which no key tells of.
    Unavailable,
    /// Another exchange fetches it, or it is looked for elsewhere: fail, and be called again.
    Later,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "cache denied: {why}"),
            Self::TooLarge => f.write_str("key, note, secondary key or tags too large for the cache"),
            Self::Unavailable => f.write_str("the cache cannot do that with this response, or in this phase"),
            Self::Later => f.write_str("another exchange fetches it, or it is looked for elsewhere"),
        }
    }
}

impl std::error::Error for CacheError {}
