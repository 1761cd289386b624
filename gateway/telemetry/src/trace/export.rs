//! Sending what was recorded: in batches, with retries for a collector that is temporarily unavailable, and
//! none for one that stays away.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{sync::oneshot, time::Instant};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::Span,
};

use super::{Finished, Lost, Order, Queue, otlp};
use crate::spans::TraceMetrics;

/// Spans that are sent together, nearly: a trace is gathered whole.
const BATCH: usize = 512;
/// The bytes of one request. A collector takes 4 MiB of a message by gRPC if it is not told otherwise, and a proxy before it often
/// 1 MiB. What is larger takes several requests; a single span is far smaller, as its texts are bounded.
const REQUEST_BYTES: usize = 1_000_000;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// Further tries of a batch that the collector could not take, after waits that double from the first.
const RETRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where spans go.
pub trait Collector {
    /// Sends an `ExportTraceServiceRequest`; what comes back is an `ExportTraceServiceResponse`.
    fn take(&self, request: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + '_>>;
}

/// A batch was not taken.
#[derive(Debug)]
pub struct Refusal {
    pub why: String,
    /// It may be sent again as it is (OTLP, "Failures").
    pub retryable: bool,
    /// Less at a time may be taken.
    pub too_large: bool,
    /// Not before.
    pub after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Sends until the tracer is dropped and all is sent.
pub async fn export(
    mut queue: Queue,
    collector: &dyn Collector,
    resource: &[(String, String)],
    metrics: &TraceMetrics,
) {
    let mut exporter = Exporter { collector, resource, metrics, well: true };
    let mut batch: Vec<Finished> = Vec::new();
    let mut flushed: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        let mut spans = 0;
        let mut ended = false;
        let mut until = None;
        while spans < BATCH && flushed.is_empty() {
            let order = match until {
                None => queue.0.recv().await,
                Some(until) => match tokio::time::timeout_at(until, queue.0.recv()).await {
                    Ok(order) => order,
                    Err(_) => break,
                },
            };
            match order {
                Some(Order::Send(finished)) => {
                    spans += finished.spans.len() + 1;
                    batch.push(*finished);
                    until.get_or_insert_with(|| Instant::now() + LINGER);
                }
                Some(Order::Flush(done)) => flushed.push(done),
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if !batch.is_empty() {
            exporter.send(std::mem::take(&mut batch)).await;
        }
        for done in flushed.drain(..) {
            // Who wanted to know may have lost patience.
            let _ = done.send(());
        }
        if ended {
            return;
        }
    }
}

struct Exporter<'a> {
    collector: &'a dyn Collector,
    resource: &'a [(String, String)],
    metrics: &'a TraceMetrics,
    /// The last batch was taken: said in the log once when it changes, not each time.
    well: bool,
}

impl Exporter<'_> {
    /// Sends a batch, in as many requests as its size needs.
    async fn send(&mut self, batch: Vec<Finished>) {
        // The last ones first: what is to be sent next is at the end.
        let mut parts: Vec<Vec<Span>> = Vec::new();
        let mut bytes = REQUEST_BYTES;
        for span in batch.into_iter().flat_map(otlp::spans) {
            // With its tag and its length, as it stands in the request.
            let length = span.encoded_len();
            let length = 1 + prost::length_delimiter_len(length) + length;
            bytes += length;
            match parts.last_mut().filter(|_| bytes <= REQUEST_BYTES) {
                Some(part) => part.push(span),
                None => {
                    bytes = length;
                    parts.push(vec![span]);
                }
            }
        }
        parts.reverse();
        while let Some(mut part) = parts.pop() {
            let request: ExportTraceServiceRequest = otlp::request(part.clone(), self.resource);
            let request = Bytes::from(request.encode_to_vec());
            match self.send_request(&request).await {
                Ok(answer) => self.taken(part.len() as u64, answer),
                Err(refusal) if refusal.too_large && part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(refusal) => {
                    self.metrics.dropped(Lost::Export, part.len() as u64);
                    if std::mem::take(&mut self.well) {
                        tracing::warn!("spans dropped: the collector rejected them: {refusal}");
                    }
                }
            }
        }
    }

    /// Sends a request, again where that may help.
    async fn send_request(&self, request: &Bytes) -> Result<Bytes, Refusal> {
        let mut wait = FIRST_WAIT;
        let mut retries = 0;
        loop {
            match self.collector.take(request.clone()).await {
                Err(refusal) if refusal.retryable && retries < RETRIES => {
                    let asked = refusal.after.unwrap_or_default();
                    // Longer each time and spread, so that a collector that comes back is not met by all gateways at once.
                    tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked).min(LONGEST_WAIT)).await;
                    wait *= 2;
                    retries += 1;
                }
                result => return result,
            }
        }
    }

    fn taken(&mut self, spans: u64, answer: Bytes) {
        // One that says nothing of what it left out took all of it.
        let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
        let rejected =
            partial.as_ref().map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)).min(spans);
        self.metrics.exported(spans - rejected);
        self.metrics.dropped(Lost::Export, rejected);
        match partial.filter(|_| rejected > 0) {
            Some(partial) if std::mem::take(&mut self.well) => {
                tracing::warn!("spans dropped: the collector accepted only some of them: {}", partial.error_message);
            }
            Some(_) => {}
            None if !self.well => {
                self.well = true;
                tracing::info!("the collector accepts spans again");
            }
            None => {}
        }
    }
}
