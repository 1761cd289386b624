//! A plugin as a stage of the pipeline: it calls a component. What calls have in common with those of other stages is the pipeline's.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use gateway_core::model::Isolation;
use gateway_pipeline::{
    CallEnd, Decision, ExchangeOutcome, ExchangeSlot, FailureKind, LocalFuture, OwnedHeaders, Phases, ResponseDecision,
    Stage, StageFailure, Step, Turn,
};

use super::{
    hook::{Calling, End, Hook, OnComplete, OnRequest, OnRequestBody, OnResponse, OnResponseBody},
    instance::{CallScope, Exports, HandleOwnership, Instance},
    own_instance::{Loan, Tenant},
    plugin_state::PluginState,
    pools::Pool,
    services::Services,
    timers,
};

pub(super) struct PluginStage {
    pool: Rc<Pool>,
    /// Of the configuration that the stage belongs to; the pool may outlive that.
    services: Rc<Services>,
}

/// A call that was made, how it ended, and how long it ran if it could wait.
struct Made<T> {
    result: Result<T, StageFailure>,
    ran: Option<Duration>,
}

/// A call, or why none could be made.
type Attempted<T> = Result<Made<T>, StageFailure>;

impl PluginStage {
    pub(super) fn new(pool: Rc<Pool>, services: Rc<Services>) -> Self {
        Self { pool, services }
    }

    fn calling(&self) -> Calling<'_> {
        Calling { pool: &self.pool, services: &self.services }
    }

    fn exports(&self) -> &Exports {
        &self.pool.prepared.loaded.blueprint.exports
    }

    fn run<'a, H: Hook + 'a>(&'a self, hook: H, slot: &'a mut ExchangeSlot) -> Step<'a, H::PhaseResult> {
        match self.at_once(&hook, slot) {
            Some(attempted) => Step::Done(turn(attempted, slot)),
            None => Step::Wait(Box::pin(async move {
                let attempted = self.on_fiber(&hook, slot).await;
                turn(attempted, slot)
            })),
        }
    }

    /// A call on the worker's own stack; `None` if that cannot be.
    fn at_once<H: Hook>(&self, hook: &H, slot: &mut ExchangeSlot) -> Option<Attempted<End<H::PhaseResult>>> {
        if !self.pool.is_direct() {
            return None;
        }
        match self.pool.prepared.isolation {
            Isolation::Shared => {
                let instance = self.pool.take(&self.services)?;
                Some(instance.map(|instance| self.direct(hook, slot, instance)))
            }
            Isolation::Request => {
                let (loan, tenant) = PluginState::own_instance(slot).try_borrow()?;
                let tenant = tenant.map(Ok).or_else(|| self.new_tenant())?;
                Some(tenant.map(|tenant| self.direct_in(hook, slot, loan, tenant)))
            }
        }
    }

    fn direct<H: Hook>(
        &self,
        hook: &H,
        slot: &mut ExchangeSlot,
        mut instance: Box<Instance>,
    ) -> Made<End<H::PhaseResult>> {
        let result = self.call(hook, slot, &mut instance);
        let result = result.and_then(|returned| {
            self.pool.put_back(instance);
            hook.conclude(returned, slot)
        });
        Made { result, ran: None }
    }

    /// Within an instance that is the exchange's own.
    fn direct_in<H: Hook>(
        &self,
        hook: &H,
        slot: &mut ExchangeSlot,
        loan: Loan,
        mut tenant: Tenant,
    ) -> Made<End<H::PhaseResult>> {
        let result = self.call(hook, slot, &mut tenant.instance);
        let result = result.and_then(|returned| {
            self.keep(loan, tenant);
            hook.conclude(returned, slot)
        });
        Made { result, ran: None }
    }

    /// A call that has to wait for something: for its instance, or while it runs.
    async fn on_fiber<H: Hook>(&self, hook: &H, slot: &mut ExchangeSlot) -> Attempted<End<H::PhaseResult>> {
        if self.pool.is_direct() {
            return self.direct_in_time(hook, slot).await;
        }
        let attempt = self.pool.attempt(H::PHASE).await?;
        let attempted = self.call_in_instance(hook, slot).await;
        let failure = match &attempted {
            Ok(made) => made.result.as_ref().err(),
            Err(failure) => Some(failure),
        };
        attempt.ended(failure.map(|failure| failure.kind));
        let Made { result, ran } = attempted?;
        Ok(Made { result: result.and_then(|returned| hook.conclude(returned, slot)), ran })
    }

    /// A call on the worker's own stack, when its instance is there.
    async fn direct_in_time<H: Hook>(&self, hook: &H, slot: &mut ExchangeSlot) -> Attempted<End<H::PhaseResult>> {
        match self.pool.prepared.isolation {
            Isolation::Shared => {
                let instance = self.pool.take_on_fiber(&self.services).await?;
                slot.begin_call();
                Ok(self.direct(hook, slot, instance))
            }
            Isolation::Request => {
                let (loan, tenant) = PluginState::own_instance(slot).borrow().await;
                let tenant = self.tenant_on_fiber(tenant).await?;
                slot.begin_call();
                Ok(self.direct_in(hook, slot, loan, tenant))
            }
        }
    }

    async fn call_in_instance<H: Hook>(&self, hook: &H, slot: &mut ExchangeSlot) -> Attempted<H::Return> {
        Ok(match self.pool.prepared.isolation {
            Isolation::Shared => {
                let _permit = self.pool.admit().await?;
                let mut instance = self.pool.take_on_fiber(&self.services).await?;
                let made = self.call_on_fiber(hook, slot, &mut instance).await;
                if made.result.is_ok() {
                    self.pool.put_back(instance);
                }
                made
            }
            Isolation::Request => {
                let (loan, tenant) = PluginState::own_instance(slot).borrow().await;
                let mut tenant = self.tenant_on_fiber(tenant).await?;
                let made = self.call_on_fiber(hook, slot, &mut tenant.instance).await;
                if made.result.is_ok() {
                    self.keep(loan, tenant);
                }
                made
            }
        })
    }

    /// An error means that the instance is lost.
    fn call<H: Hook>(
        &self,
        hook: &H,
        slot: &mut ExchangeSlot,
        instance: &mut Instance,
    ) -> Result<H::Return, StageFailure> {
        let function = hook.function(instance.functions())?;
        let params = hook.params(slot, self.handle_ownership(hook, slot, instance));
        if instance.is_unused() {
            // Making it is not the call's doing.
            slot.begin_call();
        }
        let result = instance.call(function, params, self.scope(slot));
        result.map_err(|failure| self.pool.failed_at_once(H::PHASE, failure))
    }

    /// An error means that the instance is lost.
    async fn call_on_fiber<H: Hook>(
        &self,
        hook: &H,
        slot: &mut ExchangeSlot,
        instance: &mut Instance,
    ) -> Made<H::Return> {
        let function = match hook.function(instance.functions()) {
            Ok(function) => function,
            Err(failure) => return Made { result: Err(failure), ran: None },
        };
        let _in_progress = self.pool.metrics.call_in_progress();
        let params = hook.params(slot, self.handle_ownership(hook, slot, instance));
        let result = instance.call_on_fiber(function, params, self.scope(slot)).await;
        Made { result: result.map_err(|failure| self.pool.failed(failure)), ran: Some(instance.ran()) }
    }

    /// As what this call gives the request and the response.
    fn handle_ownership<H: Hook>(&self, hook: &H, slot: &ExchangeSlot, instance: &mut Instance) -> HandleOwnership {
        let handle_ownership = self.pool.prepared.loaded.blueprint.handle_ownership;
        if handle_ownership == HandleOwnership::Owned {
            instance.gives(hook.handles(slot));
        }
        handle_ownership
    }

    fn scope<'a>(&'a self, slot: &'a mut ExchangeSlot) -> CallScope<'a> {
        let Pool { prepared, .. } = &*self.pool;
        CallScope { slot: Some(slot), services: &self.services, time: prepared.limits.time }
    }

    /// A new instance for one exchange; `None` if one has to wait for it.
    fn new_tenant(&self) -> Option<Result<Tenant, StageFailure>> {
        let permit = self.pool.try_admit()?;
        let instance = self.pool.create(&self.services)?;
        Some(instance.map(|instance| Tenant { instance, permit }))
    }

    /// The exchange's own instance, or a new one.
    async fn tenant_on_fiber(&self, own: Option<Tenant>) -> Result<Tenant, StageFailure> {
        if let Some(own) = own {
            return Ok(own);
        }
        let permit = self.pool.admit().await?;
        Ok(Tenant { instance: self.pool.create_on_fiber(&self.services).await?, permit })
    }

    /// The instance waits for the next call of its exchange.
    fn keep(&self, loan: Loan, tenant: Tenant) {
        let Tenant { instance, permit } = tenant;
        loan.end(self.pool.unless_worn(instance).map(|instance| Tenant { instance, permit }));
    }
}

impl Stage for PluginStage {
    fn name(&self) -> &Arc<str> {
        &self.pool.prepared.identity.name
    }

    fn phases(&self) -> Phases {
        self.pool.prepared.attended()
    }

    fn owned_headers(&self) -> &OwnedHeaders {
        static UNKNOWN: OwnedHeaders = OwnedHeaders { request: Vec::new(), response: Vec::new() };
        self.pool.prepared.owned().unwrap_or(&UNKNOWN)
    }

    fn on_request<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, Decision> {
        if !self.pool.prepared.attended().request {
            return Step::Done(Turn::NotCalled);
        }
        match PluginState::take_body(slot) {
            Some(body) => self.run(OnRequestBody(self.calling(), Cell::new(Some(body))), slot),
            None if self.exports().on_request.is_some() => self.run(OnRequest(self.calling()), slot),
            None => pending_body(slot),
        }
    }

    fn on_response<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision> {
        if !self.pool.prepared.attended().response {
            return Step::Done(Turn::NotCalled);
        }
        match PluginState::take_body(slot) {
            Some(body) => self.run(OnResponseBody(self.calling(), Cell::new(Some(body))), slot),
            None if self.exports().on_response.is_some() => self.run(OnResponse(self.calling()), slot),
            None => pending_body(slot),
        }
    }

    fn filters_messages(&self) -> bool {
        self.exports().on_message.is_some() && self.pool.prepared.attended().response
    }

    fn on_complete<'a>(&'a self, slot: &'a mut ExchangeSlot, outcome: &'a ExchangeOutcome) -> Step<'a, ()> {
        if !self.pool.prepared.attended().complete {
            return Step::Done(Turn::NotCalled);
        }
        self.run(OnComplete(outcome), slot)
    }

    fn ready<'a>(&'a self, slot: &'a mut ExchangeSlot) -> LocalFuture<'a, ()> {
        Box::pin(PluginState::ready(slot))
    }

    fn abandon(&self, slot: &mut ExchangeSlot) {
        PluginState::end_turn(slot);
    }

    fn start(&self) {
        self.pool.begin_use();
        timers::start(&self.pool, &self.services);
        self.pool.refresh_documents(&self.services);
    }

    fn ticks(&self) -> bool {
        !self.pool.prepared.documents().is_empty()
    }

    fn tick(&self) {
        self.pool.refresh_documents(&self.services);
    }

    fn stop(&self) {
        self.pool.end_use();
    }
}

/// A stage that reads every body waits for it before its first call.
fn pending_body<'a, T>(slot: &mut ExchangeSlot) -> Step<'a, T> {
    PluginState::await_body(slot);
    Step::Done(Turn::Pending)
}

/// What came of a turn: its end, or what it waits for.
fn turn<T>(attempted: Attempted<End<T>>, slot: &mut ExchangeSlot) -> Turn<T> {
    let Made { result, ran } = match attempted {
        Ok(made) => made,
        Err(failure) => {
            PluginState::end_turn(slot);
            return Turn::Refused(failure);
        }
    };
    let end = match result {
        Ok(End::ReadBody) => {
            PluginState::await_body(slot);
            CallEnd::Pending
        }
        Ok(End::AwaitRelease) if PluginState::awaits_release(slot) => CallEnd::Pending,
        Ok(End::AwaitRelease) => CallEnd::Failed(StageFailure {
            kind: FailureKind::Error,
            detail: "it returned `await-release`, and neither `cache.lock` nor `store.wait-for-lease` let it wait"
                .to_owned(),
        }),
        Ok(End::Done(value)) => CallEnd::Returned(value),
        Err(failure) => CallEnd::Failed(failure),
    };
    if matches!(end, CallEnd::Pending) {
        PluginState::end_lease_turn(slot);
    } else {
        PluginState::end_turn(slot);
    }
    Turn::Called { end, ran }
}
