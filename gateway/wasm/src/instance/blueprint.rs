//! What instances of a component are made from, and the functions that they export.

use std::sync::Arc;

use gateway_pipeline::{FailureKind, Phases, StageFailure};
use wasmtime::{
    Store,
    component::{self, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower, Resource, TypedFunc},
};

use super::state::State;
use crate::{
    admission::{Capacity, Reservation},
    bindings::{
        BodyError, Chunk, ChunkResult, ConfigProblem, Decision, Endpoint, Manifest, Outcome, PhaseSet, Request,
        Response, ResponseDecision, Timer, bodies::Body, message_filter,
    },
    waits::Waits,
};

/// A component ready to be instantiated.
pub(crate) struct Blueprint {
    /// For calls that cannot wait, which run on the worker's own stack.
    pub(crate) direct: InstancePre<State>,
    /// For calls that can wait, which run on a fiber.
    pub(crate) waiting: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) waits: Waits,
    pub(crate) handle_ownership: HandleOwnership,
    pub(crate) capacity: Arc<Capacity>,
    /// Slots of the allocator that an instance takes.
    pub(crate) weight: usize,
}

impl Blueprint {
    /// Room for an instance that serves no requests. It blocks, so it is not for workers.
    pub(crate) fn reserve_for_trial(&self) -> Result<Reservation, StageFailure> {
        let busy = || StageFailure {
            kind: FailureKind::Busy,
            detail: "other configurations are being tried, and none ended in time".to_owned(),
        };
        self.capacity.reserve_for_trial(self.weight).ok_or_else(busy)
    }
}

/// As what the functions of a component want requests and responses. The interface says `borrow`, which they have to give back
/// before they return (component model, `Task.return_`); some languages' tools do that too late, and take `own` instead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandleOwnership {
    Borrowed,
    Owned,
}

/// Where the exported functions are. Phases are optional.
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    pub(crate) phases: Option<ComponentExportIndex>,
    pub(crate) timers: Option<ComponentExportIndex>,
    pub(crate) on_timer: Option<ComponentExportIndex>,
    pub(crate) endpoints: Option<ComponentExportIndex>,
    pub(crate) openapi: Option<ComponentExportIndex>,
    pub(crate) on_request: Option<ComponentExportIndex>,
    pub(crate) on_request_body: Option<ComponentExportIndex>,
    pub(crate) on_request_chunk: Option<ComponentExportIndex>,
    pub(crate) on_response: Option<ComponentExportIndex>,
    pub(crate) on_response_body: Option<ComponentExportIndex>,
    pub(crate) on_response_chunk: Option<ComponentExportIndex>,
    pub(crate) on_message: Option<ComponentExportIndex>,
    pub(crate) on_complete: Option<ComponentExportIndex>,
}

impl Exports {
    /// The phases that it exports a function for.
    pub(crate) fn phases(&self) -> Phases {
        Phases {
            request: self.on_request.is_some() || self.on_request_body.is_some(),
            response: self.on_response.is_some() || self.on_response_body.is_some(),
            complete: self.on_complete.is_some(),
        }
    }
}

type Function<P, R> = TypedFunc<P, (R,)>;
type Requested = (Resource<Request>,);
type RequestedWithBody = (Resource<Request>, Result<Body, BodyError>);
type Responded = (Resource<Request>, Resource<Response>);
type RespondedWithBody = (Resource<Request>, Resource<Response>, Result<Body, BodyError>);
type Messaged = (message_filter::Sender, message_filter::Message, Vec<u8>);
type Completed = (Resource<Request>, Option<Resource<Response>>, Outcome);

/// The exported functions of one instance, their types checked.
pub(crate) struct Functions {
    pub(crate) describe: Function<(), Manifest>,
    pub(crate) configure: Function<(String,), Result<(), Vec<ConfigProblem>>>,
    pub(crate) phases: Option<Function<(), PhaseSet>>,
    pub(crate) timers: Option<Function<(), Vec<Timer>>>,
    pub(crate) on_timer: Option<Function<(String,), Result<(), String>>>,
    pub(crate) endpoints: Option<Function<(), Vec<Endpoint>>>,
    pub(crate) openapi: Option<Function<(), String>>,
    pub(crate) on_request: Option<Function<Requested, Result<Decision, String>>>,
    pub(crate) on_request_body: Option<Function<RequestedWithBody, Result<Decision, String>>>,
    pub(crate) on_request_chunk: Option<Function<(Chunk,), Result<ChunkResult, String>>>,
    pub(crate) on_response: Option<Function<Responded, Result<ResponseDecision, String>>>,
    pub(crate) on_response_body: Option<Function<RespondedWithBody, Result<ResponseDecision, String>>>,
    pub(crate) on_response_chunk: Option<Function<(Chunk,), Result<ChunkResult, String>>>,
    pub(crate) on_message: Option<Function<Messaged, Result<message_filter::MessageResult, String>>>,
    pub(crate) on_complete: Option<TypedFunc<Completed, ()>>,
}

impl Functions {
    /// An error means that a function has another type than the interface says.
    pub(crate) fn of(
        instance: &component::Instance,
        store: &mut Store<State>,
        exports: &Exports,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            describe: instance.get_typed_func(&mut *store, exports.describe)?,
            configure: instance.get_typed_func(&mut *store, exports.configure)?,
            phases: optional(instance, store, exports.phases)?,
            timers: optional(instance, store, exports.timers)?,
            on_timer: optional(instance, store, exports.on_timer)?,
            endpoints: optional(instance, store, exports.endpoints)?,
            openapi: optional(instance, store, exports.openapi)?,
            on_request: optional(instance, store, exports.on_request)?,
            on_request_body: optional(instance, store, exports.on_request_body)?,
            on_request_chunk: optional(instance, store, exports.on_request_chunk)?,
            on_response: optional(instance, store, exports.on_response)?,
            on_response_body: optional(instance, store, exports.on_response_body)?,
            on_response_chunk: optional(instance, store, exports.on_response_chunk)?,
            on_message: optional(instance, store, exports.on_message)?,
            on_complete: optional(instance, store, exports.on_complete)?,
        })
    }
}

fn optional<P, R>(
    instance: &component::Instance,
    store: &mut Store<State>,
    index: Option<ComponentExportIndex>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    index.map(|index| instance.get_typed_func(store, index)).transpose()
}
