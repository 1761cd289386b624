//! The upstreams as plugins call them.

use std::{rc::Rc, time::Instant};

use gateway_http::{
    body::Traffic,
    deadline::{Deadline, Limit},
};
use gateway_pipeline::Reply;
use gateway_telemetry::trace::{TRACEPARENT, Tries};
use gateway_upstream as upstream;
use gateway_upstream::{
    Deadlines, Outgoing, Upstreams,
    tcp::{self, Silence},
};
use gateway_wasm::services::{self, CallError, Conversing, LocalFuture, UpstreamCall};
use http::HeaderValue;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// One worker's upstreams, for its plugins.
pub(super) struct Calls(pub(super) Rc<Upstreams>);

impl services::Upstreams for Calls {
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let mut call = call;
            let tries = call.trace.as_ref().map(Tries::of);
            if let Some(tries) = &tries {
                // Each try says it anew.
                call.headers.entry(TRACEPARENT).or_insert_with(|| tries.parent());
            }
            let upstream = self.0.get(&call.upstream).filter(|u| !u.is_tcp()).ok_or(CallError::Unknown)?.clone();
            let (timeout, limit) = (call.timeout, call.limit);
            let exchange = async {
                let outgoing = Outgoing {
                    method: &call.method,
                    target: &call.target,
                    headers: &call.headers,
                    forwarding: None,
                    // Nobody's but the endpoint's own.
                    authority: &HeaderValue::from_static(""),
                    upgrade: None,
                    key: None,
                    private: None,
                    interim: None,
                    body: Vec::from(call.body).into(),
                    tries,
                };
                let since = Instant::now();
                let response = Deadline { name: Limit::Call, ..Deadline::new(since, Some(timeout)) };
                let deadlines = Deadlines { since, response, body: timeout, total: None };
                let sent = upstream::send(&upstream, outgoing, &Rc::<Traffic>::default(), deadlines)
                    .await
                    .map_err(|refused| CallError::Unreachable(refused.cause))?;
                // One that announces too much is not waited for.
                if sent.body.size_hint().lower() > limit as u64 {
                    return Err(CallError::TooLarge);
                }
                let body = Limited::new(sent.body, limit).collect().await.map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        CallError::TooLarge
                    } else {
                        CallError::Unreachable(error.to_string())
                    }
                })?;
                Ok(Reply { status: sent.response.status, headers: sent.response.headers, body: body.to_bytes() })
            };
            tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(CallError::Timeout))
        })
    }

    fn takes_requests(&self, upstream: &str) -> bool {
        self.0.get(upstream).is_some_and(|upstream| !upstream.is_tcp())
    }

    fn converse(
        &self,
        upstream: &str,
        opening: services::Opening,
    ) -> Result<LocalFuture<'static, Conversing>, CallError> {
        let upstream = self.0.get(upstream).filter(|upstream| upstream.is_tcp()).ok_or(CallError::Unknown)?.clone();
        let services::Opening { bytes, wants, limit, until, repeatable, trace } = opening;
        let tries = trace.as_ref().map(Tries::of);
        let opening = tcp::Opening { bytes, wants, limit, until, repeatable, tries };
        Ok(Box::pin(async move {
            let conversation = tcp::Conversation::open(upstream, opening).await.map_err(call_error)?;
            Ok(Box::new(Talk(conversation)) as Box<dyn services::Conversation>)
        }))
    }

    fn fingerprint(&self, upstream: &str) -> Option<String> {
        let upstream = self.0.get(upstream)?;
        let mut encoded = Vec::new();
        upstream.model.identity(upstream.certificates(), &mut |bytes| encoded.extend_from_slice(bytes));
        Some(gateway_wasm::sha256(&encoded))
    }
}

/// A conversation as plugins have it.
struct Talk(tcp::Conversation);

impl services::Conversation for Talk {
    fn heard(&self) -> &[u8] {
        self.0.heard()
    }

    fn hear(&mut self, wants: usize) -> LocalFuture<'_, Result<(), CallError>> {
        Box::pin(async move { self.0.hear(wants).await.map_err(call_error) })
    }

    fn finish(self: Box<Self>) {
        self.0.finish();
    }
}

fn call_error(silence: Silence) -> CallError {
    match silence {
        Silence::Refused(refused) if refused.cause.is_empty() => {
            CallError::Unreachable(refused.failure.reason().to_owned())
        }
        Silence::Refused(refused) => CallError::Unreachable(refused.cause),
        Silence::Timeout => CallError::Timeout,
        Silence::Closed(how) => CallError::Closed(how),
        Silence::TooLarge => CallError::TooLarge,
    }
}
