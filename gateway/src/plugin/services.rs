//! What the host needs from the rest of the gateway to answer its guests. Each is a small trait, so that this
//! room knows no other and a test needs a few lines.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

use crate::pipeline::Reply;

/// What one worker's plugins work with. Grants are enforced before any of it is asked.
pub struct Services {
    pub shared: Arc<Shared>,
    pub upstreams: Rc<dyn Upstreams>,
}

/// The part that all workers share.
pub struct Shared {
    pub store: Arc<dyn Store>,
    pub sinks: Arc<dyn Sinks>,
    pub metrics: Arc<dyn PluginMetrics>,
    pub secrets: Secrets,
}

/// Values by name, as read when the configuration was loaded.
pub type Secrets = HashMap<String, Bytes>;

/// A future that stays on its worker.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// State behind the plugins, in buckets. Never waits. Names and sizes are within the interface's limits.
pub trait Store: Send + Sync {
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, StoreError>;
    /// Without `ttl` the entry stays until deleted or displaced.
    fn set(&self, bucket: &str, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError>;
    fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError>;
    /// Adds to a decimal number, from 0 where there is none, and returns the sum; `ttl` counts from the
    /// entry's creation.
    fn increment(&self, bucket: &str, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreError>;
    /// One atomic step of the generic cell rate algorithm.
    fn take(&self, bucket: &str, key: &str, quota: Quota, cost: u32) -> Result<Verdict, StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Over a limit, or (for `increment`) not a number.
    TooLarge,
    Unavailable(String),
}

/// `limit` units each `period`, and up to `burst` of them at once. None of the three is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub limit: u32,
    pub period: Duration,
    pub burst: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Units left at once, after this step.
    pub remaining: u32,
    /// Until the whole burst is there again.
    pub reset_after: Duration,
    /// Until this step would be allowed; zero if it was.
    pub retry_after: Duration,
}

/// Where lines go. Never waits.
pub trait Sinks: Send + Sync {
    /// Writes one line; the sink adds the line feed.
    fn write(&self, sink: &str, line: &[u8]) -> Result<(), SinkRefusal>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkRefusal {
    Unknown,
    /// The sink's buffer is full.
    Dropped,
}

/// Meters for plugins. Asked once for each stage of a worker, so it may take its time.
pub trait PluginMetrics: Send + Sync {
    fn meter(&self, plugin: &str) -> Arc<dyn PluginMeter>;
}

/// Counts what one plugin does, on the hot path.
pub trait PluginMeter: Send + Sync {
    /// A call has ended.
    fn called(&self, end: CallEnd);
    /// So many instances more, or fewer.
    fn instances(&self, change: i64);
    /// For the plugin's own counter; the name is a metric's name without prefix.
    fn add(&self, counter: &str, by: u64, labels: &[(String, String)]);
    /// For the plugin's own histogram; the value is finite.
    fn observe(&self, histogram: &str, value: f64, labels: &[(String, String)]);
    /// A log line, or a sample with an invalid name, that was not taken.
    fn dropped(&self, what: Dropped, count: u64);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    Done,
    /// The plugin said that it failed.
    Failed,
    Trapped,
    TimedOut,
    OutOfMemory,
    /// No instance was free.
    Busy,
    /// Whoever waited for it left.
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    LogLines,
    OutputBytes,
    Samples,
}

/// The upstreams as one worker reaches them.
pub trait Upstreams {
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>>;
}

/// A request of a plugin's own.
#[derive(Debug)]
pub struct UpstreamCall {
    pub upstream: String,
    pub method: Method,
    pub target: PathAndQuery,
    /// Without hop-by-hop and framing fields, and without `host`.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeout: Duration,
    /// The largest response body that can be handed over.
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// No upstream has this name.
    Unknown,
    Timeout,
    Unreachable(String),
    TooLarge,
}

impl Services {
    /// For a component that is only asked about itself: nothing can be reached.
    pub fn detached() -> Self {
        Self { shared: Arc::new(Shared::detached()), upstreams: Rc::new(Detached) }
    }

    /// For trying a configuration where no worker runs: everything but upstreams.
    pub fn without_upstreams(shared: Arc<Shared>) -> Self {
        Self { shared, upstreams: Rc::new(Detached) }
    }
}

impl Shared {
    /// Nothing behind it.
    pub fn detached() -> Self {
        Self {
            store: Arc::new(Detached),
            sinks: Arc::new(Detached),
            metrics: Arc::new(Detached),
            secrets: HashMap::new(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are not for any log.
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct Detached;

impl Detached {
    fn unavailable<T>() -> Result<T, StoreError> {
        Err(StoreError::Unavailable("the gateway does not serve yet".to_owned()))
    }
}

impl Store for Detached {
    fn get(&self, _: &str, _: &str) -> Result<Option<Bytes>, StoreError> {
        Self::unavailable()
    }
    fn set(&self, _: &str, _: &str, _: Bytes, _: Option<Duration>) -> Result<(), StoreError> {
        Self::unavailable()
    }
    fn delete(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Self::unavailable()
    }
    fn increment(&self, _: &str, _: &str, _: i64, _: Option<Duration>) -> Result<i64, StoreError> {
        Self::unavailable()
    }
    fn take(&self, _: &str, _: &str, _: Quota, _: u32) -> Result<Verdict, StoreError> {
        Self::unavailable()
    }
}

impl Sinks for Detached {
    fn write(&self, _: &str, _: &[u8]) -> Result<(), SinkRefusal> {
        Err(SinkRefusal::Dropped)
    }
}

impl PluginMetrics for Detached {
    fn meter(&self, _: &str) -> Arc<dyn PluginMeter> {
        Arc::new(Detached)
    }
}

impl PluginMeter for Detached {
    fn called(&self, _: CallEnd) {}
    fn instances(&self, _: i64) {}
    fn add(&self, _: &str, _: u64, _: &[(String, String)]) {}
    fn observe(&self, _: &str, _: f64, _: &[(String, String)]) {}
    fn dropped(&self, _: Dropped, _: u64) {}
}

impl Upstreams for Detached {
    fn call(&self, _: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        Box::pin(async { Err(CallError::Unreachable("the gateway does not serve yet".to_owned())) })
    }
}
