//! The gateway, through the component's imports.

use std::time::Duration;

use super::generated::imports::gateway::plugin as raw;
use crate::{
    Body, BodyError, EditError, Reply,
    cache::{CacheError, Entry, LockResult, Part, Stored},
    crypto::PasswordError,
    documents::{Document, DocumentError, Source},
    files::FileError,
    http_client::{Call, CallError},
    log::Level,
    secrets::SecretError,
    sinks::SinkError,
    store::{
        Acquisition, Counting, Operation, OperationResult, Quota, Scope, Step, StoreError, SwapResult, Verdict, Wake,
        millis,
    },
    tcp::{Message, TcpError},
    upstreams::UpstreamError,
};

pub(crate) use raw::{
    http::{Request as RawRequest, Response as RawResponse},
    http_client::PendingCall as RawPendingCall,
    tcp::Connection as RawConnection,
};

pub(crate) fn edited(result: Result<(), raw::http::EditError>) -> Result<(), EditError> {
    result.map_err(edit_error)
}

pub(super) fn edit_error(error: raw::http::EditError) -> EditError {
    match error {
        raw::http::EditError::InvalidSyntax => EditError::InvalidSyntax,
        raw::http::EditError::Forbidden => EditError::Forbidden,
        raw::http::EditError::TooLarge => EditError::TooLarge,
    }
}

pub(super) fn body_error(error: raw::bodies::BodyError) -> BodyError {
    match error {
        raw::bodies::BodyError::TooLarge(limit) => BodyError::TooLarge(limit),
        raw::bodies::BodyError::Interrupted(cause) => BodyError::Interrupted(cause),
        raw::bodies::BodyError::Invalid(why) => BodyError::Invalid(why),
        raw::bodies::BodyError::Unavailable => BodyError::Unavailable,
        raw::bodies::BodyError::Other(why) => BodyError::Other(why),
    }
}

pub(crate) fn replace_request_body(request: &RawRequest, Body { bytes, trailers }: Body) -> Result<(), BodyError> {
    raw::bodies::replace_request(request, &raw::bodies::Body { bytes, trailers }).map_err(body_error)
}

pub(crate) fn replace_response_body(response: &RawResponse, Body { bytes, trailers }: Body) -> Result<(), BodyError> {
    raw::bodies::replace_response(response, &raw::bodies::Body { bytes, trailers }).map_err(body_error)
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, String)]) {
    let level = match level {
        Level::Trace => raw::log::Level::Trace,
        Level::Debug => raw::log::Level::Debug,
        Level::Info => raw::log::Level::Info,
        Level::Warn => raw::log::Level::Warn,
        Level::Error => raw::log::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    raw::log::emit(level, message, &fields);
}

pub(crate) fn sink_write(sink: &str, line: &[u8]) -> Result<(), SinkError> {
    raw::sinks::write(sink, line).map_err(|error| match error {
        raw::sinks::SinkError::Denied(why) => SinkError::Denied(why),
        raw::sinks::SinkError::Dropped => SinkError::Dropped,
    })
}

fn labels(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn metric_add(counter: &str, by: u64, with: &[(&str, &str)]) {
    raw::metrics::add(counter, by, &labels(with));
}

pub(crate) fn metric_set_gauge(gauge: &str, value: f64, with: &[(&str, &str)]) {
    raw::metrics::set_gauge(gauge, value, &labels(with));
}

pub(crate) fn metric_add_to_gauge(gauge: &str, by: f64, with: &[(&str, &str)]) {
    raw::metrics::add_to_gauge(gauge, by, &labels(with));
}

pub(crate) fn metric_observe(histogram: &str, value: f64, with: &[(&str, &str)]) {
    raw::metrics::observe(histogram, value, &labels(with));
}

fn stored<T>(result: Result<T, raw::store::StoreError>) -> Result<T, StoreError> {
    result.map_err(|error| match error {
        raw::store::StoreError::Denied(why) => StoreError::Denied(why),
        raw::store::StoreError::TooLarge => StoreError::TooLarge,
        raw::store::StoreError::Unavailable(why) => StoreError::Unavailable(why),
        raw::store::StoreError::Other(why) => StoreError::Other(why),
    })
}

pub(crate) fn store_get(bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    stored(raw::store::get(bucket, key))
}

pub(crate) fn store_set(bucket: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), StoreError> {
    stored(raw::store::set(bucket, key, value, ttl_ms))
}

pub(crate) fn store_delete(bucket: &str, key: &str) -> Result<(), StoreError> {
    stored(raw::store::delete(bucket, key))
}

pub(crate) fn store_increment(bucket: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, StoreError> {
    stored(raw::store::increment(bucket, key, by, ttl_ms))
}

pub(crate) fn store_compare_and_swap(
    bucket: &str,
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
    ttl_ms: Option<u64>,
) -> Result<SwapResult, StoreError> {
    stored(raw::store::compare_and_swap(bucket, key, expected, value, ttl_ms)).map(swap_result)
}

pub(crate) fn store_set_ttl(bucket: &str, key: &str, ttl_ms: Option<u64>) -> Result<bool, StoreError> {
    stored(raw::store::set_ttl(bucket, key, ttl_ms))
}

pub(crate) fn store_acquire(
    bucket: &str,
    key: &str,
    limit: u32,
    ttl_ms: u64,
    scope: Scope,
) -> Result<Acquisition, StoreError> {
    let acquired = stored(raw::store::acquire(bucket, key, limit, ttl_ms, store_scope(scope)))?;
    Ok(Acquisition { lease: acquired.lease, holders: acquired.holders })
}

pub(crate) fn store_renew(bucket: &str, key: &str, lease: &str, ttl_ms: u64) -> Result<bool, StoreError> {
    stored(raw::store::renew(bucket, key, lease, ttl_ms))
}

pub(crate) fn store_release(bucket: &str, key: &str, lease: &str) -> Result<(), StoreError> {
    stored(raw::store::release(bucket, key, lease))
}

pub(crate) fn store_wait_for_lease(
    bucket: &str,
    key: &str,
    limit: u32,
    wait_ms: u32,
    wake: Wake,
    scope: Scope,
) -> Result<bool, StoreError> {
    let wake = match wake {
        Wake::InTurn => raw::store::Wake::InTurn,
        Wake::All => raw::store::Wake::All,
    };
    stored(raw::store::wait_for_lease(bucket, key, limit, wait_ms, wake, store_scope(scope)))
}

fn swap_result(result: raw::store::SwapResult) -> SwapResult {
    match result {
        raw::store::SwapResult::Swapped => SwapResult::Swapped,
        raw::store::SwapResult::Different(current) => SwapResult::Different(current),
    }
}

pub(crate) fn store_batch(
    bucket: &str,
    operations: &[Operation],
) -> Result<Vec<Result<OperationResult, StoreError>>, StoreError> {
    let operation = |operation: &Operation| match operation {
        Operation::Get { key } => raw::store::Operation::Get(key.clone()),
        Operation::Set { key, value, ttl } => {
            let (key, value, ttl_ms) = (key.clone(), value.clone(), ttl.map(millis));
            raw::store::Operation::Set(raw::store::Entry { key, value, ttl_ms })
        }
        Operation::Delete { key } => raw::store::Operation::Delete(key.clone()),
        Operation::Increment { key, by, ttl } => {
            let (key, ttl_ms) = (key.clone(), ttl.map(millis));
            raw::store::Operation::Increment(raw::store::Addition { key, by: *by, ttl_ms })
        }
        Operation::CompareAndSwap { key, expected, value, ttl } => {
            let (key, expected, value) = (key.clone(), expected.clone(), value.clone());
            let ttl_ms = ttl.map(millis);
            raw::store::Operation::CompareAndSwap(raw::store::Swap { key, expected, value, ttl_ms })
        }
        Operation::SetTtl { key, ttl } => {
            raw::store::Operation::SetTtl(raw::store::Expiry { key: key.clone(), ttl_ms: ttl.map(millis) })
        }
    };
    let operations: Vec<_> = operations.iter().map(operation).collect();
    let results = stored(raw::store::batch(bucket, &operations))?;
    let result = |result| {
        stored(result).map(|result| match result {
            raw::store::OperationResult::Value(value) => OperationResult::Value(value),
            raw::store::OperationResult::Done => OperationResult::Done,
            raw::store::OperationResult::Sum(sum) => OperationResult::Sum(sum),
            raw::store::OperationResult::Swap(swap) => OperationResult::Swap(swap_result(swap)),
            raw::store::OperationResult::Exists(exists) => OperationResult::Exists(exists),
        })
    };
    Ok(results.into_iter().map(result).collect())
}

pub(crate) fn store_take(bucket: &str, key: &str, quota: &Quota, cost: u32) -> Result<Verdict, StoreError> {
    stored(raw::store::take(bucket, key, store_quota(quota), cost)).map(|verdict| store_verdict(&verdict))
}

pub(crate) fn store_take_all(
    bucket: &str,
    group: &str,
    steps: &[Step],
    scope: Scope,
) -> Result<Vec<Verdict>, StoreError> {
    // One by itself is the same as `take`, and cheaper to ask for than a list.
    if let ([step], Scope::Shared) = (steps, scope)
        && step.counting == Counting::Steady
    {
        let key = [group, "\0", &step.key].concat();
        return store_take(bucket, &key, &step.quota, step.cost).map(|verdict| vec![verdict]);
    }
    let step = |step: &Step| raw::store::Step {
        key: step.key.clone(),
        quota: store_quota(&step.quota),
        counting: match step.counting {
            Counting::Steady => raw::store::Counting::Steady,
            Counting::Sliding => raw::store::Counting::Sliding,
        },
        cost: step.cost,
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    let verdicts = stored(raw::store::take_all(bucket, group, &steps, store_scope(scope)))?;
    Ok(verdicts.iter().map(store_verdict).collect())
}

fn store_scope(scope: Scope) -> raw::store::Scope {
    match scope {
        Scope::Shared => raw::store::Scope::Shared,
        Scope::Local => raw::store::Scope::Local,
    }
}

fn store_quota(quota: &Quota) -> raw::store::Quota {
    raw::store::Quota { limit: quota.limit, period_ms: millis(quota.period), burst: quota.burst }
}

fn store_verdict(verdict: &raw::store::Verdict) -> Verdict {
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        reset_after: Duration::from_millis(verdict.reset_after_ms),
        retry_after: Duration::from_millis(verdict.retry_after_ms),
    }
}

fn upstream_call(call: Call) -> raw::http_client::Call {
    let Call { upstream, method, path_with_query, headers, body, timeout } = call;
    raw::http_client::Call { upstream, method, path_with_query, headers, body, timeout_ms: millis32(timeout) }
}

fn call_error(error: raw::http_client::CallError) -> CallError {
    match error {
        raw::http_client::CallError::Denied(why) => CallError::Denied(why),
        raw::http_client::CallError::Invalid(why) => CallError::Invalid(why),
        raw::http_client::CallError::Timeout => CallError::Timeout,
        raw::http_client::CallError::Unreachable(why) => CallError::Unreachable(why),
        raw::http_client::CallError::TooLarge => CallError::TooLarge,
        raw::http_client::CallError::Other(why) => CallError::Other(why),
    }
}

fn replied(result: Result<raw::http::Reply, raw::http_client::CallError>) -> Result<Reply, CallError> {
    let raw::http::Reply { status, headers, body } = result.map_err(call_error)?;
    Ok(Reply { status, headers, body })
}

pub(crate) fn send(call: Call) -> Result<Reply, CallError> {
    replied(raw::http_client::send(&upstream_call(call)))
}

pub(crate) fn start(call: Call) -> Result<RawPendingCall, CallError> {
    raw::http_client::start(&upstream_call(call)).map_err(call_error)
}

pub(crate) fn wait_for_call(call: &RawPendingCall) -> Result<Reply, CallError> {
    replied(call.wait())
}

pub(crate) fn select_upstream(request: &RawRequest, name: &str) -> Result<(), UpstreamError> {
    raw::upstreams::select(request, name).map_err(|error| match error {
        raw::upstreams::UpstreamError::Denied(name) => UpstreamError::Denied(name),
        raw::upstreams::UpstreamError::Unavailable => UpstreamError::Unavailable,
        raw::upstreams::UpstreamError::Other(why) => UpstreamError::Other(why),
    })
}

pub(crate) fn verify_password(hash: &str, password: &[u8], remember: Duration) -> Result<bool, PasswordError> {
    let remember_ms = u32::try_from(remember.as_millis()).unwrap_or(u32::MAX);
    raw::crypto::verify_password(hash, password, remember_ms).map_err(|error| match error {
        raw::crypto::PasswordError::MalformedHash(why) => PasswordError::MalformedHash(why),
        raw::crypto::PasswordError::Busy => PasswordError::Busy,
        raw::crypto::PasswordError::Other(why) => PasswordError::Other(why),
    })
}

pub(crate) fn document(source: &Source, known: u64, force_refresh: bool) -> Result<Option<Document>, DocumentError> {
    let source = raw::documents::Source {
        upstream: source.upstream.clone(),
        path_with_query: source.path_with_query.clone(),
        refresh_ms: millis(source.refresh),
        retry_ms: millis(source.retry),
        max_stale_ms: millis(source.max_stale),
        timeout_ms: u32::try_from(source.timeout.as_millis()).unwrap_or(u32::MAX),
    };
    match raw::documents::get(&source, known, force_refresh) {
        Ok(document) => Ok(document.map(|document| Document { version: document.version, bytes: document.bytes })),
        Err(error) => Err(match error {
            raw::documents::DocumentError::Denied(why) => DocumentError::Denied(why),
            raw::documents::DocumentError::Invalid(why) => DocumentError::Invalid(why),
            raw::documents::DocumentError::Unavailable(why) => DocumentError::Unavailable(why),
            raw::documents::DocumentError::Other(why) => DocumentError::Other(why),
        }),
    }
}

fn cache_error(error: raw::cache::CacheError) -> CacheError {
    match error {
        raw::cache::CacheError::Denied(why) => CacheError::Denied(why),
        raw::cache::CacheError::TooLarge => CacheError::TooLarge,
        raw::cache::CacheError::Unavailable => CacheError::Unavailable,
        raw::cache::CacheError::Other(why) => CacheError::Other(why),
    }
}

fn cache_part(part: Part) -> raw::cache::Part {
    match part {
        Part::Whole => raw::cache::Part::Whole,
        Part::Nothing => raw::cache::Part::Nothing,
        Part::Range(first, last) => raw::cache::Part::Range((first, last)),
    }
}

fn cache_entry(entry: Entry) -> raw::cache::Entry {
    let Entry { note, secondary, keep, tags, exclude_headers, max_bytes, shared } = entry;
    raw::cache::Entry { note, secondary, keep_ms: millis(keep), tags, exclude_headers, max_bytes, shared }
}

fn millis32(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn cache_find(
    request: &RawRequest,
    bucket: &str,
    key: &str,
    shared: bool,
) -> Result<Vec<Stored>, CacheError> {
    let found = raw::cache::find(request, bucket, key, shared).map_err(cache_error)?;
    let told = |stored: raw::cache::Stored| Stored {
        id: stored.id,
        status: stored.status,
        body_bytes: stored.body_bytes,
        note: stored.note,
    };
    Ok(found.into_iter().map(told).collect())
}

pub(crate) fn cache_keep(
    request: &RawRequest,
    response: &RawResponse,
    bucket: &str,
    key: &str,
    entry: Entry,
) -> Result<(), CacheError> {
    raw::cache::keep(request, response, bucket, key, &cache_entry(entry)).map_err(cache_error)
}

pub(crate) fn cache_forget(bucket: &str, key: &str) -> Result<(), CacheError> {
    raw::cache::forget(bucket, key).map_err(cache_error)
}

pub(crate) fn cache_lock(
    request: &RawRequest,
    bucket: &str,
    key: &str,
    wait: Duration,
) -> Result<LockResult, CacheError> {
    match raw::cache::lock(request, bucket, key, millis32(wait)) {
        Ok(raw::cache::LockResult::Acquired) => Ok(LockResult::Acquired),
        Ok(raw::cache::LockResult::Free) => Ok(LockResult::Free),
        Ok(raw::cache::LockResult::Held) => Ok(LockResult::Held),
        Err(error) => Err(cache_error(error)),
    }
}

pub(crate) fn cache_release(request: &RawRequest, bucket: &str, key: &str, time: Duration) -> Result<(), CacheError> {
    raw::cache::release(request, bucket, key, millis32(time)).map_err(cache_error)
}

pub(crate) fn cache_renew(request: &RawRequest, bucket: &str, key: &str) -> Result<bool, CacheError> {
    raw::cache::renew(request, bucket, key).map_err(cache_error)
}

pub(crate) fn cache_answer(request: &RawRequest, id: u32, part: Part) -> Result<(), CacheError> {
    raw::cache::answer(request, id, cache_part(part)).map_err(cache_error)
}

pub(crate) fn cache_restore(
    request: &RawRequest,
    response: &RawResponse,
    id: u32,
    part: Part,
) -> Result<(), CacheError> {
    raw::cache::restore(request, response, id, cache_part(part)).map_err(cache_error)
}

pub(crate) fn cache_freshen(
    request: &RawRequest,
    response: &RawResponse,
    id: u32,
    entry: Entry,
) -> Result<(), CacheError> {
    raw::cache::freshen(request, response, id, &cache_entry(entry)).map_err(cache_error)
}

pub(crate) fn cache_is_renewal(request: &RawRequest) -> bool {
    raw::cache::is_renewal(request)
}

pub(crate) fn cache_remember(request: &RawRequest, memo: &[u8]) -> Result<(), CacheError> {
    raw::cache::remember(request, memo).map_err(cache_error)
}

pub(crate) fn cache_recall(request: &RawRequest) -> Option<Vec<u8>> {
    raw::cache::recall(request)
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>, SecretError> {
    raw::secrets::get(name).map_err(|error| match error {
        raw::secrets::SecretError::Denied(why) => SecretError::Denied(why),
        raw::secrets::SecretError::Missing => SecretError::Missing,
    })
}

/// Asked directly: the way through libc imports the monotonic clock and its timers too.
pub(crate) fn since_epoch() -> Duration {
    let now = wasip2::clocks::wall_clock::now();
    Duration::new(now.seconds, now.nanoseconds)
}

pub(crate) fn file(name: &str) -> Result<Vec<u8>, FileError> {
    raw::files::get(name).map_err(|raw::files::FileError::Denied(name)| FileError::Denied(name))
}

fn tcp_error(error: raw::tcp::TcpError) -> TcpError {
    match error {
        raw::tcp::TcpError::Denied(name) => TcpError::Denied(name),
        raw::tcp::TcpError::Timeout => TcpError::Timeout,
        raw::tcp::TcpError::Unreachable(why) => TcpError::Unreachable(why),
        raw::tcp::TcpError::Closed(how) => TcpError::Closed(how),
        raw::tcp::TcpError::TooLarge(limit) => TcpError::TooLarge(limit),
        raw::tcp::TcpError::Unavailable => TcpError::Unavailable,
        raw::tcp::TcpError::Other(why) => TcpError::Other(why),
    }
}

pub(crate) fn tcp_send(message: Message) -> Result<RawConnection, TcpError> {
    let Message { upstream, bytes, min_bytes, timeout, repeatable } = message;
    let message = raw::tcp::Message {
        upstream,
        bytes,
        min_bytes: u32::try_from(min_bytes).unwrap_or(u32::MAX),
        timeout_ms: millis32(timeout),
        repeatable,
    };
    raw::tcp::send(&message).map_err(tcp_error)
}

pub(crate) fn tcp_receive(connection: &RawConnection, min_bytes: u32) -> Result<Vec<u8>, TcpError> {
    connection.receive(min_bytes).map_err(tcp_error)
}

pub(crate) fn tcp_release(connection: RawConnection) {
    raw::tcp::release(connection);
}
