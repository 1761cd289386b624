//! The body of a message on its way through: nothing, bytes, or a stream that is never collected here.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_core::{
    error::Failure,
    timers::{Timer, Timers},
};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    from_client::{FromClient, Interruption},
    trailers,
};

/// A body that the gateway forwards. Streams are polled only as fast as the receiver takes them.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// What the client sends, metered and limited. Boxed, because most requests have no body, and carry the room for one about.
    Client(Box<Metered>),
    /// What an upstream sends.
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyError {
    /// Over the limit of so many bytes.
    TooLarge(u64),
    /// No byte came within `timeouts.body`.
    Stalled,
    /// It has not ended within the route's `timeouts.total`.
    Overdue,
    /// The client broke off.
    Interrupted(Box<dyn std::error::Error + Send + Sync>),
    /// The upstream broke off.
    Broken(io::Error),
    /// The sender took back what it had begun (RFC 9113 §8.1).
    Withdrawn,
    /// A plugin that changes it as it passes failed.
    Plugin,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "body is over {limit} bytes"),
            Self::Stalled => f.write_str("no further byte of the body came within `timeouts.body`"),
            Self::Overdue => f.write_str("it did not end within `timeouts.total`"),
            Self::Interrupted(_) | Self::Broken(_) => f.write_str("body was interrupted"),
            Self::Withdrawn => f.write_str("body was withdrawn"),
            Self::Plugin => f.write_str("a plugin failed with a part of the body"),
        }
    }
}

impl BodyError {
    /// The failure of an exchange whose response has this body.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Stalled => Failure::UpstreamTimeout,
            Self::Overdue => Failure::TotalTimeout,
            Self::Plugin => Failure::PluginFailed,
            Self::Interrupted(_) | Self::Broken(_) | Self::Withdrawn | Self::TooLarge(_) => Failure::UpstreamClosed,
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Interrupted(error) => Some(&**error),
            Self::Broken(error) => Some(error),
            _ => None,
        }
    }
}

/// How a client's body fared, seen from outside while another task polls it.
#[derive(Default, Debug)]
pub struct Traffic {
    /// Body bytes received from the client.
    pub received: Cell<u64>,
    /// Body bytes handed to the client's connection.
    pub sent: Cell<u64>,
    /// The client's body went over its limit.
    pub overflow: Cell<bool>,
    /// The client's body was malformed.
    pub broken: Cell<bool>,
    /// The client's body broke off: most likely the client has gone.
    pub left: Cell<bool>,
    /// No byte of the client's body came for too long.
    pub stalled: Cell<bool>,
    /// A plugin failed with a chunk of the client's body, which then breaks off.
    pub filter_failed: Cell<bool>,
    /// The client's body is wanted, and has not come yet.
    pub awaited: Cell<bool>,
    /// When a part of the client's body came last, or was first awaited.
    pub moved: Cell<Option<Instant>>,
    /// How long the client may take for each part of its body.
    pub body_timeout: Cell<Duration>,
    /// The client's body has arrived whole.
    pub complete: Cell<bool>,
    /// How long plugins had chunks of the client's body.
    pub request_filters: Stopwatch,
    /// The same for chunks of the response's body.
    pub response_filters: Stopwatch,
    /// A part of the client's body has come that was awaited, and no deadline has taken note of it yet.
    moved_on: Cell<bool>,
    /// The task that a deadline runs in, while the client's body is awaited: another one may read the body.
    watcher: RefCell<Option<Waker>>,
}

/// Adds up times that do not overlap.
#[derive(Debug, Default)]
pub struct Stopwatch {
    spent: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl Stopwatch {
    pub fn start(&self) {
        self.since.set(Some(Instant::now()));
    }

    pub fn stop(&self) {
        if let Some(since) = self.since.take() {
            self.spent.set(self.spent.get() + since.elapsed());
        }
    }

    pub fn is_running(&self) -> bool {
        self.since.get().is_some()
    }

    /// What it shows at a time that is not before the last start.
    pub fn spent(&self, now: Instant) -> Duration {
        let running = self.since.get().map(|since| now.saturating_duration_since(since));
        self.spent.get() + running.unwrap_or_default()
    }
}

impl Traffic {
    /// Body bytes in both directions.
    pub fn moved_bytes(&self) -> u64 {
        self.received.get() + self.sent.get()
    }

    /// A part of the client's body has come, or its end.
    pub fn has_come(&self) {
        self.moved.set(Some(Instant::now()));
        if self.awaited.replace(false) {
            self.moved_on.set(true);
            if let Some(watcher) = self.watcher.take() {
                watcher.wake();
            }
        }
    }

    /// Polls what may wait for the client's body, for a deadline. Also says whether a part that was awaited has come since the last
    /// time, from which the deadline counts anew. When one comes later, the task is woken: so a deadline need not look again
    /// and again.
    pub fn watch<T>(&self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> (Poll<T>, bool) {
        // A part that comes during the poll is noticed below.
        drop(self.watcher.take());
        let polled = poll(cx);
        if polled.is_pending() && self.awaited.get() {
            self.watcher.replace(Some(cx.waker().clone()));
        }
        (polled, self.moved_on.replace(false))
    }

    /// The failure of an exchange in which this one was noticed: it is the client's where the client's body failed, and the plugin's
    /// where a plugin failed with it, since that breaks whatever reads the body.
    pub fn failure_behind(&self, noticed: Failure) -> Failure {
        self.failure().unwrap_or(noticed)
    }

    /// What the request's body has to answer for.
    pub fn failure(&self) -> Option<Failure> {
        if self.overflow.get() {
            Some(Failure::BodyTooLarge)
        } else if self.stalled.get() {
            Some(Failure::BodyTimeout)
        } else if self.broken.get() {
            Some(Failure::MalformedRequest)
        } else if self.left.get() {
            Some(Failure::ClientClosed)
        } else {
            self.filter_failed.get().then_some(Failure::PluginFailed)
        }
    }
}

/// A client's body, counted and cut off at the route's limit.
pub struct Metered {
    inner: FromClient,
    limit: u64,
    traffic: Rc<Traffic>,
    /// Armed while nothing comes.
    stall: Timer,
    /// What had moved when it was armed.
    moved: u64,
    body_timeout: Duration,
    /// The client waits for `100 Continue` before it sends anything (RFC 9110 §10.1.1).
    awaits_continue: bool,
    /// Takes away trailers.
    filter: Option<TrailerFilter>,
}

type TrailerFilter = Box<dyn Fn(&mut HeaderMap)>;

/// The beginning of a client's body, and the rest of it.
struct Begun {
    first: Option<Result<Frame<Bytes>, BodyError>>,
    rest: Box<Metered>,
}

/// A body that is larger than this is not kept to be sent again.
const SMALL: u64 = 64 * 1024;

impl Body {
    /// A client's body; `Empty` where the framing says so, so that nothing is polled for it.
    /// `body_timeout` bounds the time between two parts of it.
    pub fn from_client(
        inner: FromClient,
        limit: u64,
        traffic: Rc<Traffic>,
        timers: &Timers,
        body_timeout: Duration,
        awaits_continue: bool,
    ) -> Self {
        if inner.is_end_stream() {
            traffic.complete.set(true);
            return Self::Empty;
        }
        if inner.size_hint().lower() > limit {
            // Refused without a look at it, once the plugins have had their say about the request.
            traffic.overflow.set(true);
        }
        traffic.body_timeout.set(body_timeout);
        let stall = timers.timer();
        let metered = Metered { inner, limit, traffic, stall, moved: 0, body_timeout, awaits_continue, filter: None };
        Self::Client(Box::new(metered))
    }

    /// Where a client's body is small and all of it has come already, it becomes one that is at hand and can be sent again.
    /// Waits for nothing.
    pub async fn settle(&mut self) {
        if !matches!(self, Self::Client(metered) if metered.may_settle()) {
            return;
        }
        let Self::Client(mut metered) = std::mem::take(self) else { return };
        let first = poll_fn(|cx| Poll::Ready(metered.poll_at_hand(cx))).await;
        *self = match first {
            None => Self::Client(metered),
            Some(None) => Self::Empty,
            Some(Some(Ok(frame))) if frame.is_data() && metered.is_end_stream() => {
                let data = frame.into_data().unwrap_or_default();
                if data.is_empty() { Self::Empty } else { Self::Full(data) }
            }
            Some(first) => Self::Stream(Box::pin(Begun { first, rest: metered })),
        };
    }

    /// Whether the client sends it only once it is asked for it.
    pub fn awaits_continue(&self) -> bool {
        matches!(self, Self::Client(metered) if metered.awaits_continue)
    }

    /// The same body; this may take away some of its trailers.
    pub fn filter_trailers(self, filter: impl Fn(&mut HeaderMap) + Unpin + 'static) -> Self {
        match self {
            // Still a client's body: it can be asked for, or sent again.
            Self::Client(mut metered) => {
                metered.filter = Some(match metered.filter.take() {
                    None => Box::new(filter),
                    Some(first) => Box::new(move |trailers| {
                        first(trailers);
                        filter(trailers);
                    }),
                });
                Self::Client(metered)
            }
            Self::Stream(_) => Self::Stream(Box::pin(Filtered { inner: self, filter })),
            buffered => buffered,
        }
    }

    /// Whether the whole body is at hand.
    pub fn is_buffered(&self) -> bool {
        matches!(self, Self::Empty | Self::Full(_))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes.into()) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut *self {
            Self::Empty => None,
            Self::Full(_) => {
                let Self::Full(bytes) = std::mem::take(&mut *self) else { unreachable!("matched above") };
                Some(Ok(Frame::data(bytes)))
            }
            Self::Client(metered) => ready!(Pin::new(&mut **metered).poll_frame(cx)),
            Self::Stream(stream) => ready!(stream.as_mut().poll_frame(cx)),
        };
        Poll::Ready(frame.map(|frame| frame.map(clean)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Client(metered) => metered.inner.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(metered) => metered.inner.size_hint(),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

struct Filtered<F> {
    inner: Body,
    filter: F,
}

impl<F: Fn(&mut HeaderMap) + Unpin> HttpBody for Filtered<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            (self.filter)(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Metered {
    /// Whether it is small, and to ask for it makes no difference to the client.
    fn may_settle(&self) -> bool {
        !self.awaits_continue
            && (self.inner.is_framed() || self.inner.size_hint().exact().is_some_and(|size| size <= SMALL))
    }

    /// What has come already; none where that is nothing.
    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut *self).poll_frame(cx) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => {
                // It is not waited for yet.
                self.stall.disarm();
                self.traffic.awaited.set(false);
                None
            }
        }
    }
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            None => Pin::new(&mut *self.rest).poll_frame(cx),
            first => Poll::Ready(first),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref()).map_or(0, Bytes::len) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        // The upper bound first: it may not be below the lower one.
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint.set_lower(rest.lower() + first);
        hint
    }
}

fn clean(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        trailers::clean(trailers);
    }
    frame
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.traffic.overflow.get() {
            // Its length was announced: nothing of it is read.
            return Poll::Ready(Some(Err(BodyError::TooLarge(self.limit))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if !self.stall.is_armed() {
                self.stall.arm(self.body_timeout);
                self.moved = self.traffic.moved_bytes();
                self.traffic.moved.set(Some(Instant::now()));
            }
            self.traffic.awaited.set(true);
            ready!(self.stall.poll_expired(cx));
            // A client that is being sent a response may be silent meanwhile, as in a stream in both directions.
            let moved = self.traffic.moved_bytes();
            if std::mem::replace(&mut self.moved, moved) != moved {
                self.stall.arm(self.body_timeout);
                ready!(self.stall.poll_expired(cx));
            }
            self.traffic.stalled.set(true);
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stall.disarm();
        self.traffic.has_come();
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                if let (Some(filter), Some(trailers)) = (&self.filter, frame.trailers_mut()) {
                    filter(trailers);
                }
                if let Some(data) = frame.data_ref() {
                    let received = self.traffic.received.get() + data.len() as u64;
                    self.traffic.received.set(received);
                    if received > self.limit {
                        self.traffic.overflow.set(true);
                        return Poll::Ready(Some(Err(BodyError::TooLarge(self.limit))));
                    }
                }
                // So that no further poll is needed to learn that this was the end.
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.traffic.complete.set(true);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let Interruption { malformed, error } = error;
                let blame = if malformed { &self.traffic.broken } else { &self.traffic.left };
                blame.set(true);
                Some(Err(BodyError::Interrupted(error)))
            }
            None => {
                self.traffic.complete.set(true);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
