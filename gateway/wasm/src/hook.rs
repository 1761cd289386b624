//! What differs between the phases: which function is called, with what, and what its result means.

use std::rc::Rc;

use gateway_pipeline::{BodyFilter, Decision, Exchange, ExchangeOutcome, FailureKind, StageFailure};
use gateway_telemetry::metrics::CallPhase;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource, TypedFunc};

use super::{
    bindings, body_filter,
    instance::{Functions, HandleOwnership},
    plugin_state::PluginState,
    pools::Pool,
    reply,
    services::Services,
};

/// What differs between the phases.
pub(super) trait Hook {
    const PHASE: CallPhase;
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    type Return: ComponentNamedList + Lift + Send + Sync + 'static;
    type PhaseResult;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>>;
    fn params(&self, exchange: &Exchange, handle_ownership: HandleOwnership) -> Self::Params;
    fn answer(&self, result: Self::Return, exchange: &mut Exchange) -> Result<Self::PhaseResult, StageFailure>;

    /// How many there are among the parameters.
    fn handles(&self, exchange: &Exchange) -> u32;

    /// The pipeline only asks for phases that are there.
    fn function(&self, functions: &Functions) -> Result<TypedFunc<Self::Params, Self::Return>, StageFailure> {
        let missing = || StageFailure { kind: FailureKind::Error, detail: "it has no such phase".to_owned() };
        self.find(functions).ok_or_else(missing)
    }
}

/// There is one request and one response in a store, so the handles' numbers do not matter.
fn handle<T: 'static>(handle_ownership: HandleOwnership) -> Resource<T> {
    match handle_ownership {
        HandleOwnership::Borrowed => Resource::new_borrow(0),
        HandleOwnership::Owned => Resource::new_own(0),
    }
}

fn reported(message: String) -> StageFailure {
    StageFailure { kind: FailureKind::Error, detail: message.chars().take(1024).collect() }
}

pub(super) struct OnRequest;

impl Hook for OnRequest {
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

    fn answer(&self, (result,): Self::Return, exchange: &mut Exchange) -> Result<Decision, StageFailure> {
        match result.map_err(reported)? {
            bindings::Decision::Next => Ok(Decision::Next),
            bindings::Decision::Respond(reply) => match reply::checked(reply, &exchange.bounds) {
                Ok(reply) => {
                    let state = PluginState::existing(exchange);
                    Ok(Decision::Respond(Box::new(match state {
                        Some(state) => state.held.complete(reply),
                        None => reply,
                    })))
                }
                Err(reason) => {
                    Err(StageFailure { kind: FailureKind::Trap, detail: format!("its reply is illegal: {reason}") })
                }
            },
        }
    }
}

pub(super) struct OnResponse<'a> {
    pub(super) pool: &'a Rc<Pool>,
    pub(super) services: &'a Rc<Services>,
}

impl Hook for OnResponse<'_> {
    const PHASE: CallPhase = CallPhase::Response;
    type Params = (Resource<bindings::Request>, Resource<bindings::Response>);
    type Return = (Result<(), String>,);
    type PhaseResult = Option<BodyFilter>;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_response
    }

    fn params(&self, _: &Exchange, handle_ownership: HandleOwnership) -> Self::Params {
        (handle(handle_ownership), handle(handle_ownership))
    }

    fn handles(&self, _: &Exchange) -> u32 {
        2
    }

    /// The response's body passes through the plugin if it has said so in a call that went well; in its instance, if the exchange has
    /// one of its own.
    fn answer(&self, (result,): Self::Return, exchange: &mut Exchange) -> Result<Option<BodyFilter>, StageFailure> {
        let follows = exchange.state_mut::<PluginState>().and_then(|state| state.follows.take());
        result.map_err(reported)?;
        Ok(follows.map(|memo| {
            let own = PluginState::take_tenant(exchange);
            body_filter::filter(memo, own, exchange, self.pool, self.services)
        }))
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
        let outcome = bindings::Outcome {
            status: self.0.status,
            failure: self.0.failure.map(str::to_owned),
            upstream: self.0.upstream.as_ref().map(|name| (**name).to_owned()),
            request_bytes: self.0.request_bytes,
            response_bytes: self.0.response_bytes,
            duration_us: self.0.duration_us,
            upstream_us: self.0.upstream_us,
            plugins_us: self.0.plugins_us,
        };
        (handle(handle_ownership), exchange.response.as_ref().map(|_| handle(handle_ownership)), outcome)
    }

    fn handles(&self, exchange: &Exchange) -> u32 {
        1 + u32::from(exchange.response.is_some())
    }

    fn answer(&self, (): Self::Return, _: &mut Exchange) -> Result<(), StageFailure> {
        Ok(())
    }
}
