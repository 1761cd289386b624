//! The functions of the host, answered by the fake that the running test has entered.

use std::{cell::RefCell, rc::Rc, time::Duration};

use gateway_rules::{
    bounds::{Bounds, Received},
    call as rules, selection,
};

use super::{
    LogLine, State, TestHost,
    data_grants::{Data, DataAccess, HOST, PATH, may, may_with_all},
    streams::checked_trailers,
};
use crate::{
    Body, BodyError, EditError, Item, Reply,
    cache::{CacheError, Entry, LockResult, Part, Stored},
    crypto::PasswordError,
    documents::{Document, DocumentError, Source},
    files::FileError,
    http_client::{Call, CallError},
    log::Level,
    secrets::SecretError,
    sinks::SinkError,
    store::{Operation, OperationResult, Quota, Scope, Step, StoreError, SwapResult, Verdict, millis},
    tcp::{Message, TcpError},
    upstreams::UpstreamError,
};

pub(crate) use super::{
    crypto,
    edits::{RawEdits, apply_edits, edits},
    head::{RawRequest, RawResponse},
    leases::{store_acquire, store_release, store_renew, store_wait_for_lease},
    tcp::RawConnection,
};

/// Of a batch.
const MAX_OPERATIONS: usize = 64;
/// Of a plugin, at a time.
const MAX_PENDING_CALLS: usize = 16;

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

/// The same, if there is a current host.
pub(super) fn current_state<T>(f: impl FnOnce(&mut State) -> T) -> Option<T> {
    let host = CURRENT.with_borrow(Clone::clone)?;
    let result = f(&mut host.0.borrow_mut());
    Some(result)
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

/// Whether the plugin may replace a body by this one.
fn check_replacement(body: Data, trailers: Data, with: &Body) -> Result<(), BodyError> {
    if !may(body, DataAccess::Write, "") {
        return Err(BodyError::Unavailable);
    }
    match with.trailers.iter().find(|(name, _)| !may(trailers, DataAccess::Write, name)) {
        Some((name, _)) => Err(BodyError::Invalid(format!("trailer {name} is not granted"))),
        None => Ok(()),
    }
}

/// Whether it sees by path and host what a request is for: otherwise all requests of a route have the same key.
fn check_telling_apart() -> Result<(), CacheError> {
    let can = [PATH, HOST].into_iter().all(|name| may(Data::RequestHeaders, DataAccess::Read, name));
    if can { Ok(()) } else { Err(CacheError::Unavailable) }
}

/// Whether it may make another response of a stored one.
fn check_responding() -> Result<(), CacheError> {
    let can = may_with_all(Data::ResponseHeaders, DataAccess::Write) && may(Data::ResponseBody, DataAccess::Write, "");
    if can { Ok(()) } else { Err(CacheError::Unavailable) }
}

pub(crate) fn replace_request_body(request: &RawRequest, body: Body) -> Result<(), BodyError> {
    check_replacement(Data::RequestBody, Data::RequestHeaders, &body)?;
    request.check_body(&body.bytes).map_err(BodyError::TooLarge)?;
    let trailers = checked_trailers(body.trailers).map_err(BodyError::Invalid)?;
    request.replace_body(Body { bytes: body.bytes, trailers }).map_err(|_| BodyError::Unavailable)
}

pub(crate) fn replace_response_body(response: &RawResponse, body: Body) -> Result<(), BodyError> {
    check_replacement(Data::ResponseBody, Data::ResponseHeaders, &body)?;
    response.check_body(&body.bytes).map_err(BodyError::TooLarge)?;
    let trailers = checked_trailers(body.trailers).map_err(BodyError::Invalid)?;
    response.replace_body(Body { bytes: body.bytes, trailers }).map_err(|_| BodyError::Unavailable)
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
    state(|state| state.metrics.add(counter, by, labels));
}

pub(crate) fn metric_set_gauge(gauge: &str, value: f64, labels: &[(&str, &str)]) {
    state(|state| state.metrics.set_gauge(gauge, value, labels));
}

pub(crate) fn metric_add_to_gauge(gauge: &str, by: f64, labels: &[(&str, &str)]) {
    state(|state| state.metrics.add_to_gauge(gauge, by, labels));
}

pub(crate) fn metric_observe(histogram: &str, value: f64, labels: &[(&str, &str)]) {
    state(|state| state.metrics.observe(histogram, value, labels));
}

/// Runs a step of the store, if it is granted and reachable.
pub(super) fn stored<T>(
    bucket: &str,
    step: impl FnOnce(&mut super::store::Store, Duration) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    current().reach(bucket);
    state(|state| {
        state.granted(bucket).map_err(StoreError::Denied)?;
        state.reach_bucket(bucket)?;
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

pub(crate) fn store_compare_and_swap(
    bucket: &str,
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
    ttl_ms: Option<u64>,
) -> Result<SwapResult, StoreError> {
    stored(bucket, |store, now| store.compare_and_swap(bucket, key, expected, value, ttl_ms, now))
}

pub(crate) fn store_set_ttl(bucket: &str, key: &str, ttl_ms: Option<u64>) -> Result<bool, StoreError> {
    stored(bucket, |store, now| store.set_ttl(bucket, key, ttl_ms, now))
}

pub(crate) fn store_batch(
    bucket: &str,
    operations: &[Operation],
) -> Result<Vec<Result<OperationResult, StoreError>>, StoreError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(StoreError::TooLarge);
    }
    let results = operations.iter().map(|operation| match operation {
        Operation::Get { key } => store_get(bucket, key).map(OperationResult::Value),
        Operation::Set { key, value, ttl } => {
            store_set(bucket, key, value, ttl.map(millis)).map(|()| OperationResult::Done)
        }
        Operation::Delete { key } => store_delete(bucket, key).map(|()| OperationResult::Done),
        Operation::Increment { key, by, ttl } => {
            store_increment(bucket, key, *by, ttl.map(millis)).map(OperationResult::Sum)
        }
        Operation::CompareAndSwap { key, expected, value, ttl } => {
            store_compare_and_swap(bucket, key, expected.as_deref(), value.as_deref(), ttl.map(millis))
                .map(OperationResult::Swap)
        }
        Operation::SetTtl { key, ttl } => store_set_ttl(bucket, key, ttl.map(millis)).map(OperationResult::Exists),
    });
    Ok(results.collect())
}

pub(crate) fn store_take(bucket: &str, key: &str, quota: &Quota, cost: u32) -> Result<Verdict, StoreError> {
    stored(bucket, |store, now| store.take(bucket, key, quota, cost, now))
}

pub(crate) fn store_take_all(
    bucket: &str,
    group: &str,
    steps: &[Step],
    scope: Scope,
) -> Result<Vec<Verdict>, StoreError> {
    match scope {
        Scope::Shared => stored(bucket, |store, now| store.take_all(bucket, group, steps, now)),
        Scope::Local => state(|state| {
            state.granted(bucket).map_err(StoreError::Denied)?;
            state.local_store.take_all(bucket, group, steps, state.now)
        }),
    }
}

pub(crate) fn send(call: Call) -> Result<Reply, CallError> {
    let (response, ready) = answered(call)?;
    wait_until(ready);
    response
}

/// The response of an upstream, and when it is there.
type Answered = (Result<Reply, CallError>, Duration);

fn answered(call: Call) -> Result<Answered, CallError> {
    let host = current();
    host.0.borrow().granted(&call.upstream).map_err(CallError::Denied)?;
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let most = Bounds::new(Received::default()).added_fields;
    rules::checked(&call.method, &call.path_with_query, headers, most).map_err(CallError::Invalid)?;
    if host.0.borrow().configuring {
        return Err(CallError::Unreachable("upstreams are not called while a plugin is configured".to_owned()));
    }
    let timeout = rules::timeout(call.timeout);
    host.0.borrow_mut().calls.push(call.clone());
    host.reach(&call.upstream);
    let (set, begun, delay) = {
        let state = host.0.borrow();
        (state.set_answer_of(&call.upstream), state.now, state.delay_of(&call.upstream))
    };
    let response = match set {
        Some(answer) => answer,
        None => {
            // Out of the state while it runs: it may ask the host itself.
            let answer = host.0.borrow_mut().answer.take();
            match answer {
                None => Err(CallError::Unreachable("no answer given by the test".to_owned())),
                Some(mut answer) => {
                    let result = answer(&call);
                    host.0.borrow_mut().answer.get_or_insert(answer);
                    result
                }
            }
        }
    };
    if delay > timeout { Ok((Err(CallError::Timeout), begun + timeout)) } else { Ok((response, begun + delay)) }
}

/// Moves the clock on to this time, unless it is over.
fn wait_until(time: Duration) {
    state(|state| state.now = state.now.max(time));
}

/// A call whose response is there already, or will be at a time.
pub(crate) struct RawPendingCall {
    response: Result<Reply, CallError>,
    ready: Duration,
    _pending: Rc<()>,
}

/// The test answers at once; the plugin sees it when it waits.
pub(crate) fn start(call: Call) -> Result<RawPendingCall, CallError> {
    let pending = state(|state| {
        state.granted(&call.upstream).map_err(CallError::Denied)?;
        if Rc::strong_count(&state.pending_calls) > MAX_PENDING_CALLS {
            return Err(CallError::Other("too many calls are in progress".to_owned()));
        }
        Ok(Rc::clone(&state.pending_calls))
    })?;
    let (response, ready) = answered(call)?;
    Ok(RawPendingCall { response, ready, _pending: pending })
}

pub(crate) fn wait_for_call(call: &RawPendingCall) -> Result<Reply, CallError> {
    wait_until(call.ready);
    call.response.clone()
}

pub(crate) fn select_upstream(request: &RawRequest, name: &str) -> Result<(), UpstreamError> {
    state(|state| state.granted(name)).map_err(|_| UpstreamError::Denied(name.to_owned()))?;
    request.select_upstream(name).map_err(|_| UpstreamError::Unavailable)
}

/// At once: nothing else is waiting in a test.
pub(crate) fn verify_password(hash: &str, password: &[u8], _: Duration) -> Result<bool, PasswordError> {
    if state(|state| state.passwords_busy) {
        return Err(PasswordError::Busy);
    }
    crypto::check_password_hash(hash)?;
    if state(|state| state.configuring) {
        return Err(PasswordError::Busy);
    }
    Ok(crypto::verify_password(hash, password))
}

pub(crate) fn document(source: &Source, known: u64, force_refresh: bool) -> Result<Option<Document>, DocumentError> {
    state(|state| state.granted(&source.upstream)).map_err(DocumentError::Denied)?;
    if state(|state| state.configuring) {
        return Err(DocumentError::Unavailable("not in `configure`".to_owned()));
    }
    if state(|state| state.documents.is_due(source, known, force_refresh, state.now)) {
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
/// Whether the plugin can read what decides about storing a response, and for which requests it is chosen.
fn check_deciding(response: &super::head::ResponseHead) -> Result<(), CacheError> {
    let of_response = ["cache-control", "set-cookie", "vary"].into_iter();
    let mut of_response = of_response.filter(|name| response.headers.contains_key(*name));
    let vary = response.headers.get_all("vary").iter().filter_map(|line| line.to_str().ok());
    let mut of_request = vary.flat_map(|line| line.split(',')).map(str::trim).chain(["cookie"]);
    let can = of_response.all(|name| may(Data::ResponseHeaders, DataAccess::Read, name))
        && of_request.all(|name| may(Data::RequestHeaders, DataAccess::Read, name));
    if can { Ok(()) } else { Err(CacheError::Unavailable) }
}

pub(crate) fn cache_find(
    request: &RawRequest,
    bucket: &str,
    key: &str,
    _shared: bool,
) -> Result<Vec<Stored>, CacheError> {
    check_telling_apart()?;
    check_responding()?;
    cached(bucket, |cache, now| cache.find(&mut request.0.borrow_mut(), bucket, key, now))
}

pub(crate) fn cache_keep(
    request: &RawRequest,
    response: &RawResponse,
    bucket: &str,
    key: &str,
    entry: Entry,
) -> Result<(), CacheError> {
    check_telling_apart()?;
    check_deciding(&response.0.borrow())?;
    cached(bucket, |cache, now| cache.keep(&request.0.borrow(), &response.0.borrow(), bucket, key, entry, now))
}

pub(crate) fn cache_forget(bucket: &str, key: &str) -> Result<(), CacheError> {
    cached(bucket, |cache, _| cache.forget(bucket, key))
}

pub(crate) fn cache_lock(request: &RawRequest, bucket: &str, key: &str, _: Duration) -> Result<LockResult, CacheError> {
    cached(bucket, |cache, now| cache.lock(&mut request.0.borrow_mut(), bucket, key, now))
}

pub(crate) fn cache_release(_: &RawRequest, bucket: &str, key: &str, time: Duration) -> Result<(), CacheError> {
    cached(bucket, |cache, now| cache.release(bucket, key, time, now))
}

pub(crate) fn cache_renew(request: &RawRequest, bucket: &str, key: &str) -> Result<bool, CacheError> {
    cached(bucket, |cache, _| cache.renew(&request.0.borrow(), bucket, key))
}

pub(crate) fn cache_answer(request: &RawRequest, id: u32, part: Part) -> Result<(), CacheError> {
    check_responding()?;
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
    check_responding()?;
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
    check_telling_apart()?;
    check_deciding(&response.0.borrow())?;
    state(|state| state.cache.freshen(&mut request.0.borrow_mut(), &response.0.borrow(), id, entry, state.now))
}

pub(crate) fn cache_is_renewal(request: &RawRequest) -> bool {
    request.0.borrow().cache.renewal
}

pub(crate) fn cache_remember(request: &RawRequest, memo: &[u8]) -> Result<(), CacheError> {
    request.0.borrow_mut().cache.remember(memo)
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

pub(crate) fn tcp_send(message: Message) -> Result<RawConnection, TcpError> {
    let host = current();
    let limit = {
        let state = host.0.borrow();
        state.granted(&message.upstream).map_err(|_| TcpError::Denied(message.upstream.clone()))?;
        if state.configuring {
            return Err(TcpError::Unavailable);
        }
        state.tcp.check(&message, state.buffer_bytes)?;
        state.buffer_bytes
    };
    // Out of the state while it runs: it may ask the host itself.
    let answering = host.0.borrow_mut().tcp.answering.take();
    let Some(mut answering) = answering else {
        return Err(TcpError::Unreachable("no answer given by the test".to_owned()));
    };
    let answer = answering(&message);
    let mut state = host.0.borrow_mut();
    state.tcp.answering.get_or_insert(answering);
    match answer {
        Ok(answer) => state.tcp.connect(message, answer, limit),
        Err(error) => {
            state.tcp.messages.push(message);
            Err(error)
        }
    }
}

pub(crate) fn tcp_receive(connection: &RawConnection, min_bytes: u32) -> Result<Vec<u8>, TcpError> {
    connection.receive(min_bytes as usize)
}

pub(crate) fn tcp_release(_: RawConnection) {
    state(|state| state.tcp.released += 1);
}

impl State {
    pub(super) fn granted(&self, name: &str) -> Result<(), String> {
        if self.denied.iter().any(|denied| denied == name) { Err(format!("`{name}` is not granted")) } else { Ok(()) }
    }
}
