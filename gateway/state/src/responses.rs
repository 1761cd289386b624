//! Whole responses, shared by all workers: for plugins that decide what may be given again, and to whom.
//!
//! What is kept is bounded by its bytes. When that is not enough, S3-FIFO decides what stays: what was asked for
//! once, such as by a crawler, does not displace what is asked for again and again.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ahash::RandomState;
use bytes::Bytes;
use gateway_rules::stored_response::MAX_VARIANTS;
use http::{HeaderMap, StatusCode};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::Cache};
use tokio::sync::watch;

use super::{
    cache_key::{self, CacheKey, Composed as Key},
    invalidations::Invalidations,
};

/// Of the budget, what one response may take.
const LARGEST: u64 = 16;
const SHARDS: usize = 4;
/// Keys without a lock, because their responses are not cacheable.
const WAIVERS: usize = 16 * 1024;
/// Of what was kept.
const COUNTERS: usize = 64;
/// What it takes to keep a response, beside what it consists of.
const OVERHEAD: usize = 256;

/// A response that is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The plugin's own.
    pub note: Bytes,
    /// Which of the responses under its key it is.
    pub variant: Box<[u8]>,
    pub tags: Arc<[Box<str>]>,
    /// When it is of no use to anyone any more.
    pub until: Instant,
    /// How often its key had been invalidated when it was kept; set by the store.
    pub invalidations: u64,
}

/// What is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge<'a> {
    Key(&'a str),
    Prefix(&'a str),
    Tag(&'a str),
    All,
}

impl Purge<'_> {
    /// Whether it is about a response of that key, with these tags. A key is named with what follows its first line feed
    /// (scheme, headers and other additions) or without, which is all that begin so.
    pub fn takes(&self, key: &str, tags: &[Box<str>]) -> bool {
        match self {
            Self::Key(own) => key.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('\n')),
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Tag(tag) => tags.iter().any(|own| **own == **tag),
            Self::All => true,
        }
    }
}

/// One for the process.
pub struct Responses {
    cache: Cache<Key, Variants, ByBytes>,
    /// Held for each change, so that none is lost; reading needs it not.
    fetches: Mutex<Fetches>,
    /// How often something was kept, by what keys begin with: so that a lookup before and a claim after it
    /// detect the change.
    kept: [AtomicU64; COUNTERS],
    invalidations: Invalidations,
    hasher: RandomState,
    /// Bytes of bodies that are passing.
    recorded: AtomicU64,
}

/// The position of a lookup of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupMark {
    counter: usize,
    kept: u64,
}

#[derive(Default)]
struct Fetches {
    by_key: HashMap<Key, Fetch, RandomState>,
    /// Counts the claims, so that each ends its own fetch and no other.
    claims: u64,
}

/// The newest first.
type Variants = Arc<[Arc<Stored>]>;

enum Fetch {
    /// By its claim; dropped when it has ended.
    Running(u64, watch::Sender<()>),
    Waived(Instant),
}

/// Whose turn it is to fetch what is not there.
pub enum Turn {
    Mine(Claim),
    /// Held by another request. The receiver fails when that has ended.
    Another(watch::Receiver<()>),
    /// No lock: the response is not cacheable.
    Everyone,
    /// Something was kept since the caller looked: it may be what is wanted.
    LookAgain,
}

/// Until it is dropped, others who want the same wait.
pub struct Claim {
    responses: Arc<Responses>,
    key: Key,
    number: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Variants> for ByBytes {
    fn weight(&self, key: &Key, variants: &Variants) -> u64 {
        (key.len() + variants.iter().map(|stored| stored.size()).sum::<usize>()) as u64
    }
}

impl Stored {
    pub fn size(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        OVERHEAD + fields + tags + self.body.len() + self.note.len() + self.variant.len()
    }
}

impl Default for Responses {
    /// Keeps nothing.
    fn default() -> Self {
        Self::new(0)
    }
}

impl Responses {
    pub fn new(bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            // A guess that memory is reserved by: small, since it grows.
            .estimated_items_capacity(64)
            .weight_capacity(bytes)
            .build()
            .expect("all that has to be given is given");
        let cache = Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), Default::default());
        Self {
            cache,
            fetches: Mutex::default(),
            kept: [const { AtomicU64::new(0) }; COUNTERS],
            invalidations: Invalidations::default(),
            hasher: RandomState::new(),
            recorded: AtomicU64::new(0),
        }
    }

    /// Another budget; what is over it goes.
    pub fn resize(&self, bytes: u64) {
        if bytes != self.cache.capacity() {
            self.cache.set_capacity(bytes);
        }
    }

    /// The largest body that can be kept.
    pub fn largest(&self) -> usize {
        usize::try_from(self.cache.capacity() / LARGEST).unwrap_or(usize::MAX)
    }

    /// Keys and bytes.
    pub fn usage(&self) -> (usize, u64) {
        (self.cache.len(), self.cache.weight())
    }

    /// Room for a body that is kept as it passes. All of them together have as much as what is kept.
    pub fn recorder(self: &Arc<Self>) -> SpaceReservation {
        SpaceReservation { responses: Arc::clone(self), bytes: 0 }
    }

    /// What is kept under a key, the newest first.
    pub fn find(&self, key: CacheKey<'_>) -> Variants {
        let found = self.cache.get(&*key.compose()).unwrap_or_default();
        let now = Instant::now();
        let invalidations = self.invalidations.count(key.bucket, key.key);
        let is_valid = |stored: &&Arc<Stored>| stored.until > now && stored.invalidations == invalidations;
        if found.iter().all(|stored| is_valid(&stored)) {
            return found;
        }
        found.iter().filter(is_valid).cloned().collect()
    }

    /// Keeps a response, in place of the one of the same key and variant. This releases the claim.
    pub fn keep(&self, key: CacheKey<'_>, stored: Stored) {
        let composed: Key = key.compose().into();
        let mut fetches = self.lock();
        self.put(key, &composed, stored);
        fetches.by_key.remove(&composed);
    }

    /// The same for one from elsewhere, without a claim.
    pub fn remember(&self, key: CacheKey<'_>, stored: Stored) {
        let _changing = self.lock();
        self.put(key, &key.compose().into(), stored);
    }

    /// Under the lock.
    fn put(&self, key: CacheKey<'_>, composed: &Key, mut stored: Stored) {
        stored.invalidations = self.invalidations.count(key.bucket, key.key);
        if stored.size() <= self.largest() {
            let now = Instant::now();
            let before = self.cache.peek(composed).unwrap_or_default();
            let others = before.iter().filter(|other| {
                let is_valid = other.until > now && other.invalidations == stored.invalidations;
                is_valid && other.variant != stored.variant
            });
            let mut variants = vec![Arc::new(stored.clone())];
            variants.extend(others.take(MAX_VARIANTS - 1).cloned());
            // Together they may not take more than one of them could.
            let mut room = self.largest();
            variants.retain(|variant| {
                let fits = variant.size() <= room;
                room = room.saturating_sub(variant.size());
                fits
            });
            self.cache.insert(composed.clone(), variants.into());
            self.kept[self.counter(key.bucket, key.key)].fetch_add(1, Ordering::Release);
        }
    }

    /// Forgets all that is kept under a key, for whichever consumer.
    pub fn forget(&self, bucket: &str, key: &str) {
        let _changing = self.lock();
        // Others' responses are found to be invalid at their next lookup.
        self.invalidations.invalidate(bucket, key);
        self.cache.remove(&*CacheKey::anonymous(bucket, key).compose());
    }

    /// Forgets what is kept under a key for one consumer, or for those that are not identified.
    pub fn remove(&self, key: CacheKey<'_>) {
        let _changing = self.lock();
        self.cache.remove(&*key.compose());
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let _changing = self.lock();
        self.cache.clear();
    }

    /// Forgets some of what is kept in a bucket; says how many keys.
    pub fn purge(&self, bucket: &str, what: &Purge<'_>) -> usize {
        let _changing = self.lock();
        let purged = Cell::new(0);
        self.cache.retain(|key, variants| {
            let Some((_, own)) = cache_key::parts(key).filter(|(of, _)| *of == bucket) else { return true };
            let goes = variants.iter().any(|stored| what.takes(own, &stored.tags));
            purged.set(purged.get() + usize::from(goes));
            !goes
        });
        purged.get()
    }

    /// Now, for a key: taken before looking for it.
    pub fn lookup_mark(&self, key: CacheKey<'_>) -> LookupMark {
        let counter = self.counter(key.bucket, key.key);
        LookupMark { counter, kept: self.kept[counter].load(Ordering::Acquire) }
    }

    /// Keys that are told apart by what follows a line feed have one counter.
    fn counter(&self, bucket: &str, key: &str) -> usize {
        let beginning = key.split('\n').next().unwrap_or_default();
        usize::try_from(self.hasher.hash_one((bucket, beginning)) % COUNTERS as u64).unwrap_or(0)
    }

    /// Asks for the turn to fetch what belongs to a key, and was not there at that moment.
    pub fn claim(self: &Arc<Self>, key: CacheKey<'_>, looked: Option<LookupMark>) -> Turn {
        let place = self.counter(key.bucket, key.key);
        let key: Key = key.compose().into();
        let mut fetches = self.lock();
        match fetches.by_key.get(&key) {
            Some(Fetch::Running(_, fetch)) => return Turn::Another(fetch.subscribe()),
            Some(Fetch::Waived(until)) if *until > Instant::now() => return Turn::Everyone,
            // Under the lock, so the holder of the claim has stored it or never will.
            _ if looked
                .is_some_and(|at| at.counter == place && at.kept != self.kept[place].load(Ordering::Acquire)) =>
            {
                return Turn::LookAgain;
            }
            _ => {}
        }
        fetches.claims += 1;
        let number = fetches.claims;
        fetches.by_key.insert(key.clone(), Fetch::Running(number, watch::Sender::new(())));
        Turn::Mine(Claim { responses: Arc::clone(self), key, number })
    }

    /// Maximum time to wait for a key; then requests continue.
    pub fn waive(&self, key: CacheKey<'_>, time: Duration) {
        let now = Instant::now();
        let key: Key = key.compose().into();
        let fetches = &mut self.lock().by_key;
        if fetches.len() >= WAIVERS && !fetches.contains_key(&key) {
            // Some other one goes, which one is chance: were this one left out instead, a client that asks for many addresses would
            // make those who ask for this one wait for each other.
            let another = fetches.iter().find(|(_, fetch)| matches!(fetch, Fetch::Waived(_)));
            let Some(another) = another.map(|(key, _)| Arc::clone(key)) else { return };
            fetches.remove(&another);
        }
        fetches.insert(key, Fetch::Waived(now + time));
    }

    fn lock(&self) -> MutexGuard<'_, Fetches> {
        // The map is consistent between statements, even after a panic.
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is given back when it is dropped.
pub struct SpaceReservation {
    responses: Arc<Responses>,
    bytes: u64,
}

impl SpaceReservation {
    /// Room for so many bytes more, if there is.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let recorded = &self.responses.recorded;
        let before = recorded.fetch_add(bytes as u64, Ordering::Relaxed);
        self.bytes += bytes as u64;
        before + bytes as u64 <= self.responses.cache.capacity()
    }
}

impl Drop for SpaceReservation {
    fn drop(&mut self) {
        self.responses.recorded.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let fetches = &mut self.responses.lock().by_key;
        if matches!(fetches.get(&self.key), Some(Fetch::Running(number, _)) if *number == self.number) {
            fetches.remove(&self.key);
        }
    }
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
