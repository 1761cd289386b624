//! The gateway, through the component's imports.

use std::time::Duration;

use super::generated::imports::gateway::plugin as raw;
use crate::{
    BodyError, EditError, Reply,
    cache::{CacheError, Entry, Part, Stored, Turn},
    crypto::PasswordError,
    documents::{Document, DocumentError, Source},
    files::FileError,
    http_client::{Call, CallError},
    log::Level,
    secrets::SecretError,
    sinks::SinkError,
    store::{Counting, Place, Quota, Step, StoreError, Verdict, millis},
    streams::{Content, StreamError},
    tcp::{self, TcpError},
};

pub(crate) use raw::http::{Request as RawRequest, Response as RawResponse};

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

fn body<T>(result: Result<T, raw::bodies::BodyError>) -> Result<T, BodyError> {
    result.map_err(|error| match error {
        raw::bodies::BodyError::TooLarge(limit) => BodyError::TooLarge(limit),
        raw::bodies::BodyError::Interrupted(cause) => BodyError::Interrupted(cause),
        raw::bodies::BodyError::Unavailable => BodyError::Unavailable,
    })
}

pub(crate) fn read_request_body(request: &RawRequest) -> Result<Vec<u8>, BodyError> {
    body(raw::bodies::read_request(request))
}

pub(crate) fn replace_request_body(request: &RawRequest, bytes: &[u8]) -> Result<(), BodyError> {
    body(raw::bodies::replace_request(request, bytes))
}

pub(crate) fn read_response_body(response: &RawResponse) -> Result<Vec<u8>, BodyError> {
    body(raw::bodies::read_response(response))
}

pub(crate) fn replace_response_body(response: &RawResponse, bytes: &[u8]) -> Result<(), BodyError> {
    body(raw::bodies::replace_response(response, bytes))
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
        raw::store::StoreError::Later => StoreError::Later,
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

pub(crate) fn store_take(bucket: &str, key: &str, quota: &Quota, cost: u32) -> Result<Verdict, StoreError> {
    stored(raw::store::take(bucket, key, store_quota(quota), cost)).map(|verdict| store_verdict(&verdict))
}

pub(crate) fn store_take_all(
    bucket: &str,
    group: &str,
    steps: &[Step],
    place: Place,
) -> Result<Vec<Verdict>, StoreError> {
    // One by itself is the same as `take`, and cheaper to ask for than a list.
    if let ([step], Place::Shared) = (steps, place)
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
    let place = match place {
        Place::Shared => raw::store::Place::Shared,
        Place::Local => raw::store::Place::Local,
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    let verdicts = stored(raw::store::take_all(bucket, group, &steps, place))?;
    Ok(verdicts.iter().map(store_verdict).collect())
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

pub(crate) fn send(call: Call) -> Result<Reply, CallError> {
    let Call { upstream, method, path_with_query, headers, body, timeout } = call;
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let call = raw::http_client::Call { upstream, method, path_with_query, headers, body, timeout_ms };
    match raw::http_client::send(&call) {
        Ok(raw::http::Reply { status, headers, body }) => Ok(Reply { status, headers, body }),
        Err(error) => Err(match error {
            raw::http_client::CallError::Denied(why) => CallError::Denied(why),
            raw::http_client::CallError::Invalid(why) => CallError::Invalid(why),
            raw::http_client::CallError::Timeout => CallError::Timeout,
            raw::http_client::CallError::Unreachable(why) => CallError::Unreachable(why),
            raw::http_client::CallError::TooLarge => CallError::TooLarge,
        }),
    }
}

pub(crate) fn verify_password(hash: &str, password: &[u8], remember: Duration) -> Result<bool, PasswordError> {
    let remember_ms = u32::try_from(remember.as_millis()).unwrap_or(u32::MAX);
    raw::crypto::verify_password(hash, password, remember_ms).map_err(|error| match error {
        raw::crypto::PasswordError::MalformedHash(why) => PasswordError::MalformedHash(why),
        raw::crypto::PasswordError::Busy => PasswordError::Busy,
        raw::crypto::PasswordError::Later => PasswordError::Later,
    })
}

pub(crate) fn document(source: &Source, known: u64, insist: bool) -> Result<Option<Document>, DocumentError> {
    let source = raw::documents::Source {
        upstream: source.upstream.clone(),
        path_with_query: source.path_with_query.clone(),
        refresh_ms: millis(source.refresh),
        retry_ms: millis(source.retry),
        keep_ms: millis(source.keep),
        timeout_ms: u32::try_from(source.timeout.as_millis()).unwrap_or(u32::MAX),
    };
    match raw::documents::get(&source, known, insist) {
        Ok(document) => Ok(document.map(|document| Document { version: document.version, body: document.body })),
        Err(error) => Err(match error {
            raw::documents::DocumentError::Denied(why) => DocumentError::Denied(why),
            raw::documents::DocumentError::Invalid(why) => DocumentError::Invalid(why),
            raw::documents::DocumentError::Unavailable(why) => DocumentError::Unavailable(why),
            raw::documents::DocumentError::Later => DocumentError::Later,
        }),
    }
}

fn cache_error(error: raw::cache::CacheError) -> CacheError {
    match error {
        raw::cache::CacheError::Denied(why) => CacheError::Denied(why),
        raw::cache::CacheError::TooLarge => CacheError::TooLarge,
        raw::cache::CacheError::Unavailable => CacheError::Unavailable,
        raw::cache::CacheError::Later => CacheError::Later,
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
    let Entry { note, secondary, keep, tags, without, most_bytes, shared } = entry;
    raw::cache::Entry { note, secondary, keep_ms: millis(keep), tags, without, most_bytes, shared }
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

pub(crate) fn cache_claim(request: &RawRequest, bucket: &str, key: &str, wait: Duration) -> Result<Turn, CacheError> {
    match raw::cache::claim(request, bucket, key, millis32(wait)) {
        Ok(raw::cache::Turn::Mine) => Ok(Turn::Mine),
        Ok(raw::cache::Turn::Nobodys) => Ok(Turn::Nobodys),
        Err(error) => Err(cache_error(error)),
    }
}

pub(crate) fn cache_waive(request: &RawRequest, bucket: &str, key: &str, time: Duration) -> Result<(), CacheError> {
    raw::cache::waive(request, bucket, key, millis32(time)).map_err(cache_error)
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

fn streamed<T>(result: Result<T, raw::streams::StreamError>) -> Result<T, StreamError> {
    result.map_err(|error| match error {
        raw::streams::StreamError::TooLarge(limit) => StreamError::TooLarge(limit),
        raw::streams::StreamError::Interrupted(cause) => StreamError::Interrupted(cause),
        raw::streams::StreamError::Invalid(why) => StreamError::Invalid(why),
        raw::streams::StreamError::Unavailable => StreamError::Unavailable,
        raw::streams::StreamError::Later => StreamError::Later,
    })
}

fn content(content: raw::streams::Content) -> Content {
    Content { body: content.body, trailers: content.trailers }
}

pub(crate) fn stream_read_request(request: &RawRequest) -> Result<Content, StreamError> {
    streamed(raw::streams::read_request(request)).map(content)
}

pub(crate) fn stream_replace_request(request: &RawRequest, body: &[u8]) -> Result<(), StreamError> {
    streamed(raw::streams::replace_request(request, body))
}

pub(crate) fn stream_read_response(response: &RawResponse) -> Result<Content, StreamError> {
    streamed(raw::streams::read_response(response)).map(content)
}

pub(crate) fn stream_replace_response(response: &RawResponse, content: &Content) -> Result<(), StreamError> {
    let content = raw::streams::Content { body: content.body.clone(), trailers: content.trailers.clone() };
    streamed(raw::streams::replace_response(response, &content))
}

pub(crate) fn stream_follow_response(response: &RawResponse, memo: &[u8]) -> Result<(), StreamError> {
    streamed(raw::streams::follow_response(response, memo))
}

fn talked<T>(result: Result<T, raw::tcp::TcpError>) -> Result<T, TcpError> {
    result.map_err(|error| match error {
        raw::tcp::TcpError::Denied(name) => TcpError::Denied(name),
        raw::tcp::TcpError::Timeout => TcpError::Timeout,
        raw::tcp::TcpError::Unreachable(why) => TcpError::Unreachable(why),
        raw::tcp::TcpError::Closed(how) => TcpError::Closed(how),
        raw::tcp::TcpError::TooLarge(limit) => TcpError::TooLarge(limit),
        raw::tcp::TcpError::Unavailable => TcpError::Unavailable,
    })
}

pub(crate) fn tcp_send(request: &RawRequest, message: tcp::Message) -> Result<(), TcpError> {
    let message = raw::tcp::Message {
        upstream: message.upstream,
        bytes: message.bytes,
        wants: u32::try_from(message.wants).unwrap_or(u32::MAX),
        timeout_ms: u32::try_from(message.timeout.as_millis()).unwrap_or(u32::MAX),
        repeatable: message.repeatable,
        memo: message.memo,
    };
    talked(raw::tcp::send(request, &message))
}

pub(crate) fn tcp_receive(request: &RawRequest) -> Result<Option<tcp::Answer>, TcpError> {
    let answer = talked(raw::tcp::receive(request))?;
    Ok(answer.map(|raw::tcp::Answer { memo, bytes }| tcp::Answer { memo, bytes }))
}

pub(crate) fn tcp_await_more(request: &RawRequest, wants: u32) -> Result<(), TcpError> {
    talked(raw::tcp::await_more(request, wants))
}

pub(crate) fn tcp_finish(request: &RawRequest) {
    raw::tcp::finish(request);
}
