//! The store in the memory of the process: shared by all workers, bounded, forgotten at the end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError,
    clock::{Clock, Monotonic},
    quota::{Counting, Quota, Step, Verdict, nanos},
    shard::{FOREVER, OVERHEAD, Shard, Value},
    window,
};

/// How much a store may hold. When it is full, what has expired goes first, then what was used longest ago;
/// a quota that is displaced is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub entries: usize,
    /// Keys, values and what it takes to keep them.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 256 * 1024 * 1024 }
    }
}

/// Values, counters and quotas by bucket and key. Every call takes one of several locks for a moment.
///
/// A key can have a value (or number) and a quota beside each other; `delete` removes both.
pub struct MemoryStore<C = Monotonic> {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: C,
}

/// Shards are fewer where each would hold less than a few of the largest values.
const MAX_SHARDS: usize = 16;
const MIN_SHARD_BYTES: usize = 4 * (MAX_VALUE_BYTES + MAX_KEY_BYTES + OVERHEAD);
const MIN_SHARD_ENTRIES: usize = 64;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What is kept under a key: part of the key, so that the two do not meet.
#[derive(Clone, Copy)]
enum Kind {
    Value = b'v' as isize,
    Quota = b'q' as isize,
    Window = b'w' as isize,
}

type Key = SmallVec<[u8; 128]>;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl MemoryStore {
    pub fn new(bounds: Bounds) -> Self {
        Self::with_clock(bounds, Monotonic::default())
    }
}

impl<C: Clock> MemoryStore<C> {
    pub fn with_clock(bounds: Bounds, clock: C) -> Self {
        let most = MAX_SHARDS.min(bounds.bytes / MIN_SHARD_BYTES).min(bounds.entries / MIN_SHARD_ENTRIES);
        let count = most.max(1);
        let hasher = RandomState::new();
        let shard = || Mutex::new(Shard::new(bounds.entries / count, bounds.bytes / count, hasher.clone()));
        Self { shards: std::iter::repeat_with(shard).take(count).collect(), hasher, clock }
    }

    /// The value, or the decimal digits of a number.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = compose(Kind::Value, bucket, key)?;
        let now = nanos(&self.clock);
        Ok(match self.shard(&key).get(&key, now) {
            Some((Value::Bytes(bytes), _)) => Some(bytes.clone()),
            Some((Value::Number(number), _)) => Some(number.to_string().into()),
            Some((Value::Level(_) | Value::Window(_), _)) | None => None,
        })
    }

    /// Without `ttl_ms` the entry stays until deleted or displaced; with 0 it is gone at once.
    pub fn set(&self, bucket: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), StoreError> {
        let key = compose(Kind::Value, bucket, key)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::ValueTooLarge);
        }
        let value = Value::Bytes(Bytes::copy_from_slice(value));
        let now = nanos(&self.clock);
        stored(self.shard(&key).put(&key, value, deadline(now, ttl_ms), now))
    }

    /// Removes the value and the quota of that key.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        for kind in [Kind::Value, Kind::Quota] {
            let key = compose(kind, bucket, key)?;
            self.shard(&key).remove(&key);
        }
        Ok(())
    }

    /// Adds to a decimal number, from 0 where there is none, and returns the sum. `ttl_ms` counts from the
    /// entry's creation: later calls do not prolong it.
    pub fn increment(&self, bucket: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, StoreError> {
        let key = compose(Kind::Value, bucket, key)?;
        let now = nanos(&self.clock);
        let mut shard = self.shard(&key);
        let (number, until) = match shard.get(&key, now) {
            Some((Value::Number(number), until)) => (*number, until),
            Some((Value::Bytes(bytes), until)) => (parse(bytes)?, until),
            Some((Value::Level(_) | Value::Window(_), _)) | None => (0, deadline(now, ttl_ms)),
        };
        let sum = number.checked_add(by).ok_or(StoreError::OutOfRange)?;
        stored(shard.put(&key, Value::Number(sum), until, now))?;
        Ok(sum)
    }

    /// One atomic step of the generic cell rate algorithm; `quota` says how it counts.
    pub fn take(&self, bucket: &str, key: &str, quota: Quota, cost: u32) -> Result<Verdict, StoreError> {
        let key = compose(Kind::Quota, bucket, key)?;
        let mut shard = self.shard(&key);
        // Read under the lock: time must not go back between two steps of one key.
        let now = nanos(&self.clock);
        let before = match shard.get(&key, now) {
            Some((Value::Level(level), _)) => Some(*level),
            _ => None,
        };
        let taken = quota.take(before, cost, now);
        if let Some((level, lasts)) = taken.remember {
            stored(shard.put(&key, Value::Level(level), now.saturating_add(lasts), now))?;
        }
        Ok(taken.verdict)
    }

    /// Several steps of one group, all or none of them. Without the others, those that are allowed take nothing.
    pub fn take_all(&self, bucket: &str, group: &str, steps: &[Step]) -> Result<Vec<Verdict>, StoreError> {
        let kind = |step: &Step| match step.counting {
            Counting::Steady => Kind::Quota,
            Counting::Sliding => Kind::Window,
        };
        let keys = steps.iter().map(|step| compose(kind(step), bucket, &[group, "\0", &step.key].concat()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        // Every lock that is needed, once, and in the same order for everyone.
        let places: Vec<usize> = keys.iter().map(|key| self.place(key)).collect();
        let mut needed = places.clone();
        needed.sort_unstable();
        needed.dedup();
        let mut locked: Vec<_> = needed.iter().map(|place| lock(&self.shards[*place])).collect();
        let now = nanos(&self.clock);
        let index = |place: &usize| needed.binary_search(place).unwrap_or(0);
        let outcomes: Vec<Outcome> = steps
            .iter()
            .zip(keys.iter().zip(&places))
            .map(|(step, (key, place))| Outcome::of(step, &mut locked[index(place)], key, step.cost, now))
            .collect();
        if outcomes.iter().any(|outcome| !outcome.verdict.allowed) {
            let told =
                steps.iter().zip(keys.iter().zip(&places)).zip(outcomes).map(|((step, (key, place)), outcome)| {
                    if !outcome.verdict.allowed {
                        return outcome.verdict;
                    }
                    // It would have been, and was not taken.
                    Outcome::of(step, &mut locked[index(place)], key, 0, now).verdict
                });
            return Ok(told.collect());
        }
        for ((key, place), outcome) in keys.iter().zip(&places).zip(&outcomes) {
            if let Some((value, lasts)) = &outcome.remember {
                let shard = &mut locked[index(place)];
                stored(shard.put(key, value.clone(), now.saturating_add(*lasts), now))?;
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.verdict).collect())
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

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.place(key)])
    }

    fn place(&self, key: &[u8]) -> usize {
        // The shard's own map uses the low bits of the same hash.
        let hash = self.hasher.hash_one(key) >> 32;
        hash as usize % self.shards.len()
    }
}

/// What would come of a step, and what is to be remembered then.
struct Outcome {
    verdict: Verdict,
    remember: Option<(Value, u64)>,
}

impl Outcome {
    fn of(step: &Step, shard: &mut Shard, key: &[u8], cost: u32, now: u64) -> Self {
        match (step.counting, shard.get(key, now)) {
            (Counting::Steady, before) => {
                let before =
                    before.and_then(|(value, _)| if let Value::Level(level) = value { Some(*level) } else { None });
                let taken = step.quota.take(before, cost, now);
                let remember = taken.remember.map(|(level, lasts)| (Value::Level(level), lasts));
                Self { verdict: taken.verdict, remember }
            }
            (Counting::Sliding, before) => {
                let before =
                    before.and_then(|(value, _)| if let Value::Window(window) = value { Some(*window) } else { None });
                let counted = window::take(step.quota, before, cost, now);
                let remember = counted.remember.map(|(window, lasts)| (Value::Window(window), lasts));
                Self { verdict: counted.verdict, remember }
            }
        }
    }
}

/// A panic under the lock is a defect, but one that must not take the store from everybody else.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kind, the length of the bucket's name, the name and the key: no two of them read the same.
fn compose(kind: Kind, bucket: &str, key: &str) -> Result<Key, StoreError> {
    if bucket.len() + key.len() > MAX_KEY_BYTES {
        return Err(StoreError::KeyTooLarge);
    }
    let mut composed = Key::new();
    composed.push(kind as u8);
    composed.extend_from_slice(&(bucket.len() as u16).to_be_bytes());
    composed.extend_from_slice(bucket.as_bytes());
    composed.extend_from_slice(key.as_bytes());
    Ok(composed)
}

fn deadline(now: u64, ttl_ms: Option<u64>) -> u64 {
    ttl_ms.map_or(FOREVER, |ttl| now.saturating_add(ttl.saturating_mul(NANOS_PER_MILLI)))
}

fn parse(bytes: &[u8]) -> Result<i64, StoreError> {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or(StoreError::NotANumber)
}

fn stored(fits: bool) -> Result<(), StoreError> {
    if fits { Ok(()) } else { Err(StoreError::ValueTooLarge) }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Manual(Arc<AtomicU64>);

    impl Manual {
        fn advance(&self, millis: u64) {
            self.0.fetch_add(millis, Ordering::Relaxed);
        }
    }

    impl Clock for Manual {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn store() -> (MemoryStore<Manual>, Manual) {
        let clock = Manual::default();
        (MemoryStore::with_clock(Bounds::default(), clock.clone()), clock)
    }

    #[test]
    fn a_step_is_the_same_count_by_itself_and_among_others() {
        let store = MemoryStore::default();
        let quota = Quota { limit: 3, period_ms: 3_600_000, burst: 3 };
        let step = Step { key: "burst".to_owned(), quota, counting: Counting::Steady, cost: 1 };
        assert_eq!(store.take("b", "anna\0burst", quota, 1).unwrap().remaining, 2);
        assert_eq!(store.take_all("b", "anna", std::slice::from_ref(&step)).unwrap()[0].remaining, 1);
        // All or none: what one refuses, the other does not take.
        let none = Step { key: "none".to_owned(), quota: Quota { burst: 0, ..quota }, ..step.clone() };
        let verdicts = store.take_all("b", "anna", &[step.clone(), none]).unwrap();
        assert_eq!((verdicts[0].allowed, verdicts[0].remaining, verdicts[1].allowed), (true, 1, false));
        assert_eq!(store.take_all("b", "anna", &[step]).unwrap()[0].remaining, 0);
    }

    #[test]
    fn a_value_reads_back_until_it_is_deleted() {
        let (store, _) = store();
        assert_eq!(store.get("b", "k"), Ok(None));
        store.set("b", "k", b"one", None).unwrap();
        store.set("b", "k", b"two", None).unwrap();
        assert_eq!(store.get("b", "k").unwrap().unwrap(), "two");
        store.delete("b", "k").unwrap();
        assert_eq!(store.get("b", "k"), Ok(None));
        assert!(store.is_empty());
    }

    #[test]
    fn buckets_are_apart_however_their_names_run_into_keys() {
        let (store, _) = store();
        store.set("ab", "c", b"1", None).unwrap();
        assert_eq!(store.get("a", "bc"), Ok(None));
        assert_eq!(store.get("abc", ""), Ok(None));
    }

    #[test]
    fn a_value_expires_when_its_time_is_over() {
        let (store, clock) = store();
        store.set("b", "k", b"v", Some(100)).unwrap();
        clock.advance(99);
        assert!(store.get("b", "k").unwrap().is_some());
        clock.advance(1);
        assert_eq!(store.get("b", "k"), Ok(None));
        store.set("b", "k", b"v", Some(0)).unwrap();
        assert_eq!(store.get("b", "k"), Ok(None));
        store.set("b", "k", b"v", Some(u64::MAX)).unwrap();
        assert!(store.get("b", "k").unwrap().is_some());
    }

    #[test]
    fn a_number_counts_up_and_down_and_reads_as_digits() {
        let (store, _) = store();
        assert_eq!(store.increment("b", "n", 5, None), Ok(5));
        assert_eq!(store.increment("b", "n", -7, None), Ok(-2));
        assert_eq!(store.get("b", "n").unwrap().unwrap(), "-2");
        store.set("b", "n", b"40", None).unwrap();
        assert_eq!(store.increment("b", "n", 2, None), Ok(42));
    }

    #[test]
    fn a_number_lives_from_its_creation_whatever_is_added() {
        let (store, clock) = store();
        store.increment("b", "n", 1, Some(100)).unwrap();
        clock.advance(60);
        assert_eq!(store.increment("b", "n", 1, Some(100)), Ok(2));
        clock.advance(40);
        assert_eq!(store.increment("b", "n", 1, Some(100)), Ok(1));
    }

    #[test]
    fn what_is_not_a_number_or_no_longer_one_is_refused() {
        let (store, _) = store();
        for value in ["", "x", "1.5", "9223372036854775808"] {
            store.set("b", "k", value.as_bytes(), None).unwrap();
            assert_eq!(store.increment("b", "k", 1, None), Err(StoreError::NotANumber), "{value}");
        }
        store.increment("b", "max", i64::MAX, None).unwrap();
        assert_eq!(store.increment("b", "max", 1, None), Err(StoreError::OutOfRange));
        assert_eq!(store.increment("b", "max", 0, None), Ok(i64::MAX));
    }

    #[test]
    fn keys_and_values_have_their_limits() {
        let (store, _) = store();
        let key = "k".repeat(MAX_KEY_BYTES - 1);
        assert_eq!(store.set("b", &key, &vec![0; MAX_VALUE_BYTES], None), Ok(()));
        assert_eq!(store.set("b", "k", &vec![0; MAX_VALUE_BYTES + 1], None), Err(StoreError::ValueTooLarge));
        assert_eq!(store.get("bb", &key), Err(StoreError::KeyTooLarge));
        assert_eq!(store.delete("bb", &key), Err(StoreError::KeyTooLarge));
        assert_eq!(store.increment("bb", &key, 1, None), Err(StoreError::KeyTooLarge));
    }

    #[test]
    fn a_quota_is_taken_from_and_comes_back() {
        let (store, clock) = store();
        let quota = Quota { limit: 10, period_ms: 1_000, burst: 2 };
        assert!(store.take("b", "k", quota, 2).unwrap().allowed);
        assert_eq!(store.take("b", "k", quota, 1).unwrap().retry_after_ms, 100);
        assert!(store.take("b", "other", quota, 1).unwrap().allowed);
        clock.advance(100);
        assert!(store.take("b", "k", quota, 1).unwrap().allowed);
        store.delete("b", "k").unwrap();
        assert!(store.take("b", "k", quota, 2).unwrap().allowed);
    }

    #[test]
    fn a_value_and_a_quota_share_a_key_in_peace() {
        let (store, _) = store();
        let quota = Quota { limit: 1, period_ms: 1_000, burst: 1 };
        store.take("b", "k", quota, 1).unwrap();
        assert_eq!(store.get("b", "k"), Ok(None));
        assert_eq!(store.increment("b", "k", 1, None), Ok(1));
        assert!(!store.take("b", "k", quota, 1).unwrap().allowed);
    }

    #[test]
    fn a_flood_of_keys_stays_inside_the_bounds() {
        let bounds = Bounds { entries: 1_000, bytes: 200_000 };
        let store = MemoryStore::with_clock(bounds, Manual::default());
        for n in 0..10_000 {
            store.set("b", &n.to_string(), &[0; 100], None).unwrap();
            store.take("b", &n.to_string(), Quota { limit: 1, period_ms: 60_000, burst: 1 }, 1).unwrap();
        }
        assert!(store.len() <= bounds.entries);
        assert!(store.bytes() <= bounds.bytes);
        assert!(store.get("b", "9999").unwrap().is_some());
    }

    #[test]
    fn threads_that_take_at_once_get_no_more_than_the_burst() {
        let store = MemoryStore::with_clock(Bounds::default(), Manual::default());
        let quota = Quota { limit: 1, period_ms: 60_000, burst: 1_000 };
        let allowed: usize = std::thread::scope(|scope| {
            let take = || (0..500).filter(|_| store.take("b", "k", quota, 1).unwrap().allowed).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 1_000);
    }
}
