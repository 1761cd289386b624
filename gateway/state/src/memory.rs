//! The store in the memory of the process: shared by all workers, bounded, forgotten at the end. Leases are in `leases`, what
//! depends on the present value of a key in `swap`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use bytes::Bytes;
use smallvec::SmallVec;

use gateway_rules::{
    quota::Quota,
    store::{self, StoreError},
    take::{self, Count, Counting, Step, Taken, Verdict},
};

use super::{
    clock::{Clock, Monotonic, nanos},
    shard::{FOREVER, Guard, Shard, Value},
    waiters::Waiters,
};

/// What a store may hold unless it is configured: keys, values and what it takes to keep them.
pub const DEFAULT_BYTES: usize = 256 * 1024 * 1024;

/// A bucket, and the route for whose requests it is used. What is stored is charged to both: when the memory is full, those that have
/// most of it give some back (`shard`), so that neither a bucket nor a route can displace what others have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket<'a> {
    pub name: &'a str,
    /// Empty where there is no request.
    pub route: &'a str,
}

impl<'a> From<&'a str> for Bucket<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, route: "" }
    }
}

/// Values, counters and quotas by bucket and key. Every call takes one of several locks for a moment.
///
/// A key can have a value (or number) and counts of quotas beside each other; `delete` removes all of them.
pub struct MemoryStore<C = Monotonic> {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) clock: C,
    pub(super) waiters: Arc<Waiters>,
}

/// Each has a part of the bytes, so no value can be larger than that.
const SHARDS: usize = 16;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What is kept under a key: part of the key, so that the two do not meet.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Value = b'v' as isize,
    Quota = b'q' as isize,
    Window = b'w' as isize,
    Lease = b'l' as isize,
}

/// A key as the memory has it, with its kind and bucket.
pub type Key = SmallVec<[u8; 128]>;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl MemoryStore {
    pub fn new(bytes: usize) -> Self {
        Self::with_clock(bytes, Monotonic::default())
    }
}

impl<C: Clock> MemoryStore<C> {
    pub fn with_clock(bytes: usize, clock: C) -> Self {
        let hasher = RandomState::new();
        let shard = || Mutex::new(Shard::new(bytes / SHARDS, hasher.clone()));
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        Self { shards, hasher, clock, waiters: Arc::default() }
    }

    /// Another bound; what is over it goes.
    pub fn resize(&self, bytes: usize) {
        let now = nanos(&self.clock);
        for shard in &self.shards {
            lock(shard).resize(bytes / SHARDS, now);
        }
    }

    /// The value, or the decimal digits of a number.
    pub fn get<'a>(&self, bucket: impl Into<Bucket<'a>>, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = compose(Kind::Value, bucket.into().name, key)?;
        let now = nanos(&self.clock);
        Ok(match self.shard(&key).get(&key, now) {
            Some((Value::Bytes(bytes), _)) => Some(bytes.clone()),
            Some((Value::Number(number), _)) => Some(number.to_string().into()),
            Some((Value::Count(_) | Value::Holders(_), _)) | None => None,
        })
    }

    /// Without `ttl_ms` the entry stays until deleted or displaced; with 0 it is gone at once.
    pub fn set<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let bucket = bucket.into();
        let key = compose(Kind::Value, bucket.name, key)?;
        store::check_value(value)?;
        let value = Value::Bytes(Bytes::copy_from_slice(value));
        let now = nanos(&self.clock);
        stored(self.shard(&key).put(self.payer(bucket), &key, value, Guard::None, deadline(now, ttl_ms), now))
    }

    /// Removes the value of that key and what was counted for it.
    pub fn delete<'a>(&self, bucket: impl Into<Bucket<'a>>, key: &str) -> Result<(), StoreError> {
        let bucket = bucket.into().name;
        for kind in [Kind::Value, Kind::Quota, Kind::Window] {
            let key = compose(kind, bucket, key)?;
            self.shard(&key).remove(&key);
        }
        Ok(())
    }

    /// Adds to a decimal number, from 0 where there is none, and returns the sum. `ttl_ms` counts from the
    /// entry's creation: later calls do not prolong it.
    pub fn increment<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> Result<i64, StoreError> {
        let bucket = bucket.into();
        let key = compose(Kind::Value, bucket.name, key)?;
        let now = nanos(&self.clock);
        let mut shard = self.shard(&key);
        let (number, until) = match shard.get(&key, now) {
            Some((Value::Number(number), until)) => (Some(*number), until),
            Some((Value::Bytes(bytes), until)) => (Some(store::number(bytes)?), until),
            Some((Value::Count(_) | Value::Holders(_), _)) | None => (None, deadline(now, ttl_ms)),
        };
        let sum = store::add(number, by)?;
        stored(shard.put(self.payer(bucket), &key, Value::Number(sum), guard_of(sum, until), until, now))?;
        Ok(sum)
    }

    /// One atomic step of the generic cell rate algorithm; `quota` says how it counts.
    pub fn take<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        quota: Quota,
        cost: u32,
    ) -> Result<Verdict, StoreError> {
        let bucket = bucket.into();
        let key = compose(Kind::Quota, bucket.name, key)?;
        let mut shard = self.shard(&key);
        // Read under the lock: time must not go back between two steps of one key.
        let now = nanos(&self.clock);
        let level = match count(&mut shard, &key, now) {
            Some(Count::Level(level)) => Some(level),
            _ => None,
        };
        let Taken { verdict, remember, refuses_for } = quota.take(level, cost, now);
        let remember = remember.map(|(level, lasts)| (Count::Level(level), lasts));
        note(&mut shard, self.payer(bucket), &key, &Taken { verdict, remember, refuses_for }, now)?;
        Ok(verdict)
    }

    /// Several steps of one group, all or none of them. Without the others, those that are allowed take nothing.
    pub fn take_all<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        group: &str,
        steps: &[Step],
    ) -> Result<Vec<Verdict>, StoreError> {
        let kind = |step: &Step| match step.counting {
            Counting::Steady => Kind::Quota,
            Counting::Sliding => Kind::Window,
        };
        let bucket = bucket.into();
        let keys = steps.iter().map(|step| compose(kind(step), bucket.name, &store::step_key(group, &step.key)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        // Every lock that is needed, once, and in the same order for everyone.
        let places: Vec<usize> = keys.iter().map(|key| self.place(key)).collect();
        let mut needed = places.clone();
        needed.sort_unstable();
        needed.dedup();
        let mut locked: Vec<_> = needed.iter().map(|place| lock(&self.shards[*place])).collect();
        let now = nanos(&self.clock);
        let index = |place: &usize| needed.binary_search(place).unwrap_or(0);
        let before = |step: usize| count(&mut locked[index(&places[step])], &keys[step], now);
        let taken = take::take_all(steps, before, now);
        let payer = self.payer(bucket);
        for ((key, place), taken) in keys.iter().zip(&places).zip(&taken) {
            note(&mut locked[index(place)], payer, key, taken, now)?;
        }
        Ok(taken.into_iter().map(|taken| taken.verdict).collect())
    }

    /// Entries, with those that have expired and were not swept yet.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in use, as `Bounds` counts them.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes()).sum()
    }

    pub(super) fn payer(&self, bucket: Bucket<'_>) -> u64 {
        self.hasher.hash_one((bucket.name, bucket.route))
    }

    pub(super) fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.place(key)])
    }

    fn place(&self, key: &[u8]) -> usize {
        // The shard's own map uses the low bits of the same hash.
        let hash = self.hasher.hash_one(key) >> 32;
        hash as usize % self.shards.len()
    }
}

/// A count that comes to an end limits something as long as it is not 0, such as jobs that run.
pub(super) fn guard_of(number: i64, until: u64) -> Guard {
    if number > 0 && until != FOREVER { Guard::Exhausted(until) } else { Guard::None }
}

/// What is remembered of a quota.
fn count(shard: &mut Shard, key: &[u8], now: u64) -> Option<Count> {
    match shard.get(key, now) {
        Some((Value::Count(count), _)) => Some(*count),
        _ => None,
    }
}

/// Remembers what a step has taken, or that it was refused.
fn note(shard: &mut Shard, payer: u64, key: &[u8], taken: &Taken<Count>, now: u64) -> Result<(), StoreError> {
    if let Some((count, lasts)) = taken.remember {
        let (guard, until) = (exhausted(taken.refuses_for, now), now.saturating_add(lasts));
        return stored(shard.put(payer, key, Value::Count(count), guard, until, now));
    }
    if !taken.verdict.allowed {
        shard.refuses(key, now.saturating_add(taken.refuses_for), now);
    }
    Ok(())
}

/// Of a limit whose next request would be refused.
fn exhausted(refuses_for: u64, now: u64) -> Guard {
    if refuses_for == 0 { Guard::None } else { Guard::Exhausted(now.saturating_add(refuses_for)) }
}

/// A panic under the lock is a defect, but it must not make the store unusable.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kind, the length of the bucket's name, the name and the key: no two of them read the same.
pub(super) fn compose(kind: Kind, bucket: &str, key: &str) -> Result<Key, StoreError> {
    store::check_key(bucket, key)?;
    let mut composed = Key::new();
    composed.push(kind as u8);
    composed.extend_from_slice(&(bucket.len() as u16).to_be_bytes());
    composed.extend_from_slice(bucket.as_bytes());
    composed.extend_from_slice(key.as_bytes());
    Ok(composed)
}

pub(super) fn deadline(now: u64, ttl_ms: Option<u64>) -> u64 {
    ttl_ms.map_or(FOREVER, |ttl| now.saturating_add(ttl.saturating_mul(NANOS_PER_MILLI)))
}

pub(super) fn stored(fits: bool) -> Result<(), StoreError> {
    if fits { Ok(()) } else { Err(StoreError::ValueTooLarge) }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
