//! A body that a plugin changes as it passes: each chunk goes through a call, and the output of the call is sent on in its place.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gateway_core::model::Data;
use gateway_http::body::{Body, BodyError, Traffic};
use gateway_pipeline::{BodyFilter, Exchange, FailureKind, StageFailure};
use gateway_rules::reply::MAX_STATE_BYTES;
use gateway_telemetry::metrics::{CallMetrics, CallPhase};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::TypedFunc;

use super::{
    bindings::{Chunk, ChunkResult},
    fields,
    instance::{CallScope, Instance, output::failure_text},
    own_instance::{Loan, OwnInstance, Tenant},
    plugin_state::StreamState,
    pools::Pool,
    services::{LocalFuture, Services},
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
    if state.len() > MAX_STATE_BYTES {
        return Err(too_large_state());
    }
    Ok(Rc::new(RefCell::new(state)))
}

fn too_large_state() -> String {
    format!("its stream state is over {MAX_STATE_BYTES} bytes")
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
    let (pool, services) = (pool.clone(), services.clone());
    let (request, route) = (exchange.id.to_str().unwrap_or_default().into(), exchange.route.to_string());
    let limit = exchange.bounds.buffer_bytes;
    let traffic = (direction == Direction::Request).then(|| Rc::clone(&exchange.traffic));
    Box::new(move |inner, calls| {
        Body::Stream(Box::pin(FilteredBody {
            inner,
            caller: Rc::new(Caller { direction, pool, services, calls, request, route, own }),
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
    caller: Rc<Caller>,
    /// Of what the plugin leaves for later.
    limit: usize,
    /// Of a request: a failure is noted here, because a reader of the body only sees that it ends early.
    traffic: Option<Rc<Traffic>>,
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

type Said = Result<ChunkResult, String>;
type ChunkFunction = TypedFunc<(Chunk,), (Said,)>;
type Called = Result<ChunkResult, StageFailure>;

enum Call {
    None,
    Over(Box<Called>),
    Running(LocalFuture<'static, Called>),
}

/// The instance of a call.
struct Used {
    instance: Box<Instance>,
    permit: Option<OwnedSemaphorePermit>,
    /// Of an instance that belongs to the exchange.
    loan: Option<Loan>,
}

impl Used {
    fn of(loan: Loan, tenant: Tenant) -> Self {
        Self { instance: tenant.instance, permit: Some(tenant.permit), loan: Some(loan) }
    }
}

impl FilteredBody {
    /// Hands over what is there; with the trailers, if that is all.
    fn begin_call(&mut self, end: Option<HeaderMap>) {
        let last = end.is_some();
        let identity = &self.caller.pool.prepared.identity;
        let readable = |trailers| fields::readable(trailers, identity, self.caller.direction.headers());
        let chunk =
            Chunk { state: self.state.borrow().clone(), bytes: self.left.to_vec(), end: end.as_ref().map(readable) };
        if identity.data().is_some() {
            self.came = end.unwrap_or_default();
        }
        if last {
            self.end = End::Told;
        }
        let caller = self.caller.clone();
        let used = caller.pool.is_direct().then(|| caller.instance_at_once()).flatten();
        self.call = match used {
            Some(used) => Call::Over(Box::new(caller.call_at_once(chunk, used))),
            None => Call::Running(Box::pin(async move { caller.call_on_fiber(chunk).await })),
        };
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
            if state.len() > MAX_STATE_BYTES {
                return Err(too_large_state());
            }
            *self.state.borrow_mut() = state;
        }
        if self.end == End::Told {
            if !self.left.is_empty() {
                return Err(format!("it left {} bytes at the end", self.left.len()));
            }
            let trailers = fields::trailers(trailers).map_err(|error| error.to_string())?;
            let came = std::mem::take(&mut self.came);
            let Caller { direction, pool, .. } = &*self.caller;
            let trailers = pool.prepared.identity.granted_trailers(direction.headers(), came, trailers, &pool.metrics);
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
        self.caller.report(failure);
        if let Some(traffic) = &self.traffic {
            traffic.filter_failed.set(true);
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

/// Who is called.
struct Caller {
    direction: Direction,
    pool: Rc<Pool>,
    services: Rc<Services>,
    calls: Arc<CallMetrics>,
    request: Box<str>,
    route: String,
    /// With `isolation: request`.
    own: Option<OwnInstance>,
}

impl Caller {
    /// A call on the worker's own stack, while that can be.
    fn call_at_once(&self, chunk: Chunk, used: Result<Used, StageFailure>) -> Called {
        self.concluded(used.and_then(|mut used| {
            let began = Instant::now();
            let function = self.function(&used.instance)?;
            let said = used.instance.call(function, (chunk,), self.scope());
            self.count(began.elapsed());
            said.map(|(said,)| (said, used)).map_err(|failure| self.pool.failed_at_once(CallPhase::BodyChunk, failure))
        }))
    }

    async fn call_on_fiber(&self, chunk: Chunk) -> Called {
        let attempt = self.pool.attempt(CallPhase::BodyChunk).await?;
        let result = match self.instance_on_fiber().await {
            Ok(used) => self.call_in(chunk, used).await,
            Err(failure) => Err(failure),
        };
        attempt.ended(result.as_ref().err().map(|failure| failure.kind));
        self.concluded(result)
    }

    async fn call_in(&self, chunk: Chunk, mut used: Used) -> Result<(Said, Used), StageFailure> {
        let function = self.function(&used.instance)?;
        let _in_progress = self.pool.metrics.call_in_progress();
        let said = used.instance.call_on_fiber(function, (chunk,), self.scope()).await;
        self.count(used.instance.ran());
        said.map(|(said,)| (said, used)).map_err(|failure| self.pool.failed(failure))
    }

    /// The instance goes back to the pool, or stays with the exchange.
    fn concluded(&self, result: Result<(Said, Used), StageFailure>) -> Called {
        let (said, Used { instance, permit, loan }) = result?;
        match (loan, permit) {
            (Some(loan), Some(permit)) => {
                loan.end(self.pool.unless_worn(instance).map(|instance| Tenant { instance, permit }));
            }
            _ => self.pool.put_back(instance),
        }
        said.map_err(|message| StageFailure { kind: FailureKind::Error, detail: failure_text(&message) })
    }

    /// The exchange's own instance, or one from the pool; `None` if it has to be waited for.
    fn instance_at_once(&self) -> Option<Result<Used, StageFailure>> {
        let Some(own) = &self.own else {
            let instance = self.pool.take(&self.services)?;
            return Some(instance.map(|instance| Used { instance, permit: None, loan: None }));
        };
        let (loan, tenant) = own.try_borrow()?;
        if let Some(tenant) = tenant {
            return Some(Ok(Used::of(loan, tenant)));
        }
        let permit = self.pool.try_admit()?;
        let instance = self.pool.create(&self.services)?;
        Some(instance.map(|instance| Used::of(loan, Tenant { instance, permit })))
    }

    async fn instance_on_fiber(&self) -> Result<Used, StageFailure> {
        let Some(own) = &self.own else {
            let permit = Some(self.pool.admit().await?);
            let instance = self.pool.take_on_fiber(&self.services).await?;
            return Ok(Used { instance, permit, loan: None });
        };
        let (loan, tenant) = own.borrow().await;
        if let Some(tenant) = tenant {
            return Ok(Used::of(loan, tenant));
        }
        let permit = self.pool.admit().await?;
        let instance = self.pool.create_on_fiber(&self.services).await?;
        Ok(Used::of(loan, Tenant { instance, permit }))
    }

    fn scope(&self) -> CallScope<'_> {
        CallScope { slot: None, services: &self.services, time: self.pool.prepared.limits.time }
    }

    fn count(&self, ran: Duration) {
        self.calls.called(CallPhase::BodyChunk, u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
    }

    fn report(&self, failure: &str) {
        let Self { request, route, pool, .. } = self;
        let plugin = &*pool.prepared.identity.name;
        tracing::warn!(request = &**request, route = &**route, plugin, "plugin failed on a body chunk: {failure}");
    }

    fn function(&self, instance: &Instance) -> Result<ChunkFunction, StageFailure> {
        let (function, interface) = match self.direction {
            Direction::Request => (instance.functions().on_request_chunk, "request-stream"),
            Direction::Response => (instance.functions().on_response_chunk, "response-stream"),
        };
        let missing = || StageFailure {
            kind: FailureKind::Error,
            detail: format!("it returned `stream-body` and exports no `{interface}`"),
        };
        function.ok_or_else(missing)
    }
}
