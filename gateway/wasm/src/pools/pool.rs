//! A worker's warm instances of one plugin with one configuration. Each is used by one call at a time, the
//! last used first, and only those that came through their last call are used again.

mod obtain;

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_pipeline::{FailureKind, StageFailure};
use gateway_telemetry::metrics::{CallPhase, PluginMetrics};
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, watch};

use super::{
    idle::{Idle, Own},
    running_timers::RunningTimers,
};
use crate::{
    admission::{
        Evict,
        breaker::{self, Breaker},
    },
    instance::Instance,
    plugin::Prepared,
    services::Services,
};

/// Calls that may wait for an instance in each pool, if it has fewer instances than that.
const QUEUE: usize = 256;
/// Between two looks at the declared documents.
const DOCUMENT_INTERVAL: Duration = Duration::from_secs(1);
/// How many of them wait for Redis before documents are fetched without it.
const LOOKS_WITHOUT_REDIS: u8 = 3;

pub(crate) struct Pool {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) metrics: PluginMetrics,
    /// The worker's, and which of them are this pool's.
    idle: Rc<Idle>,
    own: Own,
    /// As many as `limits.instances` allows.
    permits: Arc<Semaphore>,
    /// Calls that wait for an instance, and how many may.
    waiting: Cell<usize>,
    queue: usize,
    /// Calls can wait while they run, and so need fibers.
    can_wait: bool,
    /// Instances that take long to get ready are made one after the other, so that calls find the first one ready instead of
    /// making one each.
    making: Mutex<()>,
    /// The call that makes the next instance has no room for it, and waits for an instance that comes back as well.
    awaits_instance: Cell<bool>,
    returned: Notify,
    /// Bytes of linear memory that an instance is expected to come to: as much as others had lately.
    expected: Cell<usize>,
    /// A call has timed out, so later ones run on fibers and make room for others while they run.
    suspect: Cell<bool>,
    /// One for each phase; most plugins never need any.
    breakers: OnceCell<Box<[Breaker; CallPhase::ALL.len()]>>,
    /// Held by a call that may well time out again: one at a time.
    turn: Mutex<()>,
    /// The stages that new requests can begin with.
    users: Cell<usize>,
    /// The last of them has ended: instances of requests in progress are not kept for others. A stage outside of a pipeline has
    /// neither beginning nor end.
    stopped: Cell<bool>,
    /// When the declared documents were looked at last.
    documents_checked: Cell<Option<Instant>>,
    looks_without_redis: Cell<u8>,
    /// While new requests can begin with the plugin, if it has timers.
    pub(crate) timers: RefCell<Option<RunningTimers>>,
    timers_ended: Cell<bool>,
    /// Each call of a timer in progress on the worker has a receiver of it.
    timer_calls: watch::Sender<()>,
}

/// A call on a fiber that may begin.
pub(crate) struct Attempt<'a> {
    attempt: breaker::Attempt<'a>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Pool {
    /// `instances` limits how many there are at a time, `queue` how many calls wait for one.
    pub(crate) fn new(
        prepared: Arc<Prepared>,
        services: &Services,
        idle: &Rc<Idle>,
        timer_calls: &watch::Sender<()>,
        instances: Option<usize>,
        queue: usize,
    ) -> Self {
        let metrics = services.shared.metrics.plugin(services.worker, &prepared.identity.name);
        Self {
            idle: Rc::clone(idle),
            own: Own::default(),
            permits: Arc::new(Semaphore::new(instances.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))),
            waiting: Cell::new(0),
            queue: queue.max(QUEUE),
            can_wait: prepared.can_wait(&services.shared),
            making: Mutex::default(),
            awaits_instance: Cell::new(false),
            returned: Notify::new(),
            expected: Cell::new(prepared.footprint()),
            suspect: Cell::new(false),
            breakers: OnceCell::new(),
            turn: Mutex::default(),
            users: Cell::new(0),
            stopped: Cell::new(false),
            documents_checked: Cell::new(None),
            looks_without_redis: Cell::new(0),
            timers: RefCell::default(),
            timers_ended: Cell::new(false),
            timer_calls: timer_calls.clone(),
            metrics,
            prepared,
        }
    }

    /// One more stage begins to use it.
    pub(crate) fn begin_use(&self) {
        self.users.set(self.users.get() + 1);
        self.stopped.set(false);
    }

    /// One of the stages is only used by requests under way any more. Without others no instances are kept for those.
    pub(crate) fn end_use(&self) {
        self.users.set(self.users.get().saturating_sub(1));
        if self.users.get() == 0 {
            self.stopped.set(true);
            self.timers.take();
            self.clear();
        }
    }

    /// The process will end: no timer of the plugin is called any more on this worker. A call in progress continues.
    pub(crate) fn end_timers(&self) {
        self.timers_ended.set(true);
        self.timers.take();
    }

    pub(crate) fn timers_have_ended(&self) -> bool {
        self.timers_ended.get()
    }

    /// A call of a timer is in progress until this is dropped.
    pub(crate) fn timer_call(&self) -> watch::Receiver<()> {
        self.timer_calls.subscribe()
    }

    /// Fetches the documents that the plugin has declared, as far as they are not known or due for a refresh. Nothing waits for
    /// that. The stages of many routes may call it: once in a while is enough for all of them.
    pub(crate) fn refresh_documents(&self, services: &Rc<Services>) {
        let now = Instant::now();
        let is_due = self.documents_checked.get().is_none_or(|last| now.duration_since(last) >= DOCUMENT_INTERVAL);
        if self.prepared.documents().is_empty() || !is_due {
            return;
        }
        self.documents_checked.set(Some(now));
        let shared = &services.shared;
        // Another gateway may have them, which Redis says as soon as it is connected.
        let is_connecting = shared.remote.as_ref().is_some_and(|remote| remote.trouble().is_some());
        if is_connecting && self.looks_without_redis.get() < LOOKS_WITHOUT_REDIS {
            self.looks_without_redis.set(self.looks_without_redis.get() + 1);
            return;
        }
        for source in self.prepared.documents() {
            shared.documents.prefetch(source, &services.upstreams, shared.remote.as_ref());
        }
    }

    /// Whether calls run on the worker's own stack. Then there is never more than one at a time.
    pub(crate) fn is_direct(&self) -> bool {
        !self.can_wait && !self.suspect.get()
    }

    /// Keeps an instance that came through its call, unless it is worn out.
    pub(crate) fn put_back(&self, instance: Box<Instance>) {
        if let Some(instance) = self.unless_worn(instance) {
            if self.stopped.get() {
                return;
            }
            self.idle.push(&self.own, instance);
            let capacity = &self.prepared.loaded.blueprint.capacity;
            if self.awaits_instance.get() {
                self.returned.notify_one();
            } else if capacity.is_short()
                && let Some(floor) = capacity.eviction_floor()
            {
                self.idle.evict(floor);
            }
        }
    }

    pub(crate) fn unless_worn(&self, mut instance: Box<Instance>) -> Option<Box<Instance>> {
        instance.settle();
        // Up at once, since many instances may come to that at the same time, and slowly down.
        let (memory, expected) = (instance.memory(), self.expected.get());
        self.expected.set(memory.max(expected - expected / 64));
        (!instance.is_worn(self.prepared.limits.max_calls)).then_some(instance)
    }

    /// Drops what is idle.
    fn clear(&self) {
        self.idle.clear(&self.own);
    }

    /// Lets a call on a fiber begin, unless the plugin has timed out too often.
    pub(crate) async fn attempt(&self, phase: CallPhase) -> Result<Attempt<'_>, StageFailure> {
        let breaker = self.breaker(phase);
        let open = |_| {
            let detail = "it has run into its time limit too often, and is not called for a while".to_owned();
            StageFailure { kind: FailureKind::CircuitOpen, detail }
        };
        if breaker.refuses(Instant::now()) {
            return Err(open(breaker::IsOpen));
        }
        // A call that never waits loses nothing when it is alone. One that can wait takes its turn as well while its last call has timed
        // out, but not for longer than another one may run: that one may be waiting.
        let turn = if self.can_wait {
            match breaker.is_doubtful() {
                true => tokio::time::timeout(self.prepared.limits.time * 2, self.turn.lock()).await.ok(),
                false => None,
            }
        } else {
            match breaker.is_doubtful() || self.suspect.get() {
                true => Some(self.wait_for(obtain::until(), self.turn.lock()).await?),
                false => None,
            }
        };
        let attempt = breaker.attempt(Instant::now()).map_err(open)?;
        Ok(Attempt { attempt, _turn: turn })
    }

    /// A call on the worker's own stack failed, where there are no attempts.
    pub(crate) fn failed_at_once(&self, phase: CallPhase, failure: StageFailure) -> StageFailure {
        if failure.kind == FailureKind::Timeout {
            self.breaker(phase).timed_out(false, Instant::now());
        }
        self.failed(failure)
    }

    fn breaker(&self, phase: CallPhase) -> &Breaker {
        let new = |phase| Breaker::new(Arc::clone(&self.prepared.identity.name), phase, self.metrics.clone());
        &self.breakers.get_or_init(|| Box::new(CallPhase::ALL.map(new)))[phase as usize]
    }

    /// Learns from a failure.
    pub(crate) fn failed(&self, failure: StageFailure) -> StageFailure {
        if failure.kind == FailureKind::Timeout {
            self.suspect.set(true);
        }
        failure
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Attempt<'_> {
    /// The call ended so, for a reason of its own.
    pub(crate) fn ended(self, failure: Option<FailureKind>) {
        // That no instance was free tells nothing of the plugin.
        if failure != Some(FailureKind::Busy) {
            self.attempt.ended(failure == Some(FailureKind::Timeout), Instant::now());
        }
    }
}
