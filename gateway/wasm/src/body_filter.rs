//! A body that a plugin changes as it passes: each chunk goes through a call, and the output of the call is sent on in its place.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use gateway_core::model::Data;
use gateway_http::body::{Body, BodyError, Stopwatch, Traffic};
use gateway_pipeline::{BodyFilter, Exchange, StageFailure};
use gateway_telemetry::metrics::CallPhase;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    bindings::{Chunk, ChunkResult},
    fields,
    instance::Functions,
    own_instance::OwnInstance,
    plugin_state::StreamState,
    pools::Pool,
    services::{LocalFuture, Services},
    stream_calls::{Callee, Caller, StreamCall, StreamFunction, check_state},
};

/// Which message the body belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

impl Direction {
    /// The body, as it is granted.
    pub(super) fn body(self) -> Data {
        match self {
            Self::Request => Data::RequestBody,
            Self::Response => Data::ResponseBody,
        }
    }

    /// The headers of the message, as which its trailers are granted.
    pub(super) fn headers(self) -> Data {
        match self {
            Self::Request => Data::RequestHeaders,
            Self::Response => Data::ResponseHeaders,
        }
    }
}

/// The state that the first chunk gets, if it is not too large.
pub(super) fn initial(state: Vec<u8>) -> Result<StreamState, String> {
    check_state(&state)?;
    Ok(Rc::new(RefCell::new(state)))
}

/// Has a body pass through the plugin; in its instance, if the exchange has one of its own.
pub(super) fn filter(
    direction: Direction,
    state: StreamState,
    own: Option<OwnInstance>,
    exchange: &Exchange,
    pool: &Rc<Pool>,
    services: &Rc<Services>,
) -> BodyFilter {
    let callee = Callee::of(own, exchange, pool, services);
    let limit = exchange.bounds.buffer_bytes;
    let traffic = Rc::clone(&exchange.traffic);
    Box::new(move |inner, calls| {
        Body::Stream(Box::pin(FilteredBody {
            inner,
            direction,
            caller: Rc::new(callee.counted(calls)),
            limit,
            traffic,
            state,
            left: BytesMut::new(),
            min_bytes: 1,
            end: End::Ahead,
            call: Call::None,
            came: HeaderMap::new(),
            trailers: None,
        }))
    })
}

struct FilteredBody {
    inner: Body,
    direction: Direction,
    caller: Rc<Caller>,
    /// Of what the plugin leaves for later.
    limit: usize,
    /// Of the exchange. A failure with a request's body is noted here, because a reader of the body only sees that it ends early.
    traffic: Rc<Traffic>,
    state: StreamState,
    /// What was not consumed, and has come since.
    left: BytesMut,
    /// The plugin has nothing to do with fewer bytes.
    min_bytes: usize,
    end: End,
    call: Call,
    /// The trailers as they came, if the plugin may not write all of them.
    came: HeaderMap,
    /// For the client, when all else is through.
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ahead,
    /// The inner body has ended, and the plugin has not been told.
    Reached,
    /// It has been told, and has said its last.
    Told,
}

type Called = Result<ChunkResult, StageFailure>;

enum Call {
    None,
    Over(Box<Called>),
    Running(LocalFuture<'static, Called>),
}

impl FilteredBody {
    /// Hands over what is there; with the trailers, if that is all.
    fn begin_call(&mut self, end: Option<HeaderMap>) {
        let last = end.is_some();
        let identity = &self.caller.pool.prepared.identity;
        let readable = |trailers| fields::readable(trailers, identity, self.direction.headers());
        let chunk =
            Chunk { state: self.state.borrow().clone(), bytes: self.left.to_vec(), end: end.as_ref().map(readable) };
        if identity.data().is_some() {
            self.came = end.unwrap_or_default();
        }
        if last {
            self.end = End::Told;
        }
        self.stopwatch().start();
        let (caller, call) = (self.caller.clone(), OnChunk(self.direction));
        self.call = match caller.instance_at_once() {
            Some(used) => Call::Over(Box::new(caller.call_at_once(&call, (chunk,), used))),
            None => Call::Running(Box::pin(async move { caller.call_on_fiber(&call, (chunk,)).await })),
        };
    }

    /// Counts the time of its calls. Of several filters of one body, the inner one is not called during a call of the outer one.
    fn stopwatch(&self) -> &Stopwatch {
        match self.direction {
            Direction::Request => &self.traffic.request_filters,
            Direction::Response => &self.traffic.response_filters,
        }
    }

    /// A call that is over, if there was one.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Option<Called>> {
        match std::mem::replace(&mut self.call, Call::None) {
            Call::Over(called) => Poll::Ready(Some(*called)),
            Call::Running(mut call) => match call.as_mut().poll(cx) {
                Poll::Ready(called) => Poll::Ready(Some(called)),
                Poll::Pending => {
                    self.call = Call::Running(call);
                    Poll::Pending
                }
            },
            Call::None => Poll::Ready(None),
        }
    }

    /// Takes over what a call has said.
    fn conclude(&mut self, result: ChunkResult) -> Result<Bytes, String> {
        let ChunkResult { consumed, output, min_bytes, state, trailers } = result;
        let consumed = usize::try_from(consumed).unwrap_or(usize::MAX);
        if consumed > self.left.len() {
            return Err(format!("it consumed {consumed} of {} bytes", self.left.len()));
        }
        let _ = self.left.split_to(consumed);
        if let Some(state) = state {
            check_state(&state)?;
            *self.state.borrow_mut() = state;
        }
        if self.end == End::Told {
            if !self.left.is_empty() {
                return Err(format!("it left {} bytes at the end", self.left.len()));
            }
            let trailers = fields::trailers(trailers).map_err(|error| error.to_string())?;
            let came = std::mem::take(&mut self.came);
            let Pool { prepared, metrics, .. } = &*self.caller.pool;
            let trailers = prepared.identity.granted_trailers(self.direction.headers(), came, trailers, metrics);
            self.trailers = (!trailers.is_empty()).then_some(trailers);
            return Ok(output.into());
        }
        self.min_bytes = usize::try_from(min_bytes).unwrap_or(usize::MAX);
        if self.min_bytes > self.limit {
            return Err(format!("it wants {min_bytes} bytes at once, and may have {}", self.limit));
        }
        if consumed == 0 {
            // Not the same call again.
            self.min_bytes = self.min_bytes.max(self.left.len() + 1);
        }
        Ok(output.into())
    }

    fn fail(&mut self, failure: &str) -> BodyError {
        self.caller.report("a body chunk", failure);
        if self.direction == Direction::Request {
            self.traffic.filter_failed.set(true);
        }
        self.end = End::Told;
        self.left.clear();
        self.call = Call::None;
        self.inner = Body::Empty;
        BodyError::Plugin
    }
}

impl HttpBody for FilteredBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(result) = ready!(this.poll_call(cx)) {
                this.stopwatch().stop();
                let concluded = match result {
                    Ok(result) => this.conclude(result),
                    Err(failure) => {
                        this.caller.calls.failed(failure.kind.counted());
                        Err(failure.detail)
                    }
                };
                match concluded {
                    Ok(output) if output.is_empty() => {}
                    Ok(output) => return Poll::Ready(Some(Ok(Frame::data(output)))),
                    Err(failure) => return Poll::Ready(Some(Err(this.fail(&failure)))),
                }
            }
            match this.end {
                End::Told => {
                    let trailers = this.trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                End::Ahead if !this.left.is_empty() && this.left.len() >= this.min_bytes => {
                    this.begin_call(None);
                    continue;
                }
                End::Ahead => {}
                End::Reached => {
                    this.begin_call(Some(HeaderMap::new()));
                    continue;
                }
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.left.extend_from_slice(&data);
                        if this.left.len() > this.limit.saturating_add(data.len()) {
                            let failure = format!("it leaves more than {} bytes for later", this.limit);
                            return Poll::Ready(Some(Err(this.fail(&failure))));
                        }
                        if this.inner.is_end_stream() {
                            this.end = End::Reached;
                        }
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        this.begin_call(Some(trailers));
                    }
                },
                Some(Err(error)) => {
                    this.end = End::Told;
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.end = End::Reached,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Told && self.trailers.is_none() && !matches!(self.call, Call::Running(_) | Call::Over(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// A call with a chunk.
struct OnChunk(Direction);

impl StreamCall for OnChunk {
    const PHASE: CallPhase = CallPhase::BodyChunk;
    type Params = (Chunk,);
    type Returned = ChunkResult;

    fn function(&self, functions: &Functions) -> Option<StreamFunction<Self>> {
        match self.0 {
            Direction::Request => functions.on_request_chunk,
            Direction::Response => functions.on_response_chunk,
        }
    }

    fn missing(&self) -> &'static str {
        match self.0 {
            Direction::Request => "it returned `stream-body` and exports no `request-stream`",
            Direction::Response => "it returned `stream-body` and exports no `response-stream`",
        }
    }
}
