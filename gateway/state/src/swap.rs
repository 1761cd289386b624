//! What depends on the present value of a key, in the memory of the process.

use bytes::Bytes;
use gateway_rules::store::{self, StoreError};

use super::{
    clock::{Clock, nanos},
    memory::{Bucket, Kind, MemoryStore, compose, deadline, guard_of, stored},
    shard::{Guard, Value},
};

/// What `compare_and_swap` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The key had the expected value, and has the new one.
    Swapped,
    /// The key has this value instead, or none, and keeps it.
    Different(Option<Bytes>),
}

impl<C: Clock> MemoryStore<C> {
    /// Gives a key a value, or none, if it has the expected one, or none.
    ///
    /// # Errors
    ///
    /// The key or a value is too large.
    pub fn compare_and_swap<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl_ms: Option<u64>,
    ) -> Result<Swap, StoreError> {
        let bucket = bucket.into();
        let key = compose(Kind::Value, bucket.name, key)?;
        [expected, value].into_iter().flatten().try_for_each(store::check_value)?;
        let now = nanos(&self.clock);
        let mut shard = self.shard(&key);
        let current = match shard.get(&key, now) {
            Some((Value::Bytes(bytes), _)) => Some(bytes.clone()),
            Some((Value::Number(number), _)) => Some(number.to_string().into()),
            Some((Value::Count(_) | Value::Holders(_), _)) | None => None,
        };
        if current.as_deref() != expected {
            return Ok(Swap::Different(current));
        }
        match value {
            Some(value) => {
                let value = Value::Bytes(Bytes::copy_from_slice(value));
                let until = deadline(now, ttl_ms);
                stored(shard.put(self.payer(bucket), &key, value, Guard::None, until, now))?;
            }
            None => shard.remove(&key),
        }
        Ok(Swap::Swapped)
    }

    /// Gives a value another time to live, and says whether there is one. Without `ttl_ms` it stays until deleted or evicted; with
    /// 0 it is gone at once.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn set_ttl<'a>(
        &self,
        bucket: impl Into<Bucket<'a>>,
        key: &str,
        ttl_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        let bucket = bucket.into();
        let key = compose(Kind::Value, bucket.name, key)?;
        let now = nanos(&self.clock);
        let mut shard = self.shard(&key);
        let Some((value, _)) = shard.get(&key, now) else { return Ok(false) };
        let (value, until) = (value.clone(), deadline(now, ttl_ms));
        let guard = if let Value::Number(number) = value { guard_of(number, until) } else { Guard::None };
        stored(shard.put(self.payer(bucket), &key, value, guard, until, now))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use gateway_rules::store::MAX_VALUE_BYTES;

    use super::*;

    #[test]
    fn a_value_is_swapped_only_for_the_one_that_is_there() {
        let store = MemoryStore::default();
        let swap =
            |expected: Option<&[u8]>, value: Option<&[u8]>| store.compare_and_swap("b", "k", expected, value, None);
        let different = |value: &'static str| Ok(Swap::Different(Some(value.into())));
        assert_eq!(swap(Some(b"a"), Some(b"b")), Ok(Swap::Different(None)));
        assert_eq!(swap(None, Some(b"a")), Ok(Swap::Swapped));
        assert_eq!(swap(None, Some(b"b")), different("a"));
        assert_eq!(swap(Some(b"a"), Some(b"7")), Ok(Swap::Swapped));
        assert_eq!(store.increment("b", "k", 1, None), Ok(8));
        assert_eq!(swap(Some(b"7"), None), different("8"));
        assert_eq!(swap(Some(b"8"), None), Ok(Swap::Swapped));
        assert_eq!(swap(None, None), Ok(Swap::Swapped), "there is none");
        assert!(store.is_empty());
        assert_eq!(swap(None, Some(&vec![0; MAX_VALUE_BYTES + 1])), Err(StoreError::ValueTooLarge));
    }

    #[test]
    fn of_threads_that_swap_at_once_one_succeeds() {
        let store = MemoryStore::default();
        for round in 0..100 {
            let expected = (round > 0).then(|| (round - 1).to_string());
            let swaps = |_| {
                let value = round.to_string();
                let swapped = store.compare_and_swap(
                    "b",
                    "k",
                    expected.as_deref().map(str::as_bytes),
                    Some(value.as_bytes()),
                    None,
                );
                swapped == Ok(Swap::Swapped)
            };
            let count: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3).map(|n| scope.spawn(move || swaps(n))).collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(count, 1, "{round}");
        }
    }

    #[test]
    fn a_time_to_live_is_set_anew_without_the_value() {
        let store = MemoryStore::default();
        assert_eq!(store.set_ttl("b", "k", None), Ok(false));
        store.set("b", "k", b"v", Some(3_600_000)).unwrap();
        assert_eq!(store.set_ttl("b", "k", None), Ok(true));
        assert_eq!(store.get("b", "k").unwrap().unwrap(), "v");
        assert_eq!(store.set_ttl("b", "k", Some(0)), Ok(true));
        assert_eq!(store.get("b", "k"), Ok(None));
    }
}
