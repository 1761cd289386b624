//! Where traces go: a thread of its own that has an upstream like any worker has, so that a slow collector delays no
//! request.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, mpsc as sync_mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gateway_core::{
    model::{OtlpProtocol, Tracing, field_of_secret},
    timers::Timers,
};
use gateway_http::{
    body::{Body, Traffic},
    deadline::{Deadline, Limit},
};
use gateway_telemetry::{
    metrics::{Metrics, PROCESS, TraceMetrics},
    trace::{Collector, Refusal, Tracer, export},
};
use gateway_upstream as upstream;
use gateway_upstream::{Cluster, Deadlines, LoadedCluster, Outgoing, Upstreams};
use gateway_wasm::services::Named;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::task::LocalSet;

/// For one request to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer, which says little.
const ANSWER: usize = 64 * 1024;
/// How often connections that are idle for too long are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// A tracer, and what it was made of.
pub(super) struct Traces {
    settings: Tracing,
    headers: HeaderMap,
    cluster: Arc<Cluster>,
    pub(super) tracer: Arc<Tracer>,
}

/// The tracer of a configuration that is not installed yet.
pub(super) enum LoadedTraces {
    /// The one that is there already: nothing has changed.
    Same(Arc<Traces>),
    New(Box<NewTraces>),
}

/// A tracer with its thread, which has not begun.
pub(super) struct NewTraces {
    settings: Tracing,
    headers: HeaderMap,
    tracer: Arc<Tracer>,
    /// What the thread waits for before it does anything. Dropped, it ends.
    begin: sync_mpsc::Sender<(Arc<Cluster>, Metrics)>,
}

impl LoadedTraces {
    /// Everything that can fail, the thread included.
    pub(super) fn load(
        settings: &Tracing,
        clusters: &[LoadedCluster],
        secrets: &Named,
        old: Option<&Arc<Traces>>,
        counted: Arc<TraceMetrics>,
    ) -> io::Result<Self> {
        let cluster = clusters.iter().find(|cluster| cluster.model.name == settings.collector.name);
        let cluster = cluster.ok_or_else(|| io::Error::other("the collector's upstream is none"))?;
        let headers = headers(settings, secrets)?;
        if let (Some(old), Some(cluster)) = (old, cluster.unchanged())
            && old.settings == *settings
            && old.headers == headers
            && Arc::ptr_eq(&old.cluster, cluster)
        {
            return Ok(Self::Same(old.clone()));
        }
        let (tracer, queue) = Tracer::new(settings.sampling, counted.clone());
        let (theirs, fields) = (settings.clone(), headers.clone());
        let (begin, begun) = sync_mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // It ends when the last who has the tracer lets go and what was recorded is sent.
        thread::Builder::new().name("traces".to_owned()).spawn(move || {
            let Ok((of, metrics)) = begun.recv() else { return };
            LocalSet::new().block_on(&runtime, async move {
                let upstreams = Upstreams::new([&of], None, &Timers::default(), &metrics, PROCESS);
                let resource = theirs.resource.clone();
                let sender = Sender { upstreams: Rc::new(upstreams), settings: theirs, headers: fields };
                let upstreams = sender.upstreams.clone();
                let housekeeping = async {
                    loop {
                        // The time between two looks is what `close_idle` counts by.
                        tokio::time::sleep(HOUSEKEEPING).await;
                        upstreams.close_idle(HOUSEKEEPING);
                    }
                };
                tokio::select! {
                    () = export(queue, &sender, &resource, &counted) => {}
                    () = housekeeping => {}
                }
            });
        })?;
        Ok(Self::New(Box::new(NewTraces { settings: settings.clone(), headers, tracer, begin })))
    }

    /// `clusters` are those of the same configuration.
    pub(super) fn install(self, clusters: &[Arc<Cluster>], metrics: &Metrics) -> Option<Arc<Traces>> {
        match self {
            Self::Same(traces) => Some(traces),
            Self::New(new) => {
                let NewTraces { settings, headers, tracer, begin } = *new;
                let cluster = clusters.iter().find(|cluster| cluster.model.name == settings.collector.name)?.clone();
                // The thread waits for it, and for nothing else.
                let _ = begin.send((cluster.clone(), metrics.clone()));
                Some(Arc::new(Traces { settings, headers, cluster, tracer }))
            }
        }
    }
}

/// What goes with each request.
fn headers(settings: &Tracing, secrets: &Named) -> io::Result<HeaderMap> {
    let kind = match settings.protocol {
        OtlpProtocol::Grpc => "application/grpc",
        OtlpProtocol::Http => "application/x-protobuf",
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("gateway/", env!("CARGO_PKG_VERSION"))));
    for (name, secret) in &settings.headers {
        let value = secrets.get(secret).map(|bytes| &bytes[..]).unwrap_or_default();
        headers.insert(name.clone(), field_of_secret(name, secret, value).map_err(io::Error::other)?);
    }
    Ok(headers)
}

struct Sender {
    upstreams: Rc<Upstreams>,
    settings: Tracing,
    headers: HeaderMap,
}

impl Collector for Sender {
    fn take(&self, request: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + '_>> {
        let answer = async move {
            let asked = tokio::time::timeout(EXPORT_TIMEOUT, self.ask(request)).await;
            asked.unwrap_or_else(|_| Err(again(format!("no whole answer within {EXPORT_TIMEOUT:?}"))))
        };
        Box::pin(answer)
    }
}

impl Sender {
    async fn ask(&self, request: Bytes) -> Result<Bytes, Refusal> {
        let upstream = self.upstreams.get(&self.settings.collector.name);
        let upstream = upstream.ok_or_else(|| again("it is no upstream any more".to_owned()))?;
        let is_grpc = self.settings.protocol == OtlpProtocol::Grpc;
        let body = if is_grpc { framed(&request) } else { request };
        let outgoing = Outgoing {
            method: &Method::POST,
            target: &self.settings.target,
            headers: &self.headers,
            forwarding: None,
            // The endpoint's own.
            authority: &HeaderValue::from_static(""),
            upgrade: None,
            key: None,
            private: None,
            interim: None,
            body: Body::Full(body),
            tries: None,
        };
        let since = Instant::now();
        let response = Deadline { name: Limit::Call, ..Deadline::new(since, Some(EXPORT_TIMEOUT)) };
        let deadlines = Deadlines { since, response, body: EXPORT_TIMEOUT, total: None };
        let sent = upstream::send(upstream, outgoing, &Rc::<Traffic>::default(), deadlines).await;
        let sent = sent.map_err(|refused| match refused.cause.as_str() {
            "" => Refusal { after: refused.retry_after, ..again(refused.failure.reason().to_owned()) },
            cause => Refusal { after: refused.retry_after, ..again(cause.to_owned()) },
        })?;
        let (status, headers) = (sent.response.status, sent.response.headers);
        let answer = Limited::new(sent.body, ANSWER).collect().await.map_err(|error| again(error.to_string()))?;
        let trailers = answer.trailers().cloned();
        let answer = answer.to_bytes();
        if !status.is_success() {
            return Err(refused(status, &headers));
        }
        if !is_grpc {
            return Ok(answer);
        }
        let said = |name: &str| {
            let value = trailers.as_ref().and_then(|trailers| trailers.get(name)).or_else(|| headers.get(name));
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        match said("grpc-status").as_deref() {
            Some("0") => Ok(unframed(answer)),
            code => {
                let message = said("grpc-message").unwrap_or_default();
                let why = format!("gRPC status {} {message}", code.unwrap_or("missing"));
                // OTLP, "Failures": cancelled, deadline exceeded, aborted, out of range, unavailable, data loss. Of a resource that
                // is exhausted the details say when it will not be; without them the message is larger than the collector takes.
                let exhausted = code == Some("8");
                let recovers = exhausted && said("grpc-status-details-bin").is_some();
                let retryable = recovers || matches!(code, Some("1" | "4" | "10" | "11" | "14" | "15"));
                let too_large = exhausted && !recovers;
                Err(Refusal { why: why.trim_end().to_owned(), retryable, too_large, after: None })
            }
        }
    }
}

/// It may be different another time.
fn again(why: String) -> Refusal {
    Refusal { why, retryable: true, too_large: false, after: None }
}

/// OTLP/HTTP, "Retryable Response Codes".
fn refused(status: StatusCode, headers: &HeaderMap) -> Refusal {
    let retryable = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let too_large = status == StatusCode::PAYLOAD_TOO_LARGE;
    Refusal { why: format!("HTTP status {status}"), retryable, too_large, after: after.map(Duration::from_secs) }
}

/// A message with its length before it, not compressed (gRPC over HTTP/2, "Length-Prefixed-Message").
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The first message; nothing if it is not whole, or compressed, which was not asked for.
fn unframed(mut answer: Bytes) -> Bytes {
    if answer.len() < 5 || answer.get_u8() != 0 {
        return Bytes::new();
    }
    let length = answer.get_u32() as usize;
    if length > answer.len() { Bytes::new() } else { answer.split_to(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_of_its_frame_as_it_went_in() {
        assert_eq!(unframed(framed(b"spans")), "spans");
        for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x05span", b"\x01\0\0\0\x05spans"] {
            assert_eq!(unframed(Bytes::from_static(broken)), "", "{broken:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let refused = |status: u16| refused(StatusCode::from_u16(status).unwrap(), &HeaderMap::new()).retryable;
        assert!([429, 502, 503, 504].into_iter().all(refused));
        assert!(![400, 401, 404, 413, 500].into_iter().any(refused));
    }
}
