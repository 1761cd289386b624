//! The functions of the host, answered by the fake that the running test has entered.

use std::{cell::RefCell, time::Duration};

use gateway_rules::{
    reply::{self, MAX_MEMO_BYTES},
    selection,
};

use super::{LogLine, State, TestHost, head::Phase, series};
use crate::{
    BodyError, EditError, Item, Reply,
    cache::{CacheError, Entry, Part, Stored, Turn},
    crypto::PasswordError,
    documents::{Document, DocumentError, Source},
    files::FileError,
    http_client::{Call, CallError},
    log::Level,
    secrets::SecretError,
    sinks::SinkError,
    store::{Place, Quota, Step, StoreError, Verdict},
    streams::{Content, StreamError},
    tcp::{Answer, Message, TcpError},
};

pub(crate) use super::{
    crypto,
    edits::{RawEdits, edits, make_edits},
    head::{RawRequest, RawResponse},
};

thread_local! {
    static CURRENT: RefCell<Option<TestHost>> = const { RefCell::new(None) };
}

/// Runs with this host as the current one, and with the one before it again in the end, also after a panic.
pub(super) fn enter<T>(host: &TestHost, f: impl FnOnce() -> T) -> T {
    struct Leave(Option<TestHost>);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _leave = Leave(CURRENT.replace(Some(host.clone())));
    f()
}

fn current() -> TestHost {
    let host = CURRENT.with_borrow(Clone::clone);
    host.expect("outside the gateway, run this through plugin_sdk::testkit::TestHost")
}

pub(super) fn state<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(&mut current().0.borrow_mut())
}

pub(crate) fn edited(result: Result<(), gateway_rules::edit::EditError>) -> Result<(), EditError> {
    Ok(result?)
}

/// The items themselves.
pub(crate) type RawSelection = Vec<Item>;

pub(crate) fn selection(items: &[Item]) -> RawSelection {
    let name = |item: &Item| match item {
        Item::Header(name) | Item::ResponseHeader(name) | Item::Attribute(name) | Item::PathParameter(name) => {
            name.len()
        }
        _ => 0,
    };
    if let Err(why) = selection::check(items.len(), items.iter().map(name).sum()) {
        panic!("the gateway would refuse {why}");
    }
    items.to_vec()
}

pub(crate) fn read_selection(
    selection: &RawSelection,
    request: &RawRequest,
    response: Option<&RawResponse>,
) -> (Vec<u8>, Vec<Option<u32>>) {
    let mut bytes = Vec::new();
    let lengths = selection.iter().map(|item| {
        let value = match item {
            Item::RequestId => Some(request.id().into_bytes()),
            Item::Method => Some(request.method().into_bytes()),
            Item::Scheme => Some(request.scheme().into_bytes()),
            Item::Authority => Some(request.authority().into_bytes()),
            Item::Path => Some(request.path().into_bytes()),
            Item::Query => request.query().map(String::into_bytes),
            Item::OriginalTarget => Some(request.original_target().into_bytes()),
            Item::Protocol => Some(request.protocol().into_bytes()),
            Item::ClientAddress => Some(request.client_address().into_bytes()),
            Item::Route => Some(request.route().into_bytes()),
            Item::Header(name) => request.header(name),
            Item::ResponseHeader(name) => response.and_then(|response| response.header(name)),
            Item::Attribute(key) => request.attribute(key).map(String::into_bytes),
            Item::PathParameter(name) => request.path_parameter(name).map(String::into_bytes),
            Item::ResponseStatus => response.map(|response| response.status().to_string().into_bytes()),
        }?;
        bytes.extend_from_slice(&value);
        u32::try_from(value.len()).ok()
    });
    let lengths = lengths.collect();
    (bytes, lengths)
}

pub(crate) fn read_request_body(request: &RawRequest) -> Result<Vec<u8>, BodyError> {
    let head = request.0.borrow();
    if head.phase != Phase::Request {
        return Err(BodyError::Unavailable);
    }
    head.bounds.check_body(head.body.len()).map_err(BodyError::TooLarge)?;
    Ok(head.body.clone())
}

pub(crate) fn replace_request_body(request: &RawRequest, body: &[u8]) -> Result<(), BodyError> {
    request.check_body(body).map_err(BodyError::TooLarge)?;
    request.replace_body(body).map_err(|_| BodyError::Unavailable)
}

pub(crate) fn read_response_body(response: &RawResponse) -> Result<Vec<u8>, BodyError> {
    let head = response.0.borrow();
    if head.phase != Phase::Response {
        return Err(BodyError::Unavailable);
    }
    head.bounds.check_body(head.body.len()).map_err(BodyError::TooLarge)?;
    Ok(head.body.clone())
}

pub(crate) fn replace_response_body(response: &RawResponse, body: &[u8]) -> Result<(), BodyError> {
    response.check_body(body).map_err(BodyError::TooLarge)?;
    response.replace_body(body).map_err(|_| BodyError::Unavailable)
}

pub(crate) fn stream_read_request(request: &RawRequest) -> Result<Content, StreamError> {
    let head = request.0.borrow();
    if head.phase != Phase::Request {
        return Err(StreamError::Unavailable);
    }
    head.bounds.check_body(head.body.len()).map_err(StreamError::TooLarge)?;
    Ok(Content { body: head.body.clone(), trailers: Vec::new() })
}

pub(crate) fn stream_replace_request(request: &RawRequest, body: &[u8]) -> Result<(), StreamError> {
    request.check_body(body).map_err(StreamError::TooLarge)?;
    request.replace_body(body).map_err(|_| StreamError::Unavailable)
}

pub(crate) fn stream_read_response(response: &RawResponse) -> Result<Content, StreamError> {
    let head = response.0.borrow();
    if head.phase != Phase::Response {
        return Err(StreamError::Unavailable);
    }
    head.bounds.check_body(head.body.len()).map_err(StreamError::TooLarge)?;
    Ok(Content { body: head.body.clone(), trailers: head.trailers.clone() })
}

pub(crate) fn stream_replace_response(response: &RawResponse, content: &Content) -> Result<(), StreamError> {
    response.check_body(&content.body).map_err(StreamError::TooLarge)?;
    let trailers = reply::trailers(content.trailers.clone().into_iter())
        .map_err(|error| StreamError::Invalid(error.to_string()))?;
    response.replace_body(&content.body).map_err(|_| StreamError::Unavailable)?;
    let trailers = trailers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    response.0.borrow_mut().trailers = trailers.collect();
    Ok(())
}

pub(crate) fn stream_follow_response(response: &RawResponse, memo: &[u8]) -> Result<(), StreamError> {
    let mut head = response.0.borrow_mut();
    if head.phase != Phase::Response {
        return Err(StreamError::Unavailable);
    }
    if memo.len() > MAX_MEMO_BYTES {
        return Err(StreamError::TooLarge(MAX_MEMO_BYTES as u64));
    }
    head.followed = Some(memo.to_vec());
    Ok(())
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, String)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    state(|state| state.log.push(LogLine { level, message: message.to_owned(), fields }));
}

pub(crate) fn sink_write(sink: &str, line: &[u8]) -> Result<(), SinkError> {
    state(|state| {
        state.granted(sink).map_err(SinkError::Denied)?;
        if state.sinks_full {
            return Err(SinkError::Dropped);
        }
        state.sinks.entry(sink.to_owned()).or_default().push(line.to_vec());
        Ok(())
    })
}

pub(crate) fn metric_add(counter: &str, by: u64, labels: &[(&str, &str)]) {
    state(|state| {
        let value = state.counters.entry(series(counter, labels)).or_default();
        *value = value.saturating_add(by);
    });
}

pub(crate) fn metric_set_gauge(gauge: &str, value: f64, labels: &[(&str, &str)]) {
    if value.is_finite() {
        state(|state| state.gauges.insert(series(gauge, labels), value));
    }
}

pub(crate) fn metric_add_to_gauge(gauge: &str, by: f64, labels: &[(&str, &str)]) {
    if by.is_finite() {
        state(|state| *state.gauges.entry(series(gauge, labels)).or_default() += by);
    }
}

pub(crate) fn metric_observe(histogram: &str, value: f64, labels: &[(&str, &str)]) {
    state(|state| state.histograms.entry(series(histogram, labels)).or_default().push(value));
}

/// Runs a step of the store, if it is granted and reachable.
fn stored<T>(
    bucket: &str,
    step: impl FnOnce(&mut super::store::Store, Duration) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    state(|state| {
        state.granted(bucket).map_err(StoreError::Denied)?;
        if state.store_down {
            return Err(StoreError::Unavailable("switched off by the test".to_owned()));
        }
        step(&mut state.store, state.now)
    })
}

pub(crate) fn store_get(bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    stored(bucket, |store, now| store.get(bucket, key, now))
}

pub(crate) fn store_set(bucket: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), StoreError> {
    stored(bucket, |store, now| store.set(bucket, key, value, ttl_ms, now))
}

pub(crate) fn store_delete(bucket: &str, key: &str) -> Result<(), StoreError> {
    stored(bucket, |store, _| store.delete(bucket, key))
}

pub(crate) fn store_increment(bucket: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, StoreError> {
    stored(bucket, |store, now| store.increment(bucket, key, by, ttl_ms, now))
}

pub(crate) fn store_take(bucket: &str, key: &str, quota: &Quota, cost: u32) -> Result<Verdict, StoreError> {
    stored(bucket, |store, now| store.take(bucket, key, quota, cost, now))
}

pub(crate) fn store_take_all(
    bucket: &str,
    group: &str,
    steps: &[Step],
    place: Place,
) -> Result<Vec<Verdict>, StoreError> {
    match place {
        Place::Shared => stored(bucket, |store, now| store.take_all(bucket, group, steps, now)),
        Place::Local => state(|state| {
            state.granted(bucket).map_err(StoreError::Denied)?;
            state.local_store.take_all(bucket, group, steps, state.now)
        }),
    }
}

pub(crate) fn send(call: Call) -> Result<Reply, CallError> {
    let host = current();
    let answer = {
        let mut state = host.0.borrow_mut();
        state.granted(&call.upstream).map_err(CallError::Denied)?;
        state.calls.push(call.clone());
        state.answer.take()
    };
    // Out of the state while it runs: it may ask the host itself.
    let Some(mut answer) = answer else {
        return Err(CallError::Unreachable("no answer given by the test".to_owned()));
    };
    let result = answer(&call);
    host.0.borrow_mut().answer.get_or_insert(answer);
    result
}

/// At once: nothing else is waiting in a test.
pub(crate) fn verify_password(hash: &str, password: &[u8], _: Duration) -> Result<bool, PasswordError> {
    if state(|state| state.passwords_busy) {
        return Err(PasswordError::Busy);
    }
    let verdict = crypto::verify_password(hash, password)?;
    if state(|state| state.configuring) { Err(PasswordError::Later) } else { Ok(verdict) }
}

pub(crate) fn document(source: &Source, known: u64, insist: bool) -> Result<Option<Document>, DocumentError> {
    state(|state| state.granted(&source.upstream)).map_err(DocumentError::Denied)?;
    if state(|state| state.configuring) {
        return Err(DocumentError::Later);
    }
    if state(|state| state.documents.is_due(source, known, insist, state.now)) {
        let call = Call::get(&source.upstream, &source.path_with_query).with_timeout(source.timeout);
        let result = match send(call) {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(reply) => Err(format!("it is answered with {}", reply.status)),
            Err(error) => Err(error.to_string()),
        };
        state(|state| state.documents.fetched(source, result, state.now));
    }
    state(|state| state.documents.get(source, known, state.now))
}

/// Runs a step of the cache, if its bucket is granted.
fn cached<T>(
    bucket: &str,
    step: impl FnOnce(&mut super::cache::Cache, Duration) -> Result<T, CacheError>,
) -> Result<T, CacheError> {
    state(|state| {
        state.granted(bucket).map_err(CacheError::Denied)?;
        step(&mut state.cache, state.now)
    })
}

/// There is no other gateway in a test.
pub(crate) fn cache_find(
    request: &RawRequest,
    bucket: &str,
    key: &str,
    _shared: bool,
) -> Result<Vec<Stored>, CacheError> {
    cached(bucket, |cache, now| cache.find(&mut request.0.borrow_mut(), bucket, key, now))
}

pub(crate) fn cache_keep(
    _: &RawRequest,
    response: &RawResponse,
    bucket: &str,
    key: &str,
    entry: Entry,
) -> Result<(), CacheError> {
    cached(bucket, |cache, now| cache.keep(&response.0.borrow(), bucket, key, entry, now))
}

pub(crate) fn cache_forget(bucket: &str, key: &str) -> Result<(), CacheError> {
    cached(bucket, |cache, _| cache.forget(bucket, key))
}

pub(crate) fn cache_claim(_: &RawRequest, bucket: &str, key: &str, _: Duration) -> Result<Turn, CacheError> {
    cached(bucket, |cache, now| cache.claim(bucket, key, now))
}

pub(crate) fn cache_waive(_: &RawRequest, bucket: &str, key: &str, time: Duration) -> Result<(), CacheError> {
    cached(bucket, |cache, now| cache.waive(bucket, key, now + time))
}

pub(crate) fn cache_renew(request: &RawRequest, bucket: &str, key: &str) -> Result<bool, CacheError> {
    cached(bucket, |cache, _| cache.renew(&request.0.borrow(), bucket, key))
}

pub(crate) fn cache_answer(request: &RawRequest, id: u32, part: Part) -> Result<(), CacheError> {
    let hold = &mut request.0.borrow_mut().cache;
    hold.part(id, part)?;
    hold.answer = Some((id, part));
    Ok(())
}

pub(crate) fn cache_restore(
    request: &RawRequest,
    response: &RawResponse,
    id: u32,
    part: Part,
) -> Result<(), CacheError> {
    let (status, headers, body) = request.0.borrow().cache.part(id, part)?;
    let mut head = response.0.borrow_mut();
    (head.status, head.headers, head.body, head.room) = (status, headers, body, None);
    Ok(())
}

pub(crate) fn cache_freshen(
    request: &RawRequest,
    response: &RawResponse,
    id: u32,
    entry: Entry,
) -> Result<(), CacheError> {
    state(|state| state.cache.freshen(&mut request.0.borrow_mut(), &response.0.borrow(), id, entry, state.now))
}

pub(crate) fn cache_is_renewal(request: &RawRequest) -> bool {
    request.0.borrow().cache.renewal
}

pub(crate) fn cache_remember(request: &RawRequest, memo: &[u8]) -> Result<(), CacheError> {
    request.0.borrow_mut().cache.memo = Some(memo.to_vec());
    Ok(())
}

pub(crate) fn cache_recall(request: &RawRequest) -> Option<Vec<u8>> {
    request.0.borrow().cache.memo.clone()
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>, SecretError> {
    state(|state| {
        state.granted(name).map_err(SecretError::Denied)?;
        if state.secrets_to_use.contains_key(name) {
            return Err(SecretError::Denied(format!("`{name}` can be used and not be read")));
        }
        state.secrets.get(name).cloned().ok_or(SecretError::Missing)
    })
}

pub(crate) fn file(name: &str) -> Result<Vec<u8>, FileError> {
    state(|state| {
        state.granted(name).map_err(|_| FileError::Denied(name.to_owned()))?;
        state.files.get(name).cloned().ok_or_else(|| FileError::Denied(name.to_owned()))
    })
}

pub(crate) fn since_epoch() -> Duration {
    state(|state| state.now)
}

pub(crate) fn tcp_send(_: &RawRequest, message: Message) -> Result<(), TcpError> {
    let host = current();
    let answering = {
        let mut state = host.0.borrow_mut();
        state.granted(&message.upstream).map_err(|_| TcpError::Denied(message.upstream.clone()))?;
        state.tcp.answering.take()
    };
    let Some(mut answering) = answering else {
        return Err(TcpError::Unreachable("no answer given by the test".to_owned()));
    };
    let answer = answering(&message);
    let mut state = host.0.borrow_mut();
    state.tcp.answering.get_or_insert(answering);
    state.tcp.send(message, answer);
    Ok(())
}

pub(crate) fn tcp_receive(_: &RawRequest) -> Result<Option<Answer>, TcpError> {
    state(|state| state.tcp.receive())
}

pub(crate) fn tcp_await_more(_: &RawRequest, wants: u32) -> Result<(), TcpError> {
    state(|state| state.tcp.await_more(wants as usize))
}

pub(crate) fn tcp_finish(_: &RawRequest) {
    state(|state| state.tcp.finish());
}

impl State {
    pub(super) fn granted(&self, name: &str) -> Result<(), String> {
        if self.denied.iter().any(|denied| denied == name) { Err(format!("`{name}` is not granted")) } else { Ok(()) }
    }
}
