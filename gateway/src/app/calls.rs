//! The upstreams as plugins call them.

use std::{rc::Rc, time::Instant};

use aws_lc_rs::digest;
use http::HeaderValue;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    http::body::Traffic,
    pipeline::Reply,
    plugin::services::{self, CallError, LocalFuture, UpstreamCall},
    upstream::{self, Outgoing, Patience, Upstreams},
};

/// One worker's upstreams, for its plugins.
pub(super) struct Calls(pub(super) Rc<Upstreams>);

impl services::Upstreams for Calls {
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let upstream = self.0.get(&call.upstream).ok_or(CallError::Unknown)?.clone();
            let (timeout, limit) = (call.timeout, call.limit);
            let exchange = async {
                let outgoing = Outgoing {
                    method: &call.method,
                    target: &call.target,
                    headers: &call.headers,
                    // Nobody's but the endpoint's own.
                    authority: &HeaderValue::from_static(""),
                    upgrade: None,
                    key: None,
                    body: Vec::from(call.body).into(),
                };
                let patience = Patience { since: Instant::now(), response: timeout, body: timeout, whole: None };
                let sent = upstream::send(&upstream, outgoing, &Traffic::default(), patience)
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

    fn fingerprint(&self, upstream: &str) -> Option<String> {
        let model = format!("{:?}", self.0.get(upstream)?.model);
        let digest = digest::digest(&digest::SHA256, model.as_bytes());
        Some(digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}
