//! What differs between the functions of the phases: which one is called, with what, and what its result means.

use std::{cell::Cell, rc::Rc};

use gateway_core::model::{DataAccess, Isolation};
use gateway_pipeline::{
    BodyFilter, Decision, Exchange, ExchangeOutcome, FailureKind, ResponseDecision, Side, StageFailure,
};
use gateway_rules::messages::{self, MessageStream};
use gateway_telemetry::metrics::CallPhase;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource, TypedFunc};

use super::{
    bindings::{self, bodies::Body},
    body_filter::{self, Direction},
    event_filter, fields,
    instance::{Exports, Functions, HandleOwnership, output::failure_text},
    message_filter::{self, MessageCalls},
    plugin_state::{PluginState, StreamState, WholeBody},
    pools::Pool,
    reply,
    services::Services,
    stream_calls::Callee,
};

/// What differs between the functions.
pub(super) trait Hook {
    const PHASE: CallPhase;
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    type Return: ComponentNamedList + Lift + Send + Sync + 'static;
    type PhaseResult;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>>;
    fn params(&self, exchange: &Exchange, handle_ownership: HandleOwnership) -> Self::Params;
    fn conclude(&self, result: Self::Return, exchange: &mut Exchange) -> Result<End<Self::PhaseResult>, StageFailure>;

    /// How many there are among the parameters.
    fn handles(&self, exchange: &Exchange) -> u32;

    /// The stage only asks for functions that are there.
    fn function(&self, functions: &Functions) -> Result<TypedFunc<Self::Params, Self::Return>, StageFailure> {
        self.find(functions).ok_or_else(|| error("it has no such phase".to_owned()))
    }
}

/// How a function's call ends the stage's turn, or does not.
pub(super) enum End<T> {
    Done(T),
    /// The stage waits for the whole body.
    ReadBody,
    /// The stage waits for a lock.
    AwaitRelease,
}

/// There is one request and one response in a store, so the handles' numbers do not matter.
fn handle<T: 'static>(handle_ownership: HandleOwnership) -> Resource<T> {
    match handle_ownership {
        HandleOwnership::Borrowed => Resource::new_borrow(0),
        HandleOwnership::Owned => Resource::new_own(0),
    }
}

fn error(detail: String) -> StageFailure {
    StageFailure { kind: FailureKind::Error, detail }
}

fn reported(message: String) -> StageFailure {
    error(failure_text(&message))
}

/// The body as the plugin gets it, or why there is none.
fn lowered(body: Option<WholeBody>, pool: &Pool, direction: Direction) -> Result<Body, bindings::BodyError> {
    let identity = &pool.prepared.identity;
    match body {
        // Components that export the function without the grant are refused before they serve.
        _ if !identity.may(direction.body(), DataAccess::Read, "", &pool.metrics) => {
            Err(bindings::BodyError::Unavailable)
        }
        Some(Ok(whole)) => {
            let trailers = whole.trailers.as_ref();
            let trailers = trailers.map(|trailers| fields::readable(trailers, identity, direction.headers()));
            Ok(Body { bytes: whole.bytes.into(), trailers: trailers.unwrap_or_default() })
        }
        Some(Err(unread)) => Err(unread.into()),
        None => Err(bindings::BodyError::Unavailable),
    }
}

/// The plugin as its body filters call it later.
pub(super) struct Calling<'a> {
    pub(super) pool: &'a Rc<Pool>,
    pub(super) services: &'a Rc<Services>,
}

impl Calling<'_> {
    /// A decision that needs an export which is not there is a failure, before anything is read.
    fn exports(&self, has: fn(&Exports) -> bool, decision: &str, interface: &str) -> Result<(), StageFailure> {
        match has(&self.pool.prepared.loaded.blueprint.exports) {
            true => Ok(()),
            false => Err(error(format!("it returned `{decision}` and exports no `{interface}`"))),
        }
    }

    /// Has the body pass through the plugin; in its instance, if the exchange has one of its own.
    fn filter(
        &self,
        direction: Direction,
        state: Vec<u8>,
        exchange: &mut Exchange,
    ) -> Result<BodyFilter, StageFailure> {
        for access in DataAccess::ALL {
            if !self.pool.prepared.identity.may(direction.body(), access, "", &self.pool.metrics) {
                return Err(error(format!(
                    "it returned `stream-body` and is not granted to {} the body",
                    access.name()
                )));
            }
        }
        let own = (self.pool.prepared.isolation == Isolation::Request).then(|| PluginState::own_instance(exchange));
        let state: StreamState = body_filter::initial(state).map_err(error)?;
        let kept = PluginState::of(exchange);
        match direction {
            Direction::Request => kept.request_stream = Some(Rc::clone(&state)),
            Direction::Response => kept.response_stream = Some(Rc::clone(&state)),
        }
        Ok(body_filter::filter(direction, state, own, exchange, self.pool, self.services))
    }

    /// Has the messages of the connection, or the events of the response, pass through the plugin.
    fn filter_messages(&self, state: Vec<u8>, exchange: &mut Exchange) -> Result<ResponseDecision, StageFailure> {
        let invalid = |why: &str| error(format!("it returned `stream-messages`, and {why}"));
        let head = exchange.response.as_ref().ok_or_else(|| invalid("there is no response"))?;
        let stream = messages::stream_of(head.status, &head.headers).map_err(invalid)?;
        let sides: &[Side] = match stream {
            MessageStream::WebSocket => &[Side::Client, Side::Upstream],
            MessageStream::Events => &[Side::Upstream],
        };
        let identity = &self.pool.prepared.identity;
        let gets = |side: &Side| identity.may(message_filter::body(*side), DataAccess::Read, "", &self.pool.metrics);
        if !sides.iter().any(gets) {
            return Err(invalid("it is not granted to read any of them (`body.read`)"));
        }
        let own = (self.pool.prepared.isolation == Isolation::Request).then(|| PluginState::own_instance(exchange));
        let state: StreamState = body_filter::initial(state).map_err(error)?;
        PluginState::of(exchange).messages = Some(Rc::clone(&state));
        let callee = Callee::of(own, exchange, self.pool, self.services);
        let limit = exchange.bounds.buffer_bytes;
        Ok(match stream {
            MessageStream::WebSocket => ResponseDecision::Messages(Box::new(move |calls| {
                Rc::new(MessageCalls::new(callee.counted(calls), stream, state))
            })),
            MessageStream::Events => ResponseDecision::Filter(Box::new(move |body, calls| {
                event_filter::filtered(body, MessageCalls::new(callee.counted(calls), stream, state), limit)
            })),
        })
    }

    fn decided(
        &self,
        result: Result<bindings::Decision, String>,
        exchange: &mut Exchange,
    ) -> Result<End<Decision>, StageFailure> {
        Ok(match result.map_err(reported)? {
            bindings::Decision::Next => End::Done(Decision::Next),
            bindings::Decision::ReadBody => {
                self.exports(|exports| exports.on_request_body.is_some(), "read-body", "request-body-filter")?;
                End::ReadBody
            }
            bindings::Decision::AwaitRelease => End::AwaitRelease,
            bindings::Decision::StreamBody(state) => {
                self.exports(|exports| exports.on_request_chunk.is_some(), "stream-body", "request-stream")?;
                End::Done(Decision::Filter(self.filter(Direction::Request, state, exchange)?))
            }
            bindings::Decision::Respond(reply) => match reply::checked(reply, &exchange.bounds) {
                Ok(reply) => {
                    let reply = self.pool.prepared.identity.granted_reply(reply, &self.pool.metrics);
                    let state = PluginState::existing(exchange);
                    End::Done(Decision::Respond(Box::new(match state {
                        Some(state) => state.held.complete(reply),
                        None => reply,
                    })))
                }
                Err(reason) => {
                    let detail = format!("its reply is illegal: {reason}");
                    return Err(StageFailure { kind: FailureKind::Trap, detail });
                }
            },
        })
    }

    fn decided_on_response(
        &self,
        result: Result<bindings::ResponseDecision, String>,
        exchange: &mut Exchange,
    ) -> Result<End<ResponseDecision>, StageFailure> {
        Ok(match result.map_err(reported)? {
            bindings::ResponseDecision::Next => End::Done(ResponseDecision::Next),
            bindings::ResponseDecision::ReadBody => {
                self.exports(|exports| exports.on_response_body.is_some(), "read-body", "response-body-filter")?;
                End::ReadBody
            }
            bindings::ResponseDecision::StreamBody(state) => {
                self.exports(|exports| exports.on_response_chunk.is_some(), "stream-body", "response-stream")?;
                End::Done(ResponseDecision::Filter(self.filter(Direction::Response, state, exchange)?))
            }
            bindings::ResponseDecision::StreamMessages(state) => {
                self.exports(|exports| exports.on_message.is_some(), "stream-messages", "message-filter")?;
                End::Done(self.filter_messages(state, exchange)?)
            }
        })
    }
}

pub(super) struct OnRequest<'a>(pub(super) Calling<'a>);

impl Hook for OnRequest<'_> {
    const PHASE: CallPhase = CallPhase::Request;
    type Params = (Resource<bindings::Request>,);
    type Return = (Result<bindings::Decision, String>,);
    type PhaseResult = Decision;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_request
    }

    fn params(&self, _: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        (handle(handle_ownership),)
    }

    fn handles(&self, _: &Exchange) -> u32 {
        1
    }

    fn conclude(&self, (result,): Self::Return, exchange: &mut Exchange) -> Result<End<Decision>, StageFailure> {
        self.0.decided(result, exchange)
    }
}

pub(super) struct OnRequestBody<'a>(pub(super) Calling<'a>, pub(super) Cell<Option<WholeBody>>);

impl Hook for OnRequestBody<'_> {
    const PHASE: CallPhase = CallPhase::Request;
    type Params = (Resource<bindings::Request>, Result<Body, bindings::BodyError>);
    type Return = (Result<bindings::Decision, String>,);
    type PhaseResult = Decision;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_request_body
    }

    fn params(&self, _: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        (handle(handle_ownership), lowered(self.1.take(), self.0.pool, Direction::Request))
    }

    fn handles(&self, _: &Exchange) -> u32 {
        1
    }

    fn conclude(&self, (result,): Self::Return, exchange: &mut Exchange) -> Result<End<Decision>, StageFailure> {
        without_another_body(self.0.decided(result, exchange)?)
    }
}

pub(super) struct OnResponse<'a>(pub(super) Calling<'a>);

impl Hook for OnResponse<'_> {
    const PHASE: CallPhase = CallPhase::Response;
    type Params = (Resource<bindings::Request>, Resource<bindings::Response>);
    type Return = (Result<bindings::ResponseDecision, String>,);
    type PhaseResult = ResponseDecision;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_response
    }

    fn params(&self, _: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        (handle(handle_ownership), handle(handle_ownership))
    }

    fn handles(&self, _: &Exchange) -> u32 {
        2
    }

    fn conclude(
        &self,
        (result,): Self::Return,
        exchange: &mut Exchange,
    ) -> Result<End<ResponseDecision>, StageFailure> {
        self.0.decided_on_response(result, exchange)
    }
}

pub(super) struct OnResponseBody<'a>(pub(super) Calling<'a>, pub(super) Cell<Option<WholeBody>>);

impl Hook for OnResponseBody<'_> {
    const PHASE: CallPhase = CallPhase::Response;
    type Params = (Resource<bindings::Request>, Resource<bindings::Response>, Result<Body, bindings::BodyError>);
    type Return = (Result<bindings::ResponseDecision, String>,);
    type PhaseResult = ResponseDecision;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_response_body
    }

    fn params(&self, _: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        let body = lowered(self.1.take(), self.0.pool, Direction::Response);
        (handle(handle_ownership), handle(handle_ownership), body)
    }

    fn handles(&self, _: &Exchange) -> u32 {
        2
    }

    fn conclude(
        &self,
        (result,): Self::Return,
        exchange: &mut Exchange,
    ) -> Result<End<ResponseDecision>, StageFailure> {
        without_another_body(self.0.decided_on_response(result, exchange)?)
    }
}

fn without_another_body<T>(end: End<T>) -> Result<End<T>, StageFailure> {
    match end {
        End::ReadBody => Err(error("it returned `read-body` from a call that had the body".to_owned())),
        end => Ok(end),
    }
}

pub(super) struct OnComplete<'a>(pub(super) &'a ExchangeOutcome);

impl Hook for OnComplete<'_> {
    const PHASE: CallPhase = CallPhase::Complete;
    type Params = (Resource<bindings::Request>, Option<Resource<bindings::Response>>, bindings::Outcome);
    type Return = ();
    type PhaseResult = ();

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_complete
    }

    fn params(&self, exchange: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        let kept = PluginState::existing(exchange);
        let last = |state: Option<&StreamState>| state.map(|state| state.borrow().clone());
        let outcome = bindings::Outcome {
            status: self.0.status,
            failure: self.0.failure.map(str::to_owned),
            upstream: self.0.upstream.as_ref().map(|name| (**name).to_owned()),
            request_bytes: self.0.request_bytes,
            response_bytes: self.0.response_bytes,
            duration_us: self.0.duration_us,
            upstream_us: self.0.upstream_us,
            plugins_us: self.0.plugins_us,
            request_stream_state: last(kept.and_then(|kept| kept.request_stream.as_ref())),
            response_stream_state: last(kept.and_then(|kept| kept.response_stream.as_ref())),
            message_state: last(kept.and_then(|kept| kept.messages.as_ref())),
        };
        (handle(handle_ownership), exchange.response.as_ref().map(|_| handle(handle_ownership)), outcome)
    }

    fn handles(&self, exchange: &Exchange) -> u32 {
        1 + u32::from(exchange.response.is_some())
    }

    fn conclude(&self, (): Self::Return, _: &mut Exchange) -> Result<End<()>, StageFailure> {
        Ok(End::Done(()))
    }
}
