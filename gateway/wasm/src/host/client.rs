//! Calls to granted upstreams.

use std::{rc::Rc, time::Duration};

use gateway_pipeline as pipeline;
use gateway_pipeline::is_owned_by_the_gateway;
use gateway_rules::identity::Encoder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use send_wrapper::SendWrapper;
use wasmtime::Result;

use crate::{
    admission::GaveWay,
    bindings::{
        Reply,
        http_client::{Call, CallError, Host},
    },
    identity::{Sha256, sha256},
    instance::state::State,
    pending_call::{Called, PendingCall},
    plugin_state::PluginState,
    services::{self, LocalFuture, UpstreamCall},
};

/// The longest a call may wait, whatever the plugin asks for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Outside of exchanges, which have limits of their own.
const RESPONSE_BYTES: usize = 1024 * 1024;
const HEADERS: usize = 100;
const TARGET_BYTES: usize = 16 * 1024;

impl Host for State {
    async fn send(&mut self, call: Call) -> Result<ReplyResult> {
        SendWrapper::new(send(self, call)).await
    }
}

type ReplyResult = std::result::Result<Reply, CallError>;

/// A call that could be made again from its beginning does not wait for the answer while others wait for its instance. What
/// is sent twice if a plugin does not ask the same when it is called again can be: only idempotent requests give way.
async fn send(state: &mut State, call: Call) -> Result<ReplyResult> {
    if !state.identity.grants.upstreams.allows(&call.upstream) {
        return Ok(Err(CallError::Denied(call.upstream)));
    }
    // A plugin may hand on all that a client may send.
    let (limit, fields) = state
        .exchange()
        .map_or((RESPONSE_BYTES, HEADERS), |exchange| (exchange.bounds.buffer_bytes, exchange.bounds.added_fields));
    let trace = state.exchange().ok().and_then(|exchange| exchange.trace.clone());
    let call = match checked(call, limit, fields) {
        Ok(call) => UpstreamCall { trace, ..call },
        Err(reason) => return Ok(Err(CallError::Invalid(reason))),
    };
    let services = Rc::clone(state.readable()?);
    let Some(contention) = state.may_give_way().filter(|_| call.method.is_idempotent()) else {
        state.has_effect();
        return Ok(answer(&services, call).await);
    };
    let question = state.numbered(identity(&call));
    let own = PluginState::existing(state.exchange()?);
    if let Some(answer) = own.and_then(|own| own.pending.called(&question)) {
        return Ok(answer);
    }
    let mut answer: LocalFuture<'static, _> = Box::pin(async move { answer(&services, call).await });
    // A plugin that asked something else the last time would ask again and again.
    let asked_before = PluginState::existing(state.exchange()?).is_some_and(|own| !own.pending.calls.is_empty());
    let answered = tokio::select! {
        biased;
        answer = &mut answer => Some(answer),
        () = contention.wanted(), if !asked_before => None,
    };
    let Some(answered) = answered else {
        let called = async move { Called { question, answer: answer.await } };
        PluginState::wait_for(state.exchange()?, PendingCall::Call(Box::pin(called)));
        return Err(GaveWay.into());
    };
    state.has_effect();
    Ok(answered)
}

/// The same for the same call; the trace is another one each time.
fn identity(call: &UpstreamCall) -> Sha256 {
    let UpstreamCall { upstream, method, target, headers, body, timeout, limit, trace: _ } = call;
    sha256(|sink| {
        let mut to = Encoder::new("upstream call/1", sink);
        to.text(upstream).text(method.as_str()).text(target.as_str());
        to.number(headers.len() as u64);
        for (name, value) in headers {
            to.text(name.as_str()).bytes(value.as_bytes());
        }
        to.bytes(body).number(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)).number(*limit as u64);
    })
}

async fn answer(services: &services::Services, call: UpstreamCall) -> ReplyResult {
    let upstream = call.upstream.clone();
    let timeout = call.timeout;
    match tokio::time::timeout(timeout, services.upstreams.call(call)).await {
        Ok(Ok(reply)) => Ok(lowered(&reply)),
        Ok(Err(services::CallError::Unknown)) => Err(CallError::Denied(upstream)),
        Ok(Err(services::CallError::Unreachable(reason) | services::CallError::Closed(reason))) => {
            Err(CallError::Unreachable(reason))
        }
        Ok(Err(services::CallError::TooLarge)) => Err(CallError::TooLarge),
        Ok(Err(services::CallError::Timeout)) | Err(_) => Err(CallError::Timeout),
    }
}

fn checked(call: Call, limit: usize, fields: usize) -> std::result::Result<UpstreamCall, String> {
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| "method".to_owned())?;
    if method == Method::CONNECT {
        return Err("method CONNECT".to_owned());
    }
    let target = target(&call.path_with_query)?;
    if call.headers.len() > fields {
        return Err(format!("more than {fields} headers"));
    }
    let mut headers = HeaderMap::with_capacity(call.headers.len());
    for (name, value) in call.headers {
        let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("header name {name:?}"))?;
        if lower == header::HOST || is_owned_by_the_gateway(&lower) {
            return Err(format!("header {lower}: the gateway sets it"));
        }
        let value = HeaderValue::from_bytes(&value).map_err(|_| format!("value of header {lower}"))?;
        headers.append(lower, value);
    }
    let asked = Duration::from_millis(call.timeout_ms.into());
    let timeout = if asked.is_zero() { TIMEOUT } else { asked.min(TIMEOUT) };
    Ok(UpstreamCall {
        upstream: call.upstream,
        method,
        target,
        headers,
        body: call.body.into(),
        timeout,
        limit,
        trace: None,
    })
}

/// A path with query as plugins give it.
pub(crate) fn target(text: &str) -> std::result::Result<PathAndQuery, String> {
    let is_target = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !is_target || text.len() > TARGET_BYTES {
        return Err("path-with-query: it begins with a slash and is plain ASCII".to_owned());
    }
    PathAndQuery::try_from(text).map_err(|error| format!("path-with-query: {error}"))
}

fn lowered(reply: &pipeline::Reply) -> Reply {
    let headers = reply.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Reply { status: reply.status.as_u16(), headers: headers.collect(), body: reply.body.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            upstream: "keys".to_owned(),
            method: "GET".to_owned(),
            path_with_query: "/jwks?x=1".to_owned(),
            headers: vec![("Accept".to_owned(), b"*/*".to_vec())],
            body: Vec::new(),
            timeout_ms: 250,
        }
    }

    #[test]
    fn a_sound_call_is_taken_over() {
        let checked = checked(call(), 10, HEADERS).unwrap();
        assert_eq!(checked.target, "/jwks?x=1");
        assert_eq!(checked.headers["accept"], "*/*");
        assert_eq!(checked.timeout, Duration::from_millis(250));
    }

    #[test]
    fn calls_that_differ_in_anything_are_different_ones() {
        let named = |call| identity(&checked(call, 10, HEADERS).unwrap());
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let calls = [
            call(),
            Call { upstream: "key".to_owned(), ..call() },
            Call { method: "HEAD".to_owned(), ..call() },
            Call { path_with_query: "/jwks?x=12".to_owned(), ..call() },
            Call { headers: vec![], ..call() },
            Call { headers: vec![header("accept", b"*"), header("accept", b"/*")], ..call() },
            Call { headers: vec![header("accep", b"t*/*")], ..call() },
            Call { body: b"1".to_vec(), ..call() },
            Call { timeout_ms: 251, ..call() },
        ];
        for (i, call) in calls.iter().enumerate() {
            assert!(calls[..i].iter().all(|other| named(other.clone()) != named(call.clone())), "{call:?}");
        }
        assert_eq!(named(call()), named(Call { headers: vec![header("ACCEPT", b"*/*")], ..call() }));
        let pinned = "4bfce10003a47c9300c251e3e08d8891c794c9aada8456e105a6deef7ad646bf";
        assert_eq!(named(call()).map(|byte| format!("{byte:02x}")).concat(), pinned);
    }

    #[test]
    fn a_timeout_is_bounded() {
        for timeout_ms in [0, u32::MAX] {
            assert_eq!(checked(Call { timeout_ms, ..call() }, 10, HEADERS).unwrap().timeout, TIMEOUT);
        }
    }

    #[test]
    fn what_could_smuggle_is_refused_and_named() {
        let refused = |call| checked(call, 10, HEADERS).unwrap_err();
        let header = |name: &str, value: &[u8]| Call { headers: vec![(name.to_owned(), value.to_vec())], ..call() };
        assert!(refused(header("Transfer-Encoding", b"chunked")).contains("transfer-encoding"));
        assert!(refused(header("content-length", b"3")).contains("content-length"));
        assert!(refused(header("host", b"elsewhere")).contains("host"));
        assert!(refused(header("x", b"a\r\nb: c")).contains('x'));
        assert!(refused(Call { path_with_query: "http://elsewhere/".to_owned(), ..call() }).contains("path"));
        assert!(refused(Call { path_with_query: "/a b".to_owned(), ..call() }).contains("path"));
        assert!(refused(Call { method: "GET /".to_owned(), ..call() }).contains("method"));
        assert!(refused(Call { method: "CONNECT".to_owned(), ..call() }).contains("CONNECT"));
    }
}
