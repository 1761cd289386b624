//! Runs the timers of plugins on a worker.
//!
//! Each worker that uses a plugin has a task for each of its timers. The tasks of one timer wait for its turn
//! (`services::timers`), and the one that has it sleeps until the next call is due and makes it. So there is one call per process
//! at a time, a worker that ends leaves its timers to another one, and tasks that wait cost nothing.
//!
//! A task belongs to the worker's pool of the plugin and not to a stage: a thousand routes with the plugin have one, and a
//! reload that keeps the plugin's configuration changes nothing but the services that the next call uses.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_core::model::Isolation;
use gateway_pipeline::{FailureKind, StageFailure};
use gateway_telemetry::metrics::{CallMetrics, CallPhase};
use tokio::sync::watch;

use crate::{
    instance::{CallScope, output::failure_text},
    pools::{Pool, RunningTimers},
    services::{
        Services,
        timers::{Timer, Turn},
    },
};

/// The first call is made at a random time within this, so that the timers of many plugins do not begin together. It also decides
/// which worker is the first to ask for the turn.
const JITTER: Duration = Duration::from_secs(1);
/// The first call waits for the connection to Redis for this long, in steps, if the plugin may need it.
const REDIS_STEP: Duration = Duration::from_millis(100);
const REDIS_STEPS: usize = 30;

/// Runs the timers of a pool, with these services from now on.
pub(crate) fn start(pool: &Rc<Pool>, services: &Rc<Services>) {
    let settings = pool.prepared.timers();
    if settings.is_empty() || pool.timers_have_ended() {
        return;
    }
    let mut running = pool.timers.borrow_mut();
    if let Some(running) = &*running {
        running.use_services(services);
        return;
    }
    let (stop, stopped) = watch::channel(());
    let current = Rc::new(RefCell::new(Rc::clone(services)));
    let shared = &services.shared;
    let name = &pool.prepared.identity.name;
    let calls = shared.metrics.calls(services.worker, name, &"".into());
    let key = pool.prepared.key(shared);
    for settings in settings {
        let task = TimerTask {
            timer: shared.timers.timer(key, name, &settings.name, settings.interval),
            pool: Rc::clone(pool),
            services: Rc::clone(&current),
            calls: Arc::clone(&calls),
        };
        tokio::task::spawn_local(task.run(stopped.clone()));
    }
    *running = Some(RunningTimers::new(current, stop));
}

/// One timer on one worker.
struct TimerTask {
    timer: Arc<Timer>,
    pool: Rc<Pool>,
    services: Rc<RefCell<Rc<Services>>>,
    calls: Arc<CallMetrics>,
}

impl TimerTask {
    async fn run(self, mut stop: watch::Receiver<()>) {
        let is_by_hand = self.services.borrow().shared.timers.is_by_hand();
        let jitter = if is_by_hand { Duration::ZERO } else { JITTER.mul_f64(fastrand::f64()) };
        let mut turn = tokio::select! {
            biased;
            _ = stop.changed() => return,
            turn = async {
                // See `JITTER`.
                tokio::time::sleep(jitter).await;
                let turn = self.timer.turn.lock().await;
                self.redis_is_there().await;
                turn
            } => turn,
        };
        loop {
            let Turn { due, fired } = &mut *turn;
            let fired = tokio::select! {
                biased;
                _ = stop.changed() => return,
                fired = fired.recv() => fired,
                () = until(*due) => None,
            };
            // Also before the call, which the end of the worker may cut off: another worker then takes the turn.
            turn.due = turn.due.map(|_| Instant::now() + self.timer.interval);
            let result = {
                let _in_progress = self.pool.timer_call();
                self.call().await
            };
            turn.due = turn.due.map(|_| Instant::now() + self.timer.interval);
            if let Err(failure) = &result {
                self.calls.failed(failure.kind.counted());
                let (plugin, timer) = (self.pool.prepared.name(), &*self.timer.name);
                tracing::warn!(plugin, timer, "plugin failed in a timer: {}", failure.detail);
            }
            if let Some(fired) = fired {
                // A caller that has gone does not need the result.
                let _ = fired.send(result.map_err(|failure| failure.detail));
            }
        }
    }

    /// Gives Redis the time to be connected to, if the plugin keeps its state there: the gateway has just started, perhaps.
    async fn redis_is_there(&self) {
        if !self.pool.prepared.loaded.blueprint.waits.with_remote_state {
            return;
        }
        let remote = self.services.borrow().shared.remote.clone();
        let Some(remote) = remote else { return };
        for _ in 0..REDIS_STEPS {
            if remote.trouble().is_none() {
                return;
            }
            // The connection does not say when it is there.
            tokio::time::sleep(REDIS_STEP).await;
        }
    }

    async fn call(&self) -> Result<(), StageFailure> {
        let services = Rc::clone(&self.services.borrow());
        let said = if self.pool.is_direct() {
            self.call_in_instance(&services, true).await
        } else {
            let attempt = self.pool.attempt(CallPhase::Timer).await?;
            let said = self.call_in_instance(&services, false).await;
            attempt.ended(said.as_ref().err().map(|failure| failure.kind));
            said
        };
        said?.map_err(|message| StageFailure { kind: FailureKind::Error, detail: failure_text(&message) })
    }

    async fn call_in_instance(
        &self,
        services: &Rc<Services>,
        is_direct: bool,
    ) -> Result<Result<(), String>, StageFailure> {
        let Self { pool, timer, .. } = self;
        let _permit = pool.admit().await?;
        let is_shared = pool.prepared.isolation == Isolation::Shared;
        let mut instance = match is_shared {
            true => pool.take_on_fiber(services).await?,
            false => pool.create_on_fiber(services).await?,
        };
        let missing = || StageFailure { kind: FailureKind::Error, detail: "it exports no `timers`".to_owned() };
        let function = instance.functions().on_timer.ok_or_else(missing)?;
        let params = ((*timer.name).to_owned(),);
        let scope = CallScope { slot: None, services, time: pool.prepared.limits.time };
        let (said,) = if is_direct {
            let began = Instant::now();
            let said = instance.call(function, params, scope);
            self.count(began.elapsed());
            said.map_err(|failure| pool.failed_at_once(CallPhase::Timer, failure))?
        } else {
            let _in_progress = pool.metrics.call_in_progress();
            let said = instance.call_on_fiber(function, params, scope).await;
            self.count(instance.ran());
            said.map_err(|failure| pool.failed(failure))?
        };
        if is_shared {
            pool.put_back(instance);
        }
        Ok(said)
    }

    fn count(&self, ran: Duration) {
        self.calls.called(CallPhase::Timer, u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
