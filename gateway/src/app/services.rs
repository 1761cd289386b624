//! What plugins work with, put together from the rooms that have it: the store, sinks, metrics and upstreams.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, Limited};

use crate::{
    http::{body::Traffic, hop},
    pipeline::Reply,
    plugin::services::{
        self, CallEnd, CallError, Dropped, LocalFuture, PluginMeter, Quota, SinkRefusal, StoreError, UpstreamCall,
        Verdict,
    },
    state::{self, MemoryStore},
    telemetry::{
        metrics::{CallFailure, Metrics, PluginMetrics},
        sinks::{Refused, Sinks},
    },
    upstream::{self, Outgoing, Patience, Upstreams},
};

pub(super) struct Store(pub(super) Arc<MemoryStore>);

impl services::Store for Store {
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.get(bucket, key).map_err(refused)
    }

    fn set(&self, bucket: &str, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.0.set(bucket, key, &value, ttl.map(millis)).map_err(refused)
    }

    fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        self.0.delete(bucket, key).map_err(refused)
    }

    fn increment(&self, bucket: &str, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
        self.0.increment(bucket, key, by, ttl.map(millis)).map_err(refused)
    }

    fn take(&self, bucket: &str, key: &str, quota: Quota, cost: u32) -> Result<Verdict, StoreError> {
        let quota = state::Quota { limit: quota.limit, period_ms: millis(quota.period), burst: quota.burst };
        let verdict = self.0.take(bucket, key, quota, cost).map_err(refused)?;
        Ok(Verdict {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            reset_after: Duration::from_millis(verdict.reset_after_ms),
            retry_after: Duration::from_millis(verdict.retry_after_ms),
        })
    }
}

fn refused(_: state::StoreError) -> StoreError {
    StoreError::TooLarge
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) struct PluginSinks(pub(super) Arc<Sinks>);

impl services::Sinks for PluginSinks {
    fn write(&self, sink: &str, line: &[u8]) -> Result<(), SinkRefusal> {
        self.0.write(sink, line).map_err(|refused| match refused {
            Refused::Unknown => SinkRefusal::Unknown,
            Refused::Dropped => SinkRefusal::Dropped,
        })
    }
}

/// For one worker; `usize::MAX` is the control thread, where configurations are tried.
pub(super) struct Meters {
    pub(super) metrics: Metrics,
    pub(super) worker: usize,
}

impl services::PluginMetrics for Meters {
    fn meter(&self, plugin: &str) -> Arc<dyn PluginMeter> {
        Arc::new(Meter(self.metrics.plugin(self.worker, plugin)))
    }
}

struct Meter(PluginMetrics);

impl PluginMeter for Meter {
    fn called(&self, end: CallEnd) {
        let failure = match end {
            CallEnd::Done | CallEnd::Cancelled => return,
            CallEnd::Failed => CallFailure::Error,
            CallEnd::Trapped => CallFailure::Trap,
            CallEnd::TimedOut => CallFailure::Timeout,
            CallEnd::OutOfMemory => CallFailure::Memory,
            CallEnd::Busy => CallFailure::Busy,
        };
        self.0.failed(failure);
    }

    fn instances(&self, _change: i64) {}

    fn add(&self, counter: &str, by: u64, labels: &[(String, String)]) {
        self.0.add(counter, by, labels);
    }

    fn observe(&self, histogram: &str, value: f64, labels: &[(String, String)]) {
        self.0.observe(histogram, value, labels);
    }

    fn dropped(&self, _what: Dropped, _count: u64) {}
}

/// The upstreams as plugins call them.
pub(super) struct Calls(pub(super) Rc<Upstreams>);

impl services::Upstreams for Calls {
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let upstream = self.0.get(&call.upstream).ok_or(CallError::Unknown)?.clone();
            let (timeout, limit) = (call.timeout, call.limit);
            let exchange = async {
                let outgoing = Outgoing {
                    method: call.method,
                    target: call.target,
                    headers: call.headers,
                    // Nobody's but the endpoint's own.
                    authority: HeaderValue::from_static(""),
                    body: Vec::from(call.body).into(),
                };
                let patience = Patience { response: timeout, body: timeout };
                let sent = upstream::send(&upstream, outgoing, &Traffic::default(), patience)
                    .await
                    .map_err(|refused| CallError::Unreachable(refused.cause))?;
                let mut headers = sent.response.headers;
                hop::strip(&mut headers);
                let body = Limited::new(sent.body, limit).collect().await.map_err(|error| {
                    if error.is::<http_body_util::LengthLimitError>() {
                        CallError::TooLarge
                    } else {
                        CallError::Unreachable(error.to_string())
                    }
                })?;
                Ok(Reply { status: sent.response.status, headers, body: body.to_bytes() })
            };
            tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(CallError::Timeout))
        })
    }
}
