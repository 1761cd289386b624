//! What goes wrong with the services that a plugin calls, as the test says.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use super::{State, TestHost};
use crate::{
    Reply,
    http_client::{Call, CallError},
    store::StoreError,
};

/// Faults by the names of upstreams and buckets.
#[derive(Default)]
pub(super) struct Faults {
    answers: BTreeMap<String, Result<Reply, CallError>>,
    buckets: BTreeMap<String, StoreError>,
    delays: BTreeMap<String, Duration>,
    /// The exchange ends when this is called.
    cancel_at: Option<String>,
}

/// Unwinds a plugin's call that never returns. It is raised without the panic hook, so nothing is printed.
struct Cancelled;

impl TestHost {
    /// Says how one upstream answers, whatever [`answer_calls`](Self::answer_calls) says. It applies to documents of that upstream
    /// too: with `Ok(Reply::new(404))` a document is missing.
    ///
    /// ```
    /// use plugin_sdk::{Reply, http_client::{Call, CallError}, testkit::TestHost};
    ///
    /// let host = TestHost::new();
    /// host.set_answer("users", Ok(Reply::new(503)));
    /// host.set_answer("orders", Err(CallError::Unreachable("refused".into())));
    /// host.run(|| {
    ///     assert_eq!(Call::get("users", "/").send().unwrap().status, 503);
    ///     assert!(matches!(Call::get("orders", "/").send(), Err(CallError::Unreachable(_))));
    /// });
    /// assert_eq!(host.calls_of("users").len(), 1);
    /// ```
    pub fn set_answer(&self, upstream: &str, answer: Result<Reply, CallError>) {
        self.0.borrow_mut().faults.answers.insert(upstream.to_owned(), answer);
    }

    /// Each call of an upstream or operation of a bucket of this name takes so long by the test's clock, which it moves on. A call
    /// that takes longer than its time-out fails with [`CallError::Timeout`] when that is over. Calls that are in progress at a time
    /// take no longer than the slowest of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use plugin_sdk::{Reply, http_client::{Call, CallError}, testkit::TestHost};
    ///
    /// let host = TestHost::new();
    /// host.set_answer("users", Ok(Reply::new(200)));
    /// host.set_delay("users", Duration::from_secs(3));
    /// host.run(|| {
    ///     let call = Call::get("users", "/").with_timeout(Duration::from_secs(2));
    ///     assert_eq!(call.send(), Err(CallError::Timeout));
    /// });
    /// ```
    pub fn set_delay(&self, service: &str, delay: Duration) {
        self.0.borrow_mut().faults.delays.insert(service.to_owned(), delay);
    }

    /// Each operation of this bucket fails with this error, until `None` is set. See also
    /// [`set_store_available`](Self::set_store_available), which is about all buckets.
    pub fn set_store_error(&self, bucket: &str, error: Option<StoreError>) {
        let buckets = &mut self.0.borrow_mut().faults.buckets;
        match error {
            Some(error) => buckets.insert(bucket.to_owned(), error),
            None => buckets.remove(bucket),
        };
    }

    /// The calls of one upstream so far.
    pub fn calls_of(&self, upstream: &str) -> Vec<Call> {
        self.0.borrow().calls.iter().filter(|call| call.upstream == upstream).cloned().collect()
    }

    /// Runs something that ends when it calls this upstream or bucket; whether it did.
    pub(super) fn cancelled_at(&self, service: &str, call: impl FnOnce()) -> bool {
        self.0.borrow_mut().faults.cancel_at = Some(service.to_owned());
        let ended = catch_unwind(AssertUnwindSafe(call));
        self.0.borrow_mut().faults.cancel_at = None;
        match ended {
            Ok(()) => false,
            Err(payload) if payload.is::<Cancelled>() => true,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// A plugin calls this upstream or bucket. Does not return if the exchange ends then. The state must not be borrowed.
    pub(super) fn reach(&self, service: &str) {
        let ends = self.0.borrow().faults.cancel_at.as_deref() == Some(service);
        if ends {
            resume_unwind(Box::new(Cancelled));
        }
    }
}

impl State {
    /// What the test says that an upstream answers.
    pub(super) fn set_answer_of(&self, upstream: &str) -> Option<Result<Reply, CallError>> {
        self.faults.answers.get(upstream).cloned()
    }

    pub(super) fn delay_of(&self, service: &str) -> Duration {
        self.faults.delays.get(service).copied().unwrap_or_default()
    }

    /// Lets an operation of a bucket take its time, and fail if the test says so.
    pub(super) fn reach_bucket(&mut self, bucket: &str) -> Result<(), StoreError> {
        self.now += self.delay_of(bucket);
        match self.faults.buckets.get(bucket) {
            Some(error) => Err(error.clone()),
            None if self.store_down => Err(StoreError::Unavailable("switched off by the test".to_owned())),
            None => Ok(()),
        }
    }
}
