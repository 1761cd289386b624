//! Calls to granted upstreams.

use std::{rc::Rc, time::Duration};

use gateway_pipeline as pipeline;
use gateway_rules::call::{self, CallHead};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        PendingCallHandle, Reply,
        http_client::{Call, CallError, Host, HostPendingCall},
    },
    instance::{handles::PendingCall, state::State},
    services::{self, UpstreamCall},
};

/// Of a response's body, or of what a TCP upstream is sent and answers, in calls without an exchange: those with chunks and those
/// of timers. Exchanges have limits of their own.
pub(super) const BYTES_WITHOUT_EXCHANGE: usize = 1024 * 1024;
const HEADERS: usize = 100;

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
        let (limit, fields) = self.exchange().map_or((BYTES_WITHOUT_EXCHANGE, HEADERS), |exchange| {
            (exchange.bounds.buffer_bytes, exchange.bounds.added_fields)
        });
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
    let lines = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let CallHead { method, target, headers } = call::checked(&call.method, &call.path_with_query, lines, fields)?;
    Ok(UpstreamCall {
        upstream: call.upstream,
        method,
        target,
        headers,
        body: call.body.into(),
        timeout: call::timeout(Duration::from_millis(call.timeout_ms.into())),
        limit,
        trace: None,
    })
}

fn lowered(reply: &pipeline::Reply) -> Reply {
    let headers = reply.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Reply { status: reply.status.as_u16(), headers: headers.collect(), body: reply.body.to_vec() }
}
