//! What the store keeps, for how long, and for whom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway_rules::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

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
    (MemoryStore::with_clock(DEFAULT_BYTES, clock.clone()), clock)
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
    let bytes = 1 << 20;
    let store = MemoryStore::with_clock(bytes, Manual::default());
    let quota = Quota { limit: 1, period_ms: 60_000, burst: 2 };
    let (flooded, other) = (Bucket { name: "b", route: "flooded" }, Bucket { name: "b", route: "other" });
    assert!(store.take(other, "anna", quota, 2).unwrap().allowed);
    for _ in 0..3 {
        store.take(flooded, "berta", quota, 1).unwrap();
    }
    for n in 0..20_000 {
        store.set(flooded, &n.to_string(), &[0; 100], None).unwrap();
        store.take(flooded, &n.to_string(), quota, 1).unwrap();
    }
    assert!(store.bytes() <= bytes && store.bytes() > bytes / 2);
    assert!(store.get("b", "19999").unwrap().is_some());
    assert!(!store.take(other, "anna", quota, 1).unwrap().allowed, "another route's");
    assert!(!store.take(flooded, "berta", quota, 1).unwrap().allowed, "one that is refused");
}

#[test]
fn threads_that_take_at_once_get_no_more_than_the_burst() {
    let store = MemoryStore::with_clock(DEFAULT_BYTES, Manual::default());
    let quota = Quota { limit: 1, period_ms: 60_000, burst: 1_000 };
    let allowed: usize = std::thread::scope(|scope| {
        let take = || (0..500).filter(|_| store.take("b", "k", quota, 1).unwrap().allowed).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(allowed, 1_000);
}

#[test]
fn what_is_in_flight_stays_counted_whatever_comes_and_goes_meanwhile() {
    let store = MemoryStore::with_clock(1 << 20, Manual::default());
    let minute = Some(60_000);
    assert_eq!(store.increment("b", "slow", 1, minute), Ok(1));
    for n in 0..20_000 {
        store.increment("b", &n.to_string(), 1, minute).unwrap();
        store.increment("b", &n.to_string(), -1, minute).unwrap();
    }
    assert_eq!(store.increment("b", "slow", 1, minute), Ok(2));
    assert!(store.bytes() > 1 << 19);
}
