//! What instances of a component are made from, and the functions that they export.

use std::sync::Arc;

use gateway_pipeline::{FailureKind, StageFailure};
use wasmtime::{
    Store,
    component::{self, ComponentExportIndex, InstancePre, Resource, TypedFunc},
};

use super::state::State;
use crate::{
    admission::{Capacity, Reservation},
    bindings::{ConfigProblem, Decision, Endpoint, Manifest, Outcome, Part, Passage, PhaseSet, Request, Response},
};

/// A component ready to be instantiated.
pub(crate) struct Blueprint {
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    /// It imports something that can wait, so every call needs a fiber.
    pub(crate) waits: bool,
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
    pub(crate) endpoints: Option<ComponentExportIndex>,
    pub(crate) openapi: Option<ComponentExportIndex>,
    pub(crate) on_request: Option<ComponentExportIndex>,
    pub(crate) on_response: Option<ComponentExportIndex>,
    pub(crate) on_part: Option<ComponentExportIndex>,
    pub(crate) on_complete: Option<ComponentExportIndex>,
}

type Function<P, R> = TypedFunc<P, (R,)>;
type Requested = (Resource<Request>,);
type Responded = (Resource<Request>, Resource<Response>);
type Completed = (Resource<Request>, Option<Resource<Response>>, Outcome);

/// The exported functions of one instance, their types checked.
pub(crate) struct Functions {
    pub(crate) describe: Function<(), Manifest>,
    pub(crate) configure: Function<(String,), Result<(), Vec<ConfigProblem>>>,
    pub(crate) phases: Option<Function<(), PhaseSet>>,
    pub(crate) endpoints: Option<Function<(), Vec<Endpoint>>>,
    pub(crate) openapi: Option<Function<(), String>>,
    pub(crate) on_request: Option<Function<Requested, Result<Decision, String>>>,
    pub(crate) on_response: Option<Function<Responded, Result<(), String>>>,
    pub(crate) on_part: Option<Function<(Part,), Result<Passage, String>>>,
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
            phases: exports.phases.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            endpoints: exports.endpoints.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            openapi: exports.openapi.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            on_request: exports.on_request.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            on_response: exports.on_response.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            on_part: exports.on_part.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
            on_complete: exports.on_complete.map(|index| instance.get_typed_func(&mut *store, index)).transpose()?,
        })
    }
}
