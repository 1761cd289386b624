//! The store behind plugins' `store` import: values, counters and quotas, shared by all workers.
//!
//! There are two places for it, with two faces: the process's memory, which answers at once, and Redis, which is asked
//! and answers later. No trait pretends that they are one.

#![warn(unreachable_pub)]

pub mod cache_key;
pub mod clock;
mod invalidations;
mod lease_waits;
mod leases;
pub mod memory;
pub mod redis;
pub mod responses;
mod shard;
mod swap;
mod waiters;

pub use cache_key::{CacheKey, ConsumerId};
pub use clock::{Clock, Monotonic};
pub use gateway_rules::{
    lease::{Acquired, LeaseId, Wake},
    quota::Quota,
    store::{MAX_VALUE_BYTES, StoreError},
    take::{Counting, Step, Verdict},
};
pub use lease_waits::{LeaseTurn, LeaseWait};
pub use leases::new_lease;
pub use memory::{Bucket, DEFAULT_BYTES, MemoryStore};
pub use responses::Responses;
pub use swap::Swap;
