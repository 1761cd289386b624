//! A plugin with its configuration: made once, shared by all workers.

use std::{
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use gateway_core::model::{Grants, Isolation, Names, PluginLimits};
use gateway_pipeline::{FailureKind, OwnedHeaders, Phases, StageFailure};
use gateway_rules::identity::Encoder;
use gateway_telemetry::metrics::PluginMetrics;

use super::{
    facts::Facts,
    load::Loaded,
    timers::{self, TimerSettings},
};
use crate::{
    admission::{Account, Reservation},
    bindings::{self, ConfigProblem},
    engine::{
        clock::thread_cpu_time,
        threads::{no_thread, on_own_runtime},
    },
    identity::{Sha256, sha256},
    instance::{
        CallScope, Instance, InstanceParameters,
        output::LogRate,
        plugin_identity::{Denials, Identity},
    },
    services::{Named, Services, Shared, documents::Source},
};

/// What a `configure` may take if its plugin's limit for calls is less. It runs once for each instance, and
/// interpreters start in it.
const CONFIGURE_TIME: Duration = Duration::from_secs(1);
/// An instance that takes longer to get ready would hold up its worker.
const SLOW: Duration = Duration::from_millis(5);
/// Of what a plugin has against a configuration, this much is shown.
const PROBLEMS: usize = 100;
const PROBLEM_BYTES: usize = 1024;

/// Where and how a component is used.
pub struct Settings<'a> {
    /// The name that the configuration gives the plugin.
    pub name: Arc<str>,
    /// What its `configure` gets, as JSON.
    pub config: &'a serde_json::Value,
    /// What it may use, by name.
    pub grants: Grants,
    /// Of each instance and of each call.
    pub limits: PluginLimits,
    /// Whether an instance serves one exchange or many.
    pub isolation: Isolation,
    /// The component is one of the gateway's own.
    pub standard: bool,
}

/// A component with its configuration, grants and limits.
pub struct Prepared {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) config: String,
    pub(crate) limits: PluginLimits,
    pub(crate) isolation: Isolation,
    /// An instance has taken long to get ready, so they are made on fibers from then on.
    is_slow: AtomicBool,
    /// What the first configured instance, which is the one of the trial, said about its active phases; until then all that it exports.
    attended: OnceLock<Phases>,
    /// What it said about stored responses: that it looks for them in this gateway's memory only.
    is_cache_local: OnceLock<bool>,
    /// The headers that the lists of edits of the first configured instance set or remove.
    owned: OnceLock<OwnedHeaders>,
    /// The documents that the first configured instance asked for.
    documents: OnceLock<Arc<[Source]>>,
    /// The timers of the first configured instance.
    timers: OnceLock<Arc<[TimerSettings]>>,
    /// Bytes of linear memory that the first configured instance had.
    footprint: AtomicUsize,
    /// What all its instances hold.
    pub(crate) account: Arc<Account>,
}

/// What a plugin has against its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) to the offending value; empty for the whole.
    pub pointer: String,
    /// For people, without control characters.
    pub message: String,
}

/// What two uses of a component must have in common to share their instances.
pub(crate) type Key = Sha256;

impl Prepared {
    /// A plugin that has not been tried: `try_configure` tells whether it takes its configuration.
    pub fn new(loaded: Arc<Loaded>, settings: Settings<'_>) -> Arc<Self> {
        let Settings { name, config, grants, limits, isolation, standard } = settings;
        let (log_rate, denials) = (LogRate::default(), Denials::default());
        let identity = Arc::new(Identity { name, grants, standard, log_rate, denials });
        let (attended, owned, documents, timers) = (OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (config, is_slow, is_cache_local) = (config.to_string(), AtomicBool::new(false), OnceLock::new());
        let (footprint, account) = (AtomicUsize::new(0), Arc::default());
        Arc::new(Self {
            loaded,
            identity,
            config,
            limits,
            isolation,
            is_slow,
            attended,
            is_cache_local,
            owned,
            documents,
            timers,
            footprint,
            account,
        })
    }

    /// What the configuration calls it.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// What its component says about itself.
    pub fn facts(&self) -> &Facts {
        self.loaded.facts()
    }

    /// Whether instances have to be made on fibers.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }

    /// Whether its calls can wait, and so have to run on fibers.
    pub(crate) fn can_wait(&self, shared: &Shared) -> bool {
        self.calls_on_fibers(shared.remote.is_some())
    }

    /// Whether its calls run on fibers. Those of the trial do, until the plugin has said that they need not.
    pub fn calls_on_fibers(&self, is_state_remote: bool) -> bool {
        let is_cache_local = self.is_cache_local.get().copied().unwrap_or(false);
        self.loaded.blueprint.waits.with(&self.identity.grants, is_state_remote, is_cache_local)
    }

    /// The phases in which there is anything to call, as far as it is known: always, after `try_configure`.
    pub(crate) fn attended(&self) -> Phases {
        self.attended.get().copied().unwrap_or(self.loaded.facts().phases)
    }

    /// The headers that it is known to set or remove; `None` until there was a configured instance.
    pub(crate) fn owned(&self) -> Option<&OwnedHeaders> {
        self.owned.get()
    }

    /// The documents that are fetched before the plugin serves and while it does, whether calls need them or not.
    pub(crate) fn documents(&self) -> &[Source] {
        self.documents.get().map_or(&[], |documents| documents)
    }

    /// Bytes of linear memory that an instance has before its first call, as far as it is known.
    pub(crate) fn footprint(&self) -> usize {
        self.footprint.load(Relaxed)
    }

    /// Whether there are documents to be fetched before it serves.
    pub fn declares_documents(&self) -> bool {
        !self.documents().is_empty()
    }

    /// Its timers; none before `try_configure`.
    pub fn timers(&self) -> &[TimerSettings] {
        self.timers.get().map_or(&[], |timers| timers)
    }

    fn learn(
        &self,
        instance: &Instance,
        said: Option<bindings::PhaseSet>,
        timers: Vec<bindings::Timer>,
    ) -> Result<(), Refusal> {
        let whole = |message| Refusal::Problems(vec![Problem { pointer: String::new(), message }]);
        let timers = timers::checked(timers).map_err(whole)?;
        self.timers.get_or_init(|| timers);
        self.owned.get_or_init(|| instance.owned());
        self.footprint.store(instance.memory(), Relaxed);
        self.documents.get_or_init(|| instance.declared_documents());
        self.is_cache_local.get_or_init(|| said.is_some_and(|said| said.contains(bindings::PhaseSet::LOCAL_CACHE)));
        let exported = self.loaded.facts().phases;
        self.attended.get_or_init(|| match said {
            None => exported,
            Some(said) => Phases {
                request: exported.request && said.contains(bindings::PhaseSet::REQUEST),
                response: exported.response && said.contains(bindings::PhaseSet::RESPONSE),
                complete: exported.complete && said.contains(bindings::PhaseSet::COMPLETION),
            },
        });
        Ok(())
    }

    /// Configures an instance as the workers will, and learns from it what the plugin takes part in: what was tried is what has to
    /// serve, so that a phase that is not active is never called. Upstreams cannot be called in it. Compiled code runs, so
    /// this can take a while; not for workers.
    ///
    /// # Errors
    ///
    /// What the plugin has against its configuration, at least one problem; or one about the whole, if it failed.
    pub fn try_configure(&self, shared: &Arc<Shared>) -> Result<(), Vec<Problem>> {
        let services = || Rc::new(Services::without_worker(Arc::clone(shared)));
        let metrics = || shared.metrics.plugin(0, &self.identity.name);
        let result = if self.can_wait(shared) {
            let trial = async || {
                let room = self.loaded.blueprint.reserve_for_trial()?;
                self.instance_on_fiber(metrics(), &services(), room).await.map(drop)
            };
            on_own_runtime(trial).unwrap_or_else(|error| Err(Refusal::Failure(no_thread(&error))))
        } else {
            let room = self.loaded.blueprint.reserve_for_trial().map_err(Refusal::from);
            room.and_then(|room| self.instance(metrics(), &services(), room)).map(drop)
        };
        result.map_err(|refusal| match refusal {
            Refusal::Problems(problems) => problems,
            Refusal::Failure(failure) => vec![Problem { pointer: String::new(), message: explain(&failure) }],
        })
    }

    /// A configured instance of a component that cannot wait.
    pub(crate) fn instance(
        &self,
        metrics: PluginMetrics,
        services: &Rc<Services>,
        room: Reservation,
    ) -> Result<Instance, Refusal> {
        let scope = || CallScope { slot: None, services, time: self.limits.time.max(CONFIGURE_TIME) };
        let began = thread_cpu_time();
        let mut instance = Instance::create(&self.loaded.blueprint, self.parameters(metrics, room), scope())?;
        let problems = instance.configure(&self.config, scope())?;
        if thread_cpu_time().saturating_sub(began) >= SLOW {
            self.is_slow.store(true, Relaxed);
        }
        let mut instance = accepted(instance, problems)?;
        if self.attended.get().is_none() {
            let said = instance.attends(scope())?;
            let timers = instance.timers(scope())?;
            self.learn(&instance, said, timers)?;
        }
        Ok(instance)
    }

    /// A configured instance, made on a fiber.
    pub(crate) async fn instance_on_fiber(
        &self,
        metrics: PluginMetrics,
        services: &Rc<Services>,
        room: Reservation,
    ) -> Result<Instance, Refusal> {
        let scope = || CallScope { slot: None, services, time: self.limits.time.max(CONFIGURE_TIME) };
        let (parameters, can_wait) = (self.parameters(metrics, room), self.can_wait(&services.shared));
        let mut instance = Instance::create_on_fiber(&self.loaded.blueprint, can_wait, parameters, scope()).await?;
        let problems = instance.configure_on_fiber(&self.config, scope()).await?;
        let mut instance = accepted(instance, problems)?;
        if self.attended.get().is_none() {
            let said = instance.attends_on_fiber(scope()).await?;
            let timers = instance.timers_on_fiber(scope()).await?;
            self.learn(&instance, said, timers)?;
        }
        Ok(instance)
    }

    fn parameters(&self, metrics: PluginMetrics, room: Reservation) -> InstanceParameters {
        InstanceParameters { identity: Arc::clone(&self.identity), metrics, memory: self.limits.memory, room }
    }

    /// Instances remember what they read when they were configured, so secrets and files are part of it.
    pub(crate) fn key(&self, shared: &Shared) -> Key {
        let Self {
            loaded,
            identity,
            config,
            limits,
            isolation,
            is_slow: _,
            attended: _,
            is_cache_local: _,
            owned: _,
            documents: _,
            timers: _,
            footprint: _,
            account: _,
        } = self;
        let Identity { name, grants, standard, log_rate: _, denials: _ } = &**identity;
        let PluginLimits { memory, time, instances, max_calls } = limits;
        let isolation = match isolation {
            Isolation::Shared => "shared",
            Isolation::Request => "request",
        };
        sha256(|sink| {
            let mut to = Encoder::new("plugin instances/3", sink);
            to.text(&loaded.facts().digest).flag(*standard).text(name).flag(self.can_wait(shared));
            to.number(*memory as u64).number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            to.number(instances.map_or(0, |instances| instances as u64))
                .number(*max_calls)
                .text(isolation)
                .text(config);
            encode_grants(grants, &mut to);
            let mut values = |named: &Named, is_granted: &dyn Fn(&str) -> bool| {
                let mut granted: Vec<_> = named.iter().filter(|(name, _)| is_granted(name)).collect();
                granted.sort();
                to.list(granted.into_iter(), |to, (name, value)| _ = to.text(name).bytes(value));
            };
            values(&shared.secrets, &|name| grants.allows_use(name));
            values(&shared.files, &|name| grants.files.allows(name));
        })
    }
}

/// Names that are granted, in any order.
fn encode_grants(grants: &Grants, to: &mut Encoder<'_, '_>) {
    let Grants { upstreams, store, secrets, secrets_to_use, sinks, files, data: _ } = grants;
    to.list(grants.data_by_kind().into_iter(), |to, (kind, names)| {
        to.text(kind).list(names.iter(), |to, name| _ = to.text(name));
    });
    for names in [upstreams, store, secrets, secrets_to_use, sinks, files] {
        match names {
            Names::All => _ = to.text("all"),
            Names::Only(names) => {
                let mut names: Vec<_> = names.iter().collect();
                names.sort_unstable();
                names.dedup();
                to.text("only").list(names.into_iter(), |to, name| _ = to.text(name));
            }
        }
    }
}

/// Why there is no configured instance.
pub(crate) enum Refusal {
    Failure(StageFailure),
    Problems(Vec<Problem>),
}

impl From<StageFailure> for Refusal {
    fn from(failure: StageFailure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Refusal> for StageFailure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failure(failure) => {
                Self { detail: format!("it could not be configured: {}", failure.detail), ..failure }
            }
            Refusal::Problems(problems) => {
                let first = problems.first().map_or("", |problem| &problem.message);
                Self { kind: FailureKind::Error, detail: format!("it refused its configuration: {first}") }
            }
        }
    }
}

fn accepted(instance: Instance, problems: Vec<ConfigProblem>) -> Result<Instance, Refusal> {
    if problems.is_empty() {
        return Ok(instance);
    }
    let shown = |text: String| text.chars().filter(|c| !c.is_control()).take(PROBLEM_BYTES).collect();
    let problems = problems.into_iter().take(PROBLEMS);
    Err(Refusal::Problems(
        problems.map(|problem| Problem { pointer: shown(problem.pointer), message: shown(problem.message) }).collect(),
    ))
}

fn explain(failure: &StageFailure) -> String {
    let what = match failure.kind {
        FailureKind::Timeout => "took too long to be configured",
        FailureKind::Memory => "ran out of memory when configured",
        FailureKind::Error
        | FailureKind::Trap
        | FailureKind::Busy
        | FailureKind::TooLarge
        | FailureKind::CircuitOpen => "failed when configured",
    };
    format!("the plugin {what}: {}", failure.detail)
}
