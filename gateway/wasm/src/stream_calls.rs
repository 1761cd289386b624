//! Calls with a part of something that passes through a plugin: a chunk of a body, or a message. They have no exchange, because what
//! passes may outlive it.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_pipeline::{Exchange, FailureKind, StageFailure};
use gateway_rules::reply::MAX_STATE_BYTES;
use gateway_telemetry::metrics::{CallMetrics, CallPhase};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc};

use super::{
    instance::{CallScope, Functions, Instance, output::failure_text},
    own_instance::{Loan, OwnInstance, Tenant},
    pools::Pool,
    services::Services,
};

/// What differs between the functions.
pub(super) trait StreamCall {
    const PHASE: CallPhase;
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    type Returned: Lift + Send + Sync + 'static;

    fn function(&self, functions: &Functions) -> Option<StreamFunction<Self>>;

    /// The failure if there is no such function.
    fn missing(&self) -> &'static str;
}

type Said<C> = Result<<C as StreamCall>::Returned, String>;
pub(super) type StreamFunction<C> = TypedFunc<<C as StreamCall>::Params, (Said<C>,)>;

/// # Errors
///
/// The state is too large.
pub(super) fn check_state(state: &[u8]) -> Result<(), String> {
    match state.len() > MAX_STATE_BYTES {
        true => Err(format!("its stream state is over {MAX_STATE_BYTES} bytes")),
        false => Ok(()),
    }
}

/// The plugin of a stage, as it is called when the stage's turn has ended.
pub(super) struct Callee {
    pool: Rc<Pool>,
    services: Rc<Services>,
    request: Box<str>,
    route: String,
    own: Option<OwnInstance>,
}

impl Callee {
    /// In its own instance, if the exchange has one.
    pub(super) fn of(own: Option<OwnInstance>, exchange: &Exchange, pool: &Rc<Pool>, services: &Rc<Services>) -> Self {
        let (request, route) = (exchange.id.to_str().unwrap_or_default().into(), exchange.route.to_string());
        Self { pool: pool.clone(), services: services.clone(), request, route, own }
    }

    pub(super) fn counted(self, calls: Arc<CallMetrics>) -> Caller {
        let Self { pool, services, request, route, own } = self;
        Caller { pool, services, calls, request, route, own }
    }
}

/// The instance of a call.
pub(super) struct Used {
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

/// Calls a plugin, and counts the calls.
pub(super) struct Caller {
    pub(super) pool: Rc<Pool>,
    services: Rc<Services>,
    pub(super) calls: Arc<CallMetrics>,
    request: Box<str>,
    route: String,
    /// With `isolation: request`.
    own: Option<OwnInstance>,
}

impl Caller {
    /// A call on the worker's own stack.
    pub(super) fn call_at_once<C: StreamCall>(
        &self,
        call: &C,
        params: C::Params,
        used: Result<Used, StageFailure>,
    ) -> Result<C::Returned, StageFailure> {
        self.concluded::<C>(used.and_then(|mut used| {
            let began = Instant::now();
            let function = function(call, &used.instance)?;
            let said = used.instance.call(function, params, self.scope());
            self.count::<C>(began.elapsed());
            said.map(|(said,)| (said, used)).map_err(|failure| self.pool.failed_at_once(C::PHASE, failure))
        }))
    }

    pub(super) async fn call_on_fiber<C: StreamCall>(
        &self,
        call: &C,
        params: C::Params,
    ) -> Result<C::Returned, StageFailure> {
        let attempt = self.pool.attempt(C::PHASE).await?;
        let result = match self.instance_on_fiber().await {
            Ok(used) => self.call_in(call, params, used).await,
            Err(failure) => Err(failure),
        };
        attempt.ended(result.as_ref().err().map(|failure| failure.kind));
        self.concluded::<C>(result)
    }

    /// A call, on the worker's own stack while that can be.
    pub(super) async fn call<C: StreamCall>(&self, call: &C, params: C::Params) -> Result<C::Returned, StageFailure> {
        match self.instance_at_once() {
            Some(used) => self.call_at_once(call, params, used),
            None => self.call_on_fiber(call, params).await,
        }
    }

    async fn call_in<C: StreamCall>(
        &self,
        call: &C,
        params: C::Params,
        mut used: Used,
    ) -> Result<(Said<C>, Used), StageFailure> {
        let function = function(call, &used.instance)?;
        let _in_progress = self.pool.metrics.call_in_progress();
        let said = used.instance.call_on_fiber(function, params, self.scope()).await;
        self.count::<C>(used.instance.ran());
        said.map(|(said,)| (said, used)).map_err(|failure| self.pool.failed(failure))
    }

    /// The instance goes back to the pool, or stays with the exchange.
    fn concluded<C: StreamCall>(
        &self,
        result: Result<(Said<C>, Used), StageFailure>,
    ) -> Result<C::Returned, StageFailure> {
        let (said, Used { instance, permit, loan }) = result?;
        match (loan, permit) {
            (Some(loan), Some(permit)) => {
                loan.end(self.pool.unless_worn(instance).map(|instance| Tenant { instance, permit }));
            }
            _ => self.pool.put_back(instance),
        }
        said.map_err(|message| StageFailure { kind: FailureKind::Error, detail: failure_text(&message) })
    }

    /// The exchange's own instance, or one from the pool; `None` if it has to be waited for, or the call can wait.
    pub(super) fn instance_at_once(&self) -> Option<Result<Used, StageFailure>> {
        if !self.pool.is_direct() {
            return None;
        }
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

    fn count<C: StreamCall>(&self, ran: Duration) {
        self.calls.called(C::PHASE, u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Logs a failure with a part, such as `a body chunk`.
    pub(super) fn report(&self, part: &str, failure: &str) {
        let Self { request, route, pool, .. } = self;
        let plugin = &*pool.prepared.identity.name;
        tracing::warn!(request = &**request, route = &**route, plugin, "plugin failed on {part}: {failure}");
    }
}

fn function<C: StreamCall>(call: &C, instance: &Instance) -> Result<StreamFunction<C>, StageFailure> {
    let missing = || StageFailure { kind: FailureKind::Error, detail: call.missing().to_owned() };
    call.function(instance.functions()).ok_or_else(missing)
}
