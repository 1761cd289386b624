//! Traces: which requests are recorded, and what of them. A request that is not recorded costs the look at
//! its `traceparent`; one that is, a list of spans that are recorded when they end and sent by `export`.

mod context;
mod export;
mod otlp;
mod tries;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use gateway_core::model::{ParentRule, Sampling};
use http::{HeaderMap, HeaderValue};
use tokio::sync::{mpsc, oneshot};

pub use context::TRACEPARENT;
use context::{Context, TRACESTATE, state};
pub use export::{Collector, Refusal, export};
pub use tries::{Tried, Tries};

pub use super::spans::Lost;
use super::spans::TraceMetrics;

/// Traces that wait to be sent. What would be more is dropped, and counted.
const QUEUE: usize = 2048;
/// Spans of one trace. What would be more is dropped, and counted.
const SPANS: usize = 64;
/// The longest text of an attribute, in bytes. Clients send up to 16 KiB of path and more of a field, and every request that
/// waits to be sent keeps them.
const TEXT: usize = 1024;
/// What the semantic conventions call a method that is not among the known ones, of which clients can make up any number.
pub(super) const OTHER: &str = "_OTHER";
/// The methods of RFC 9110, and PATCH of RFC 5789.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// Of a trace's identifier these bits are random for all that is known (W3C Trace Context, Level 2, §3.2.2.3).
const RANDOM_BITS: u32 = 56;

/// Decides which requests are recorded, and hands what was recorded over. One for all workers.
#[derive(Debug)]
pub struct Tracer {
    parent: ParentRule,
    /// Of `RANDOM_BITS`, from where on a trace that begins here is recorded.
    threshold: u64,
    queue: mpsc::Sender<Order>,
    metrics: Arc<TraceMetrics>,
}

/// Commands of the exporter.
#[derive(Debug)]
pub(super) enum Order {
    Send(Box<Finished>),
    /// Answered when all before it has been sent or given up.
    Flush(oneshot::Sender<()>),
}

/// The orders of a tracer, for `export`.
#[derive(Debug)]
pub struct Queue(pub(super) mpsc::Receiver<Order>);

/// A request that is recorded, from its admission to the end of its last observer; sent when the last who has it lets go.
#[derive(Debug)]
pub struct Trace {
    tracer: Arc<Tracer>,
    own: Context,
    parent: Option<u64>,
    state: Option<String>,
    started: Instant,
    at: SystemTime,
    /// The span that the next one is part of.
    current: Cell<u64>,
    spans: RefCell<Vec<Span>>,
    left_out: Cell<u64>,
    served: RefCell<Option<Served>>,
}

/// A part of the work for a request.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// From the trace's beginning, in nanoseconds.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Call(Call),
    Try(Tried),
}

/// A call of a plugin.
#[derive(Debug)]
pub struct Call {
    pub plugin: Box<str>,
    pub phase: &'static str,
    /// It answered the request.
    pub answered: bool,
    /// Why it failed.
    pub failure: Option<&'static str>,
}

/// The whole request, as it ended.
#[derive(Debug)]
pub struct Served {
    pub method: String,
    pub scheme: &'static str,
    pub authority: String,
    /// Without the query, which has secrets more often than not.
    pub path: String,
    pub protocol: &'static str,
    pub client: String,
    pub user_agent: Option<String>,
    pub request_id: String,
    /// Its name and path pattern; none where no route matched.
    pub route: Option<(Arc<str>, String)>,
    pub status: Option<u16>,
    /// `Failure::reason` where the gateway itself answered or gave up.
    pub failure: Option<&'static str>,
    /// And it was not the client's doing.
    pub failed: bool,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// A whole trace, as far as this gateway has a part in it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) own: Context,
    pub(super) parent: Option<u64>,
    pub(super) state: Option<String>,
    /// Since 1970, in nanoseconds.
    pub(super) at: u64,
    pub(super) ended: u64,
    pub(super) served: Served,
    pub(super) spans: Vec<Span>,
}

impl Tracer {
    /// The owner of the queue exports the recorded spans; see `export`.
    pub fn new(sampling: Sampling, metrics: Arc<TraceMetrics>) -> (Arc<Self>, Queue) {
        let (queue, orders) = mpsc::channel(QUEUE);
        let most = (1_u64 << RANDOM_BITS) as f64;
        let threshold = ((1.0 - sampling.ratio.clamp(0.0, 1.0)) * most) as u64;
        (Arc::new(Self { parent: sampling.parent, threshold, queue, metrics }), Queue(orders))
    }

    /// Takes a request into its trace, or into a new one: `traceparent` says so from here on. None if it is not recorded.
    pub fn begin(self: &Arc<Self>, headers: &mut HeaderMap, trusted: bool, started: Instant) -> Option<Rc<Trace>> {
        let believed = match self.parent {
            ParentRule::Any => true,
            ParentRule::Trusted => trusted,
            ParentRule::None => false,
        };
        let parent = if believed { Context::of(headers) } else { None };
        let own = match parent {
            // Who does not record it leaves it as it is (§3.4).
            Some(parent) if !parent.sampled => return None,
            Some(parent) => Context { span: random(), ..parent },
            None => {
                // What vendors said was said of another trace.
                headers.remove(TRACESTATE);
                let trace = u128::from(random()) << 64 | u128::from(random());
                let lot = trace as u64 & ((1 << RANDOM_BITS) - 1);
                Context { trace, span: random(), sampled: lot >= self.threshold }
            }
        };
        // A map that takes no field any more is over every limit.
        let _ = headers.try_insert(TRACEPARENT, own.header());
        own.sampled.then(|| {
            Rc::new(Trace {
                tracer: self.clone(),
                own,
                parent: parent.map(|parent| parent.span),
                state: parent.and_then(|_| state(headers)),
                started,
                at: SystemTime::now().checked_sub(started.elapsed()).unwrap_or(UNIX_EPOCH),
                current: Cell::new(own.span),
                spans: RefCell::default(),
                left_out: Cell::new(0),
                served: RefCell::new(None),
            })
        })
    }

    /// Ends when all that was recorded until now has been sent or given up.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Order::Flush(done)).await.is_ok() {
            // An exporter that has ended has nothing left to send.
            let _ = flushed.await;
        }
    }
}

/// What `traceparent` says in a head; none if it says nothing, or not clearly.
pub fn parent_of(headers: &HeaderMap) -> Option<HeaderValue> {
    Context::of(headers)?;
    headers.get(TRACEPARENT).cloned()
}

/// A plugin's call under way.
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    id: u64,
    parent: u64,
}

impl Trace {
    /// A plugin is called: what is asked of upstreams until `leave` is part of that.
    pub fn enter(&self) -> Entered {
        let id = random();
        Entered { id, parent: self.current.replace(id) }
    }

    /// The plugin was not called after all.
    pub fn pass(&self, entered: Entered) {
        self.current.set(entered.parent);
    }

    /// The plugin's call has ended.
    pub fn leave(&self, entered: Entered, began: Instant, ended: Instant, call: impl FnOnce() -> Call) {
        let Entered { id, parent } = entered;
        self.current.set(parent);
        self.record(id, parent, began, ended, || What::Call(call()));
    }

    /// The request has been answered, or will not be; observers may follow.
    pub fn served(&self, served: impl FnOnce() -> Served) {
        self.served.replace(Some(served()));
    }

    fn record(&self, id: u64, parent: u64, began: Instant, ended: Instant, what: impl FnOnce() -> What) {
        let mut spans = self.spans.borrow_mut();
        if spans.len() >= SPANS {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let since = |at: Instant| nanos(at.saturating_duration_since(self.started));
        spans.push(Span { id, parent, began: since(began), ended: since(ended), what: what() });
    }

    /// What `traceparent` says of what goes on at present.
    pub fn header(&self) -> HeaderValue {
        self.header_of(self.current.get())
    }

    fn header_of(&self, span: u64) -> HeaderValue {
        Context { span, ..self.own }.header()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let Some((served, ended)) = self.served.take().map(|served| (served, self.started.elapsed())) else { return };
        let (spans, metrics) = (self.spans.take(), &self.tracer.metrics);
        metrics.dropped(Lost::Bound, self.left_out.get());
        let (own, parent, state) = (self.own, self.parent, self.state.take());
        let at = nanos(self.at.duration_since(UNIX_EPOCH).unwrap_or_default());
        let count = spans.len() as u64 + 1;
        let finished = Box::new(Finished { own, parent, state, at, ended: nanos(ended), served, spans });
        if self.tracer.queue.try_send(Order::Send(finished)).is_err() {
            metrics.dropped(Lost::Queue, count);
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// As much of a text as an attribute holds.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// The value of a header field as an attribute.
pub fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    // At most three bytes become of one, so that the second cut is needed as well.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]).into_owned();
    text.truncate(bounded(&text).len());
    text
}

/// A path or a method as an attribute.
pub fn clipped(text: &str) -> String {
    bounded(text).to_owned()
}

/// Not 0, which stands for none.
fn random() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests;
