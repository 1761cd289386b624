//! What differs between the phases: which function is called, with what, and what its result means.

use gateway_pipeline::{Decision, Exchange, FailureKind, Outcome, StageFailure};
use gateway_telemetry::metrics::CallPhase;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource, TypedFunc};

use super::{
    bindings,
    cache::held,
    instance::{Functions, Lending},
    reply,
};

/// What differs between the phases.
pub(super) trait Hook {
    const PHASE: CallPhase;
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    type Return: ComponentNamedList + Lift + Send + Sync + 'static;
    type Answer;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>>;
    fn params(&self, exchange: &Exchange, lending: Lending) -> Self::Params;
    fn answer(&self, result: Self::Return, exchange: &Exchange) -> Result<Self::Answer, StageFailure>;

    /// How many there are among the parameters.
    fn handles(&self, exchange: &Exchange) -> u32;

    /// Whether the request is answered with it.
    fn is_answer(_: &Self::Answer) -> bool {
        false
    }

    /// The pipeline only asks for phases that are there.
    fn function(&self, functions: &Functions) -> Result<TypedFunc<Self::Params, Self::Return>, StageFailure> {
        let missing = || StageFailure { kind: FailureKind::Error, detail: "it has no such phase".to_owned() };
        self.find(functions).ok_or_else(missing)
    }
}

/// There is one request and one response in a store, so the handles' numbers do not matter.
fn handle<T: 'static>(lending: Lending) -> Resource<T> {
    match lending {
        Lending::Borrowed => Resource::new_borrow(0),
        Lending::Owned => Resource::new_own(0),
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
    type Answer = Decision;

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_request
    }

    fn params(&self, _: &Exchange, lending: Lending) -> Self::Params {
        (handle(lending),)
    }

    fn handles(&self, _: &Exchange) -> u32 {
        1
    }

    fn is_answer(answer: &Decision) -> bool {
        matches!(answer, Decision::Respond(_))
    }

    fn answer(&self, (result,): Self::Return, exchange: &Exchange) -> Result<Decision, StageFailure> {
        match result.map_err(reported)? {
            bindings::Decision::Next => Ok(Decision::Next),
            bindings::Decision::Respond(reply) => match reply::checked(reply, &exchange.bounds) {
                Ok(reply) => Ok(Decision::Respond(held::complete(reply, exchange))),
                Err(reason) => {
                    Err(StageFailure { kind: FailureKind::Trap, detail: format!("its reply is illegal: {reason}") })
                }
            },
        }
    }
}

pub(super) struct OnResponse;

impl Hook for OnResponse {
    const PHASE: CallPhase = CallPhase::Response;
    type Params = (Resource<bindings::Request>, Resource<bindings::Response>);
    type Return = (Result<(), String>,);
    type Answer = ();

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_response
    }

    fn params(&self, _: &Exchange, lending: Lending) -> Self::Params {
        (handle(lending), handle(lending))
    }

    fn handles(&self, _: &Exchange) -> u32 {
        2
    }

    fn answer(&self, (result,): Self::Return, _: &Exchange) -> Result<(), StageFailure> {
        result.map_err(reported)
    }
}

pub(super) struct OnComplete<'a>(pub(super) &'a Outcome);

impl Hook for OnComplete<'_> {
    const PHASE: CallPhase = CallPhase::Complete;
    type Params = (Resource<bindings::Request>, Option<Resource<bindings::Response>>, bindings::Outcome);
    type Return = ();
    type Answer = ();

    fn find(&self, functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Return>> {
        functions.on_complete
    }

    fn params(&self, exchange: &Exchange, lending: Lending) -> Self::Params {
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
        (handle(lending), exchange.response.as_ref().map(|_| handle(lending)), outcome)
    }

    fn handles(&self, exchange: &Exchange) -> u32 {
        1 + u32::from(exchange.response.is_some())
    }

    fn answer(&self, (): Self::Return, _: &Exchange) -> Result<(), StageFailure> {
        Ok(())
    }
}
