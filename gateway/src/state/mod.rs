//! The store behind plugins' `store` import: values, counters and quotas, shared by all workers.
//!
//! There are two places for it, with two faces: the process's memory, which answers at once, and Redis, which is asked
//! and answers later. No trait pretends that they are one.

pub mod cache_key;
pub mod clock;
mod invalidations;
pub mod memory;
pub mod quota;
pub mod redis;
pub mod responses;
mod shard;
mod window;

use std::fmt;

pub use cache_key::{CacheKey, ConsumerId};
pub use clock::{Clock, Monotonic};
pub use memory::{Bucket, DEFAULT_BYTES, MemoryStore};
pub use quota::{Counting, Quota, Step, Verdict};
pub use responses::Responses;

/// The longest key, with the name of its bucket.
pub const MAX_KEY_BYTES: usize = 1024;

/// The longest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// Why nothing was stored. To a plugin all of these are `too-large`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    KeyTooLarge,
    ValueTooLarge,
    /// `increment` found something else than a decimal number.
    NotANumber,
    /// `increment` would leave the range of 64 bits; the number stays as it was.
    OutOfRange,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLarge => write!(f, "bucket and key are over {MAX_KEY_BYTES} bytes"),
            Self::ValueTooLarge => write!(f, "value is over {MAX_VALUE_BYTES} bytes or over the store's own limit"),
            Self::NotANumber => f.write_str("value is not a decimal number"),
            Self::OutOfRange => f.write_str("sum is out of range"),
        }
    }
}

impl std::error::Error for StoreError {}
