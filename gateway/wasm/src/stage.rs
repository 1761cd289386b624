//! A plugin as a stage of the pipeline.

use std::{
    any::Any,
    cell::OnceCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_core::model::Isolation;
use gateway_pipeline::{Decision, FailureKind, Outcome, OwnedHeaders, Phases, Slot, Stage, StageFailure, Step};
use gateway_telemetry::metrics::{CallMetrics, CallPhase};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    awaited::{self, Awaited},
    bodies::following::Following,
    hook::{Hook, OnComplete, OnRequest, OnResponse},
    instance::{Instance, Lending, Loan},
    passing,
    pools::Pool,
    services::Services,
};

pub(super) struct PluginStage {
    pool: Rc<Pool>,
    /// Of the configuration that the stage belongs to; the pool may outlive that.
    services: Rc<Services>,
    route: Arc<str>,
    /// Found when it is first needed: most routes of a large configuration have no requests.
    calls: OnceCell<Arc<CallMetrics>>,
}

impl PluginStage {
    pub(super) fn new(pool: Rc<Pool>, services: Rc<Services>, route: Arc<str>) -> Self {
        Self { pool, services, route, calls: OnceCell::new() }
    }

    fn calls(&self) -> &Arc<CallMetrics> {
        let Services { worker, shared, .. } = &*self.services;
        self.calls.get_or_init(|| shared.metrics.calls(*worker, &self.pool.prepared.identity.name, &self.route))
    }

    fn run<'a, H: Hook + 'a>(
        &'a self,
        hook: H,
        position: usize,
        slot: &'a mut Slot,
    ) -> Step<'a, Result<H::Answer, StageFailure>> {
        match self.at_once(&hook, position, slot) {
            Some(result) => match Awaited::take(slot) {
                Some(awaited) if is_reported(&result) => {
                    Step::Wait(Box::pin(self.again(hook, position, slot, awaited)))
                }
                _ => Step::Done(result),
            },
            None => Step::Wait(Box::pin(async move {
                let result = self.on_fiber(&hook, position, slot).await;
                match Awaited::take(slot) {
                    Some(awaited) if is_reported(&result) => self.again(hook, position, slot, awaited).await,
                    _ => result,
                }
            })),
        }
    }

    /// A call on the worker's own stack; `None` if that cannot be.
    fn at_once<H: Hook>(&self, hook: &H, position: usize, slot: &mut Slot) -> Option<Result<H::Answer, StageFailure>> {
        if !self.pool.is_direct() {
            return None;
        }
        match self.pool.prepared.isolation {
            Isolation::Shared => {
                let instance = self.pool.take(&self.services, self.calls())?;
                Some(instance.and_then(|instance| self.direct(hook, slot, instance)))
            }
            Isolation::Request => {
                let tenant = Tenant::of(slot, position).map(Ok).or_else(|| self.new_tenant())?;
                Some(tenant.and_then(|tenant| self.direct_in(hook, position, slot, tenant)))
            }
        }
    }

    /// The call failed because something was not there yet: waits for it, and makes the call again.
    async fn again<H: Hook>(
        &self,
        hook: H,
        position: usize,
        slot: &mut Slot,
        mut awaited: Awaited,
    ) -> Result<H::Answer, StageFailure> {
        let mut rounds = 0;
        while rounds < awaited::ROUNDS {
            rounds += usize::from(!awaited.goes_on());
            awaited.arrive(slot).await;
            slot.mark = Instant::now();
            let result = match self.at_once(&hook, position, slot) {
                Some(result) => result,
                None => self.on_fiber(&hook, position, slot).await,
            };
            match Awaited::take(slot) {
                Some(more) if is_reported(&result) => awaited = more,
                _ => {
                    awaited::forget(slot);
                    return result;
                }
            }
        }
        awaited::forget(slot);
        let detail = "it had to wait for one thing after another".to_owned();
        Err(self.pool.failed(StageFailure { kind: FailureKind::Error, detail }, self.calls()))
    }

    fn direct<H: Hook>(
        &self,
        hook: &H,
        slot: &mut Slot,
        mut instance: Box<Instance>,
    ) -> Result<H::Answer, StageFailure> {
        let result = self.call(hook, slot, &mut instance)?;
        self.pool.put_back(instance);
        self.conclude(hook, slot, result)
    }

    /// Within an instance that is the exchange's own.
    fn direct_in<H: Hook>(
        &self,
        hook: &H,
        position: usize,
        slot: &mut Slot,
        mut tenant: Tenant,
    ) -> Result<H::Answer, StageFailure> {
        let result = self.call(hook, slot, &mut tenant.instance)?;
        self.keep(tenant, slot, position);
        self.conclude(hook, slot, result)
    }

    /// A call that has to wait for something: for its instance, or while it runs.
    async fn on_fiber<H: Hook>(&self, hook: &H, position: usize, slot: &mut Slot) -> Result<H::Answer, StageFailure> {
        if self.pool.is_direct() {
            return self.direct_in_time(hook, position, slot).await;
        }
        let attempt = self.pool.attempt(H::PHASE, self.calls()).await?;
        let result = self.call_in_instance(hook, position, slot).await;
        // One that gave way has not ended.
        if !Awaited::is_in(slot) {
            attempt.ended(result.as_ref().err().map(|failure| failure.kind));
        }
        self.conclude(hook, slot, result?)
    }

    /// A call on the worker's own stack, when its instance is there.
    async fn direct_in_time<H: Hook>(
        &self,
        hook: &H,
        position: usize,
        slot: &mut Slot,
    ) -> Result<H::Answer, StageFailure> {
        match self.pool.prepared.isolation {
            Isolation::Shared => {
                let instance = self.pool.take_on_fiber(&self.services, self.calls()).await?;
                slot.mark = Instant::now();
                self.direct(hook, slot, instance)
            }
            Isolation::Request => {
                let permit = self.pool.admit(self.calls()).await?;
                let instance = self.pool.create_on_fiber(&self.services, self.calls()).await?;
                self.direct_in(hook, position, slot, Tenant { instance, permit })
            }
        }
    }

    async fn call_in_instance<H: Hook>(
        &self,
        hook: &H,
        position: usize,
        slot: &mut Slot,
    ) -> Result<H::Return, StageFailure> {
        Ok(match self.pool.prepared.isolation {
            Isolation::Shared => {
                let _permit = self.pool.admit(self.calls()).await?;
                let mut instance = self.pool.take_on_fiber(&self.services, self.calls()).await?;
                let result = self.call_on_fiber(hook, slot, &mut instance).await?;
                self.pool.put_back(instance);
                result
            }
            Isolation::Request => {
                let mut tenant = match Tenant::of(slot, position) {
                    Some(tenant) => tenant,
                    None => {
                        let permit = self.pool.admit(self.calls()).await?;
                        Tenant { instance: self.pool.create_on_fiber(&self.services, self.calls()).await?, permit }
                    }
                };
                let result = self.call_on_fiber(hook, slot, &mut tenant.instance).await?;
                self.keep(tenant, slot, position);
                result
            }
        })
    }

    /// An error means that the instance is lost.
    fn call<H: Hook>(&self, hook: &H, slot: &mut Slot, instance: &mut Instance) -> Result<H::Return, StageFailure> {
        let function = hook.function(instance.functions())?;
        let params = hook.params(slot, self.lending(hook, slot, instance));
        if instance.is_unused() {
            // Making it is not the call's doing.
            slot.mark = Instant::now();
        }
        let result = instance.call(function, params, self.loan(slot));
        // Reading the clock costs a part of such a call, so one stage's end is the next one's beginning.
        let ended = Instant::now();
        self.count::<H>(ended.saturating_duration_since(std::mem::replace(&mut slot.mark, ended)));
        result.map_err(|failure| self.pool.failed_at_once(H::PHASE, failure, self.calls()))
    }

    async fn call_on_fiber<H: Hook>(
        &self,
        hook: &H,
        slot: &mut Slot,
        instance: &mut Instance,
    ) -> Result<H::Return, StageFailure> {
        let function = hook.function(instance.functions())?;
        let params = hook.params(slot, self.lending(hook, slot, instance));
        // A call that gives way is made again, and its edits with it.
        let own = self.gives_way() && slot.begin_transaction_if_none();
        let result = instance.call_on_fiber(function, params, self.loan(slot)).await;
        if Awaited::is_in(slot) && is_reported(&result) {
            slot.start_over();
        }
        if own {
            slot.commit();
        }
        self.count::<H>(instance.ran());
        slot.mark = Instant::now();
        result.map_err(|failure| self.counted(failure, slot))
    }

    /// As what this call gives the request and the response.
    fn lending<H: Hook>(&self, hook: &H, slot: &Slot, instance: &mut Instance) -> Lending {
        let lending = self.pool.prepared.loaded.blueprint.lending;
        if lending == Lending::Owned {
            instance.gives(hook.handles(slot));
        }
        lending
    }

    fn loan<'a>(&'a self, slot: &'a mut Slot) -> Loan<'a> {
        let Pool { prepared, .. } = &*self.pool;
        let contention = self.gives_way().then(|| self.pool.contention());
        Loan { slot: Some(slot), services: &self.services, time: prepared.limits.time, contention }
    }

    /// Whether a call may be made again in another instance: one that belongs to an exchange may know of it what a new one
    /// does not.
    fn gives_way(&self) -> bool {
        let Pool { prepared, .. } = &*self.pool;
        prepared.loaded.blueprint.waits && prepared.isolation == Isolation::Shared
    }

    /// Counts a failure of a call, unless it only has to be made again.
    fn counted(&self, failure: StageFailure, slot: &Slot) -> StageFailure {
        let waits = failure.kind == FailureKind::Error && Awaited::is_in(slot);
        if waits { failure } else { self.pool.failed(failure, self.calls()) }
    }

    /// The call went well; what it returned may still be a failure.
    fn conclude<H: Hook>(&self, hook: &H, slot: &mut Slot, result: H::Return) -> Result<H::Answer, StageFailure> {
        let following = if H::PHASE == CallPhase::Response { Following::take(slot) } else { None };
        let answer = hook.answer(result, slot);
        if let (Some(following), Ok(_)) = (following, &answer) {
            let position = slot.stage;
            let own = Tenant::of(slot, position).map(|tenant| (tenant.instance, tenant.permit));
            passing::begin(following, own, slot, &self.pool, &self.services, self.calls());
        }
        if answer.as_ref().is_ok_and(H::is_answer) {
            self.calls().answered();
        }
        answer.map_err(|failure| self.counted(failure, slot))
    }

    /// Counts a call and its running time.
    fn count<H: Hook>(&self, ran: Duration) {
        self.calls().called(H::PHASE, u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A new instance for one exchange; `None` if one has to wait for it.
    fn new_tenant(&self) -> Option<Result<Tenant, StageFailure>> {
        let permit = self.pool.try_admit()?;
        let instance = self.pool.create(&self.services, self.calls())?;
        Some(instance.map(|instance| Tenant { instance, permit }))
    }

    fn keep(&self, tenant: Tenant, slot: &mut Slot, position: usize) {
        let Tenant { instance, permit } = tenant;
        if let Some(instance) = self.pool.unless_worn(instance) {
            slot.stash.push((position, Box::new(Tenant { instance, permit })));
        }
    }
}

impl Stage for PluginStage {
    fn name(&self) -> &str {
        &self.pool.prepared.identity.name
    }

    fn phases(&self) -> Phases {
        self.pool.prepared.attended()
    }

    fn owned_headers(&self) -> &OwnedHeaders {
        static UNKNOWN: OwnedHeaders = OwnedHeaders { request: Vec::new(), response: Vec::new() };
        self.pool.prepared.owned().unwrap_or(&UNKNOWN)
    }

    fn on_request<'a>(&'a self, position: usize, slot: &'a mut Slot) -> Step<'a, Result<Decision, StageFailure>> {
        if !self.pool.prepared.attended().request {
            return Step::Done(Ok(Decision::Next));
        }
        self.run(OnRequest, position, slot)
    }

    fn on_response<'a>(&'a self, position: usize, slot: &'a mut Slot) -> Step<'a, Result<(), StageFailure>> {
        if !self.pool.prepared.attended().response {
            return Step::Done(Ok(()));
        }
        self.run(OnResponse, position, slot)
    }

    fn on_complete<'a>(
        &'a self,
        position: usize,
        slot: &'a mut Slot,
        outcome: &'a Outcome,
    ) -> Step<'a, Result<(), StageFailure>> {
        if !self.pool.prepared.attended().complete {
            return Step::Done(Ok(()));
        }
        self.run(OnComplete(outcome), position, slot)
    }
}

/// An instance that belongs to one exchange and waits in its stash from one phase to the next.
struct Tenant {
    instance: Box<Instance>,
    permit: OwnedSemaphorePermit,
}

impl Tenant {
    /// Takes it out of the stash.
    fn of(slot: &mut Slot, position: usize) -> Option<Self> {
        let mine = |(at, kept): &(usize, Box<dyn Any>)| *at == position && kept.is::<Self>();
        let index = slot.stash.iter().position(mine)?;
        slot.stash.swap_remove(index).1.downcast().ok().map(|tenant| *tenant)
    }
}

/// Whether the plugin itself said that it failed, so that its instance is as good as before.
fn is_reported<T>(result: &Result<T, StageFailure>) -> bool {
    result.as_ref().is_err_and(|failure| failure.kind == FailureKind::Error)
}
