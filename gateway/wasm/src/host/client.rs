//! Calls to granted upstreams.

use std::{rc::Rc, time::Duration};

use gateway_pipeline as pipeline;
use gateway_pipeline::is_owned_by_the_gateway;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        PendingCallHandle, Reply,
        http_client::{Call, CallError, Host, HostPendingCall},
    },
    instance::{handles::PendingCall, state::State},
    services::{self, UpstreamCall},
};

/// The longest a call may wait, whatever the plugin asks for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Outside of exchanges, which have limits of their own.
const RESPONSE_BYTES: usize = 1024 * 1024;
const HEADERS: usize = 100;
const TARGET_BYTES: usize = 16 * 1024;

impl Host for State {
    /// Without a grant: with one, calls run on fibers.
    fn send(&mut self, call: Call) -> Result<ReplyResult> {
        Ok(Err(CallError::Denied(call.upstream)))
    }

    fn start(&mut self, call: Call) -> Result<std::result::Result<Resource<PendingCallHandle>, CallError>> {
        Ok(match self.checked_call(call)? {
            Ok(_) if !self.is_configured => Err(not_yet()),
            Ok(_) if !self.pending_calls().has_room() => {
                Err(CallError::Other("too many calls are in progress".to_owned()))
            }
            Ok(call) => {
                let services = Rc::clone(self.services()?);
                let task = tokio::task::spawn_local(async move { answer(&services, call).await });
                Ok(Resource::new_own(self.pending_calls().add(PendingCall::new(task))))
            }
            Err(error) => Err(error),
        })
    }
}

impl HostPendingCall for State {
    /// Without a grant no call was started.
    fn wait(&mut self, _: Resource<PendingCallHandle>) -> Result<ReplyResult> {
        Ok(Err(returned_before()))
    }

    fn drop(&mut self, call: Resource<PendingCallHandle>) -> Result<()> {
        self.pending_calls().take(call.rep());
        Ok(())
    }
}

/// Each instance is configured, on demand: no call waits for that of another one.
fn not_yet() -> CallError {
    CallError::Unreachable("upstreams are not called while a plugin is configured".to_owned())
}

fn returned_before() -> CallError {
    CallError::Other("the response was returned before, or the phase has ended".to_owned())
}

type ReplyResult = std::result::Result<Reply, CallError>;

impl State {
    /// Sends a request and waits for the whole response.
    pub(super) async fn call_upstream(&mut self, call: Call) -> Result<ReplyResult> {
        let call = match self.checked_call(call)? {
            Ok(call) => call,
            Err(error) => return Ok(Err(error)),
        };
        if !self.is_configured {
            return Ok(Err(not_yet()));
        }
        let services = Rc::clone(self.services()?);
        Ok(answer(&services, call).await)
    }

    pub(super) async fn wait_for_call(&mut self, call: Resource<PendingCallHandle>) -> Result<ReplyResult> {
        Ok(match self.pending_calls().take(call.rep()) {
            Some(call) => call.wait().await,
            None => Err(returned_before()),
        })
    }

    fn checked_call(&mut self, call: Call) -> Result<std::result::Result<UpstreamCall, CallError>> {
        if !self.identity.grants.upstreams.allows(&call.upstream) {
            return Ok(Err(CallError::Denied(call.upstream)));
        }
        // A plugin may hand on all that a client may send.
        let (limit, fields) = self
            .exchange()
            .map_or((RESPONSE_BYTES, HEADERS), |exchange| (exchange.bounds.buffer_bytes, exchange.bounds.added_fields));
        let trace = self.exchange().ok().and_then(|exchange| exchange.trace.clone());
        let call = checked(call, limit, fields);
        Ok(call.map(|call| UpstreamCall { trace, ..call }).map_err(CallError::Invalid))
    }
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
