//! State shared by all instances of a plugin, in buckets that the operator granted by name.

use std::{fmt, time::Duration};

use crate::host;

/// A bucket, by its name in the gateway's configuration.
///
/// ```
/// use std::time::Duration;
/// use plugin_sdk::{store::Bucket, testkit::TestHost};
///
/// TestHost::new().run(|| {
///     let bucket = Bucket::new("sessions");
///     bucket.set("anna", b"7", Some(Duration::from_secs(60)))?;
///     assert_eq!(bucket.increment("anna", 1, None)?, 8);
///     Ok::<(), plugin_sdk::store::StoreError>(())
/// }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket(String);

impl Bucket {
    /// Names a bucket; whether it is granted shows when it is used.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The value of a key, if there is one that has not expired.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        host::store_get(&self.0, key)
    }

    /// Sets a value. Without `ttl` it stays until deleted or displaced. Whole milliseconds count.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), StoreError> {
        host::store_set(&self.0, key, value, ttl.map(millis))
    }

    /// Removes a key; it is no error if there is none.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        host::store_delete(&self.0, key)
    }

    /// Adds to a decimal number, from 0 where there is none, and returns the sum. `ttl` counts from the entry's
    /// creation.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
        host::store_increment(&self.0, key, by, ttl.map(millis))
    }

    /// Sets a value in one atomic step, if the present one is `expected`. Without `expected`, there must be no value; without
    /// `value`, it is deleted. After [`StoreError::Unavailable`] the step may have been made: the next call then returns the
    /// value of this one as [`SwapResult::Different`].
    ///
    /// ```
    /// use plugin_sdk::{store::{Bucket, SwapResult}, testkit::TestHost};
    ///
    /// TestHost::new().run(|| {
    ///     let bucket = Bucket::new("leaders");
    ///     assert_eq!(bucket.compare_and_swap("job", None, Some(b"a"), None)?, SwapResult::Swapped);
    ///     assert_eq!(bucket.compare_and_swap("job", None, Some(b"b"), None)?, SwapResult::Different(Some(b"a".to_vec())));
    ///     Ok::<(), plugin_sdk::store::StoreError>(())
    /// }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl: Option<Duration>,
    ) -> Result<SwapResult, StoreError> {
        host::store_compare_and_swap(&self.0, key, expected, value, ttl.map(millis))
    }

    /// Gives a value another time to live, counted from now; without `ttl` it stays until deleted or evicted. Returns whether
    /// there is a value.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn set_ttl(&self, key: &str, ttl: Option<Duration>) -> Result<bool, StoreError> {
        host::store_set_ttl(&self.0, key, ttl.map(millis))
    }

    /// Becomes one of at most `limit` holders of a key, in one atomic step. Each call is a holder of its own, with a lease that
    /// ends after `ttl` (from 1 second to 1 hour) unless it is renewed.
    ///
    /// In a call with a request, the lease belongs to the exchange: the gateway renews it for as long as the exchange lasts, and
    /// releases it when the exchange ends, however it ends. In other calls the plugin [renews](Self::renew) and
    /// [releases](Self::release) it. The time to live is for gateways that are killed, and for a Redis that is unavailable when
    /// the lease should be released.
    ///
    /// ```
    /// use std::time::Duration;
    /// use plugin_sdk::{store::{Bucket, Scope}, testkit::TestHost};
    ///
    /// TestHost::new().run(|| {
    ///     let bucket = Bucket::new("exports");
    ///     let minute = Duration::from_secs(60);
    ///     let first = bucket.acquire("anna", 1, minute, Scope::Shared)?;
    ///     assert_eq!(bucket.acquire("anna", 1, minute, Scope::Shared)?.lease, None);
    ///     bucket.release("anna", &first.lease.unwrap())?;
    ///     assert!(bucket.acquire("anna", 1, minute, Scope::Shared)?.lease.is_some());
    ///     Ok::<(), plugin_sdk::store::StoreError>(())
    /// }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn acquire(&self, key: &str, limit: u32, ttl: Duration, scope: Scope) -> Result<Acquisition, StoreError> {
        host::store_acquire(&self.0, key, limit, millis(ttl), scope)
    }

    /// Gives a lease a time to live, counted from now. Returns whether it is still held; one that has ended stays so.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn renew(&self, key: &str, lease: &str, ttl: Duration) -> Result<bool, StoreError> {
        host::store_renew(&self.0, key, lease, millis(ttl))
    }

    /// Releases a lease before its exchange or its time to live ends, in a call of the exchange that it belongs to. It is no
    /// error if it is not held any more.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn release(&self, key: &str, lease: &str) -> Result<(), StoreError> {
        host::store_release(&self.0, key, lease)
    }

    /// Lets the exchange wait, in the request phase, until the key has fewer than `limit` holders, or `time` (at most one minute) is
    /// over. If it returns true, return [`Decision::AwaitRelease`](crate::Decision::AwaitRelease): the request phase is called again
    /// then, and has acquired nothing. No instance is held meanwhile. It returns false if the exchange has waited 16 times: decide
    /// without waiting.
    ///
    /// ```
    /// use std::time::Duration;
    /// use plugin_sdk::{Decision, Error, Request, RequestFilter, store::{Bucket, Scope, Wake}};
    ///
    /// struct Queue(Bucket);
    /// # impl plugin_sdk::Plugin for Queue {
    /// #     type Config = plugin_sdk::NoConfig;
    /// #     fn new(_: plugin_sdk::NoConfig) -> Result<Self, plugin_sdk::Problems> { Ok(Self(Bucket::new("exports"))) }
    /// # }
    ///
    /// impl RequestFilter for Queue {
    ///     /// One request at a time.
    ///     fn on_request(&mut self, _: &Request) -> Result<Decision, Error> {
    ///         let acquired = self.0.acquire("export", 1, Duration::from_secs(60), Scope::Shared)?;
    ///         let wait = || self.0.wait_for_lease("export", 1, Duration::from_secs(10), Wake::InTurn, Scope::Shared);
    ///         if acquired.lease.is_none() && wait()? {
    ///             return Ok(Decision::AwaitRelease);
    ///         }
    ///         Ok(Decision::Next)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn wait_for_lease(
        &self,
        key: &str,
        limit: u32,
        time: Duration,
        wake: Wake,
        scope: Scope,
    ) -> Result<bool, StoreError> {
        let wait_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        host::store_wait_for_lease(&self.0, key, limit, wait_ms, wake, scope)
    }

    /// Up to 64 operations that do not depend on each other: they are neither atomic nor in a defined order, and each has a result
    /// of its own. If the bucket is in Redis, all of them are sent before the first result is waited for.
    ///
    /// ```
    /// use plugin_sdk::{store::{Bucket, Operation, OperationResult}, testkit::TestHost};
    ///
    /// TestHost::new().run(|| {
    ///     let operations = ["a", "b"].map(|key| Operation::Increment { key: key.into(), by: 1, ttl: None });
    ///     let results = Bucket::new("counts").batch(&operations)?;
    ///     assert_eq!(results, [Ok(OperationResult::Sum(1)), Ok(OperationResult::Sum(1))]);
    ///     Ok::<(), plugin_sdk::store::StoreError>(())
    /// }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn batch(&self, operations: &[Operation]) -> Result<Vec<Result<OperationResult, StoreError>>, StoreError> {
        host::store_batch(&self.0, operations)
    }

    /// One atomic step of the generic cell rate algorithm: takes `cost` units of the key's quota, if they are
    /// there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn take(&self, key: &str, quota: &Quota, cost: u32) -> Result<Verdict, StoreError> {
        host::store_take(&self.0, key, quota, cost)
    }

    /// Up to 16 steps at once, all or none of them: if one is refused, nothing is taken, and the verdicts of the others say
    /// what they would have been. Steps of one group, such as a client, are kept together.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn take_all(&self, group: &str, steps: &[Step], scope: Scope) -> Result<Vec<Verdict>, StoreError> {
        host::store_take_all(&self.0, group, steps, scope)
    }
}

/// One operation of a [batch](Bucket::batch), as the method of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reads a value.
    Get {
        /// The key.
        key: String,
    },
    /// Sets a value.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// How long it stays.
        ttl: Option<Duration>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Adds to a number.
    Increment {
        /// The key.
        key: String,
        /// What is added.
        by: i64,
        /// How long the entry stays, from its creation.
        ttl: Option<Duration>,
    },
    /// Sets a value if the present one is the expected one.
    CompareAndSwap {
        /// The key.
        key: String,
        /// The expected value; none if there must be none.
        expected: Option<Vec<u8>>,
        /// The new value; none to delete it.
        value: Option<Vec<u8>>,
        /// How long it stays.
        ttl: Option<Duration>,
    },
    /// Gives a value another time to live.
    SetTtl {
        /// The key.
        key: String,
        /// How long it stays, from now.
        ttl: Option<Duration>,
    },
}

/// The result of an operation of a [batch](Bucket::batch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationResult {
    /// Of [`Operation::Get`].
    Value(Option<Vec<u8>>),
    /// Of [`Operation::Set`] and [`Operation::Delete`].
    Done,
    /// Of [`Operation::Increment`].
    Sum(i64),
    /// Of [`Operation::CompareAndSwap`].
    Swap(SwapResult),
    /// Of [`Operation::SetTtl`]: whether there is a value.
    Exists(bool),
}

/// What [`Bucket::compare_and_swap`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapResult {
    /// The key had the expected value, and has the new one.
    Swapped,
    /// Nothing was changed. The present value, if there is one.
    Different(Option<Vec<u8>>),
}

/// What [`Bucket::acquire`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquisition {
    /// The lease; none if `limit` others hold the key.
    pub lease: Option<String>,
    /// The holders of the key after this step.
    pub holders: u32,
}

/// One of several steps that are taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The key within its group.
    pub key: String,
    /// How much there is.
    pub quota: Quota,
    /// How units come back.
    pub counting: Counting,
    /// 0 only asks.
    pub cost: u32,
}

/// How units come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counting {
    /// Evenly, as [`Bucket::take`] counts: the generic cell rate algorithm.
    Steady,
    /// When they are a period old, estimated from the sums of two periods. The burst does not count.
    Sliding,
}

/// Which counts a step, or which holders a lease applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of the bucket, wherever it is stored: shared with other gateways, if the state is in Redis.
    Shared,
    /// Those in the memory of this gateway, for use while the bucket cannot be reached.
    Local,
}

/// Which of the exchanges that wait for a key continue when it has room for another holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// In the order in which they began to wait, as many as there is room for. For exchanges that need a lease.
    InTurn,
    /// All of them. For exchanges that need the result of the holder's work, and no lease.
    All,
}

/// `limit` units each `period`, and up to `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Units that come back in each period.
    pub limit: u32,
    /// Whole milliseconds count.
    pub period: Duration,
    /// Units that can be taken at once after a rest.
    pub burst: u32,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the units were there, and were taken.
    pub allowed: bool,
    /// Units left at once, after this step.
    pub remaining: u32,
    /// Until the whole burst is there again.
    pub reset_after: Duration,
    /// Until this step would be allowed; zero if it was, and `u64::MAX` milliseconds if it never will be, because it
    /// costs more than the burst.
    pub retry_after: Duration,
}

/// Why an operation on a bucket failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The bucket is not granted.
    Denied(String),
    /// Bucket and key have more than 1 KiB together, the value has more than 1 MiB, a batch has more than 64 operations or `take_all` more
    /// than 16 steps; for `increment`, the value is not a decimal number or the sum does not fit; for `acquire`, the limit is over
    /// 65,536, or the exchange holds 64 leases.
    TooLarge,
    /// The bucket cannot be reached; the text says why. Always in [`Plugin::new`](crate::Plugin::new), unless the bucket is in the
    /// gateway's own memory.
    Unavailable(String),
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "store denied: {why}"),
            Self::TooLarge => f.write_str("key or value too large for the store, or not a number"),
            Self::Unavailable(why) => write!(f, "store unavailable: {why}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
