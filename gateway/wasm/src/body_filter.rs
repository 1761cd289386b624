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
use gateway_core::model::Isolation;
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
    instance::{CallScope, Instance},
    plugin_state::{StreamState, Tenant},
    pools::Pool,
    services::{LocalFuture, Services},
};

/// Which message the body belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
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
    own: Option<Tenant>,
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
            caller: Rc::new(Caller { direction, pool, services, calls, request, route }),
            limit,
            traffic,
            state,
            left: BytesMut::new(),
            min_bytes: 1,
            end: End::Ahead,
            call: own
                .map_or(Call::None, |Tenant { instance, permit }| Call::Kept(Kept { instance, permit: Some(permit) })),
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
/// What came of a call, and the instance if it is kept for the next.
type Called = (Result<ChunkResult, StageFailure>, Option<Kept>);

enum Call {
    None,
    /// None is under way; the instance is kept for the next.
    Kept(Kept),
    Over(Box<Called>),
    Running(LocalFuture<'static, Called>),
}

/// An instance that belongs to one body.
struct Kept {
    instance: Box<Instance>,
    permit: Option<OwnedSemaphorePermit>,
}

impl FilteredBody {
    /// Hands over what is there; with the trailers, if that is all.
    fn begin_call(&mut self, end: Option<HeaderMap>) {
        let last = end.is_some();
        let chunk = Chunk {
            state: self.state.borrow().clone(),
            bytes: self.left.to_vec(),
            end: end.map(|trailers| fields::all(&trailers).collect()),
        };
        if last {
            self.end = End::Told;
        }
        let tenant = match std::mem::replace(&mut self.call, Call::None) {
            Call::Kept(tenant) => Some(tenant),
            _ => None,
        };
        let caller = self.caller.clone();
        let own = if caller.pool.is_direct() { caller.tenant_at_once(tenant) } else { Err(tenant) };
        self.call = match own {
            Ok(tenant) => Call::Over(Box::new(caller.call_at_once(chunk, tenant))),
            Err(tenant) => Call::Running(Box::pin(async move { caller.call_on_fiber(chunk, tenant).await })),
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
            idle => {
                self.call = idle;
                Poll::Ready(None)
            }
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
            if let Some(called) = ready!(this.poll_call(cx)) {
                let (result, tenant) = called;
                this.call = tenant.map_or(Call::None, Call::Kept);
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
}

impl Caller {
    /// A call on the worker's own stack, while that can be.
    fn call_at_once(&self, chunk: Chunk, tenant: Result<Kept, StageFailure>) -> Called {
        let result = tenant.and_then(|mut tenant| {
            let began = Instant::now();
            let function = self.function(&tenant.instance)?;
            let said = tenant.instance.call(function, (chunk,), self.scope());
            self.count(began.elapsed());
            said.map(|(said,)| (said, tenant))
                .map_err(|failure| self.pool.failed_at_once(CallPhase::BodyChunk, failure))
        });
        self.concluded(result)
    }

    async fn call_on_fiber(&self, chunk: Chunk, tenant: Option<Kept>) -> Called {
        let attempt = match self.pool.attempt(CallPhase::BodyChunk).await {
            Ok(attempt) => attempt,
            Err(failure) => return (Err(failure), None),
        };
        let tenant = match tenant {
            Some(tenant) => Ok(tenant),
            None => self.tenant_on_fiber().await,
        };
        let result = match tenant {
            Ok(tenant) => self.call_in(chunk, tenant).await,
            Err(failure) => Err(failure),
        };
        attempt.ended(result.as_ref().err().map(|failure| failure.kind));
        self.concluded(result)
    }

    async fn call_in(&self, chunk: Chunk, mut tenant: Kept) -> Result<(Said, Kept), StageFailure> {
        let function = self.function(&tenant.instance)?;
        let _in_progress = self.pool.metrics.call_in_progress();
        let said = tenant.instance.call_on_fiber(function, (chunk,), self.scope()).await;
        self.count(tenant.instance.ran());
        said.map(|(said,)| (said, tenant)).map_err(|failure| self.pool.failed(failure))
    }

    /// The instance goes back, or stays with the body.
    fn concluded(&self, result: Result<(Said, Kept), StageFailure>) -> Called {
        let (said, tenant) = match result {
            Ok(result) => result,
            Err(failure) => return (Err(failure), None),
        };
        let said = said.map_err(|message| {
            let detail = message.chars().take(1024).collect();
            StageFailure { kind: FailureKind::Error, detail }
        });
        let Kept { instance, permit } = tenant;
        if self.is_isolated() {
            return (said, self.pool.unless_worn(instance).map(|instance| Kept { instance, permit }));
        }
        self.pool.put_back(instance);
        (said, None)
    }

    /// The body's own instance, or one from the pool; an error gives back what there was if one has to be waited for.
    fn tenant_at_once(&self, own: Option<Kept>) -> Result<Result<Kept, StageFailure>, Option<Kept>> {
        if let Some(own) = own {
            return Ok(Ok(own));
        }
        let (instance, permit) = if self.is_isolated() {
            let permit = self.pool.try_admit().ok_or(None)?;
            (self.pool.create(&self.services), Some(permit))
        } else {
            (self.pool.take(&self.services), None)
        };
        Ok(instance.ok_or(None)?.map(|instance| Kept { instance, permit }))
    }

    async fn tenant_on_fiber(&self) -> Result<Kept, StageFailure> {
        let permit = Some(self.pool.admit().await?);
        let instance = match self.is_isolated() {
            true => self.pool.create_on_fiber(&self.services).await?,
            false => self.pool.take_on_fiber(&self.services).await?,
        };
        Ok(Kept { instance, permit })
    }

    fn is_isolated(&self) -> bool {
        self.pool.prepared.isolation == Isolation::Request
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
