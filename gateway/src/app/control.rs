//! The thread that watches over the workers: start, reload, drain, and handing over to another process. It serves the operator's listener itself,
//! so that health and metrics answer also while a worker is busy.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener as StdListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::SystemTime,
};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot, watch as watched},
    task::LocalSet,
};

use super::{
    Options, Source, StartError,
    admin::{self, Applied, NotApplied, Panel, Terms},
    descriptors,
    ending::{begin_upgrade, done, end_well, stop, unless_ended},
    handover::Inherited,
    shared::Shared,
    signals::Signals,
    snapshot::{ListenerKey, Snapshot},
    supervised::Manager,
    watch,
    worker::WorkerHandle,
};
use crate::{
    alloc,
    server::listener::{self, Shares},
    telemetry::live::Live,
    upstream::Watch,
};

pub(super) enum Order {
    Reload {
        new_source: Option<Source>,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
    /// A text of an operator's. Where the configuration comes from stays as it is.
    Apply {
        text: String,
        origin: admin::Origin,
        terms: Terms,
        reply: oneshot::Sender<Result<Applied, NotApplied>>,
    },
    /// Ends well, and after `timeouts.drain-delay` if it is `delayed`.
    Drain {
        delayed: bool,
    },
    /// Opens the files of sinks anew, after somebody has renamed them.
    Reopen,
    /// Starts the program anew, hands the sockets over, and ends well when the new process serves.
    Upgrade,
    /// Ends at once.
    Stop,
}

pub(super) struct Control {
    core: Core,
    signals: Signals,
    changes: watch::Changes,
    panel: Arc<Panel>,
    admin: Option<(SocketAddr, StdListener)>,
    inherited: Inherited,
    manager: Manager,
}

/// What a reload works on; it moves to a blocking thread and back.
pub(super) struct Core {
    source: Source,
    shared: Arc<Shared>,
    pub(super) snapshot: Arc<Snapshot>,
    watch: Watch,
    pub(super) workers: Vec<WorkerHandle>,
    /// The address that each configured listener has really got.
    bound: HashMap<ListenerKey, SocketAddr>,
}

/// New listeners: the address that each has got, and its sockets.
type Bound = Vec<(ListenerKey, SocketAddr, Shares)>;

impl Control {
    /// The runtime is the one that `run` will be given.
    pub(super) fn start(
        options: Options,
        orders: mpsc::WeakSender<Order>,
        runtime: &Runtime,
    ) -> Result<Self, StartError> {
        let file = match &options.source {
            Source::File(path) if options.watch => Some(path.as_path()),
            _ => None,
        };
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new(options.signals)
        };
        // Before the file is read: what changes from then on is noticed.
        let mut changes = watch::Changes::of(file);
        let began = SystemTime::now();
        if options.signals {
            descriptors::raise();
        }
        let frugal = alloc::Frugal::begin();
        let shared = Shared::new(options.code_cache)?;
        let snapshot = Arc::new(Snapshot::load(&options.source, &shared, None)?);
        changes.follow(snapshot.config.files_read.iter().map(PathBuf::as_path), began);
        if let Some(overrides) = &options.logging {
            shared.start_log(&snapshot.config.log, overrides)?;
        }
        snapshot.warn();
        shared.start_state(&snapshot.config.state, &snapshot.config.secrets)?;
        // Before a socket listens, which shows that the gateway serves: a signal without a handler ends the process.
        {
            let _entered = runtime.enter();
            signals.drain_from_now_on();
        }
        let mut inherited = Inherited::take(options.signals);
        let admin = match snapshot.config.admin.as_ref().map(|admin| admin.address) {
            Some(address) => {
                let socket = inherited.admin(address).map_or_else(|| admin::bind(address), Ok);
                let socket = socket.map_err(|error| StartError::Bind(address, error))?;
                Some((socket.local_addr().unwrap_or(address), socket))
            }
            None => None,
        };
        let mut core = Core {
            source: options.source.clone(),
            workers: Vec::new(),
            bound: HashMap::new(),
            snapshot: snapshot.clone(),
            watch: Watch::start()?,
            shared,
        };
        let count = snapshot.config.workers;
        let sockets = core.bind_new(&snapshot, count, &mut inherited)?;
        core.watch.follow(snapshot.groups.clone(), snapshot.config.dns.clone());
        core.workers = (0..count).map(WorkerHandle::spawn).collect::<Result<_, _>>().map_err(StartError::Io)?;
        core.install(snapshot, sockets)?;
        core.shared.metrics.config_loaded();
        drop(frugal);
        let panel = Panel::new(core.shared.clone(), core.snapshot.clone(), orders);
        panel.set_ready(true);
        Ok(Self { core, signals, changes, panel, admin, inherited, manager: Manager::new(options.signals) })
    }

    /// In the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.core.snapshot.listeners.iter().filter_map(|(key, _)| self.core.bound.get(key).copied()).collect()
    }

    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// Until an order or a signal ends it, or no further order can come.
    pub(super) fn run(self, runtime: &Runtime, inbox: mpsc::Receiver<Order>) {
        let shared = self.core.shared.clone();
        LocalSet::new().block_on(runtime, self.watch_over(inbox));
        shared.finish_log();
    }

    async fn watch_over(self, mut inbox: mpsc::Receiver<Order>) {
        let Self { mut core, mut signals, mut changes, panel, admin, inherited, manager } = self;
        // A copy for a process that takes this one's place: the address is the process's until it ends.
        let admin = admin.map(|(_, socket)| (socket.try_clone(), AdminServer::start(socket, panel.clone())));
        let watchdog = manager.watch(core.workers.iter().map(WorkerHandle::pulse).collect());
        manager.ready();
        inherited.serving();
        let mut upgrade = None;
        let mut asked_to_end = None;
        // Whatever the loop waits for, it waits with `unless_ended`, or as here: a signal that asks for the end is obeyed at once.
        loop {
            let order = tokio::select! {
                biased;
                () = std::future::ready(()), if asked_to_end.is_some() => {
                    Order::Drain { delayed: asked_to_end.unwrap_or_default() }
                }
                order = signals.next() => order,
                result = done(&mut upgrade) => match result {
                    Ok(process) => {
                        tracing::info!("process {process} serves in place of this one");
                        manager.main_process(process);
                        // The manager's watchdog listens to the new process only.
                        if let Some(watchdog) = &watchdog {
                            watchdog.abort();
                        }
                        // Operators reach the new process. Readiness stays: the address never stops being served.
                        drop((admin, inbox));
                        return end_well(core, None, &mut signals).await;
                    }
                    Err(why) => {
                        tracing::error!("the new process does not serve, this one goes on: {why}");
                        upgrade = None;
                        continue;
                    }
                },
                order = inbox.recv() => order.unwrap_or(Order::Stop),
                () = changes.settled() => Order::Reload { new_source: None, reply: oneshot::channel().0 },
            };
            let (new_source, origin, reply) = match order {
                Order::Reload { new_source, reply } => (new_source, admin::Origin::Reload, Reply::Reloaded(reply)),
                Order::Apply { text, origin, terms, reply } => {
                    // Here, since another one may have been put in force while this one waited for its turn.
                    if let Err(present) = panel.is_as_expected(&terms) {
                        drop(reply.send(Err(NotApplied::Unexpected(present))));
                        continue;
                    }
                    let source = Source::Text { text, base: core.snapshot.base.clone() };
                    (Some(source), origin, Reply::Applied(reply, terms))
                }
                Order::Drain { delayed } => {
                    panel.set_ready(false);
                    manager.stopping();
                    drop((upgrade, inbox));
                    let delay = delayed.then_some(core.snapshot.config.timeouts.drain_delay);
                    return end_well(core, delay, &mut signals).await;
                }
                Order::Reopen => {
                    let sinks = core.snapshot.sinks.clone();
                    // A file system may be slow. What is written meanwhile goes to the old files.
                    tokio::task::spawn_blocking(move || sinks.reopen());
                    continue;
                }
                Order::Upgrade => {
                    let socket = admin.as_ref().map(|(socket, _)| socket);
                    // A worker that is busy makes this wait.
                    match unless_ended(&mut signals, begin_upgrade(&core, socket, upgrade.is_some())).await {
                        Ok(Ok(begun)) => upgrade = Some(begun),
                        Ok(Err(error)) => tracing::error!("no new process is started, this one goes on: {error}"),
                        Err(delayed) => asked_to_end = Some(delayed),
                    }
                    continue;
                }
                Order::Stop => {
                    panel.set_ready(false);
                    return stop(core).await;
                }
            };
            let began = SystemTime::now();
            manager.reloading();
            let stays = matches!(reply, Reply::Reloaded(_));
            let loading = async {
                if stays && new_source.is_none() {
                    changes.about_to_be_read().await;
                }
                load(&core, new_source.clone()).await
            };
            let loaded = match unless_ended(&mut signals, loading).await {
                Ok(loaded) => loaded,
                Err(delayed) => {
                    tracing::warn!("the reload is given up, since the gateway ends");
                    asked_to_end = Some(delayed);
                    continue;
                }
            };
            let result = match loaded {
                Err(error) => Err(error),
                Ok(snapshot) => {
                    let mut installing = pin!(put_in_force(core, snapshot, new_source.filter(|_| stays)));
                    let (back, result) = loop {
                        tokio::select! {
                            done = &mut installing => break done,
                            // It is short and cannot be broken off, but no more traffic is wanted from now on.
                            delayed = signals.asked_to_end(), if asked_to_end.is_none() => {
                                asked_to_end = Some(delayed);
                                panel.set_ready(false);
                            }
                        }
                    };
                    match back {
                        Some(back) => core = back,
                        None => return tracing::error!("the runtime is ending, and so does the gateway"),
                    }
                    result
                }
            };
            match &result {
                Ok(()) => tracing::info!("configuration reloaded"),
                Err(error) => tracing::error!("reload without effect, the old configuration serves on:\n{error}"),
            }
            // Also those of a configuration that was rejected: once they are as they should be, it is not.
            let rejected = match &result {
                Err(StartError::Config(problems)) if stays => problems.files(),
                _ => &[],
            };
            let files = core.snapshot.config.files_read.iter().chain(rejected);
            changes.follow(files.map(PathBuf::as_path), began);
            panel.reloaded(result.is_ok());
            if result.is_ok() {
                panel.in_force(&core.snapshot, origin);
            }
            manager.ready();
            // Before the next order: the file says what is in force, and not what was a moment ago. In a drain it is still written.
            let replied = tokio::task::spawn_local(reply.send(result, core.source.clone(), core.snapshot.text.clone()));
            if asked_to_end.is_none() {
                asked_to_end = unless_ended(&mut signals, replied).await.err();
            }
        }
    }
}

/// Where the result of a reload goes.
enum Reply {
    Reloaded(oneshot::Sender<Result<(), StartError>>),
    Applied(oneshot::Sender<Result<Applied, NotApplied>>, Terms),
}

impl Reply {
    async fn send(self, result: Result<(), StartError>, source: Source, text: Arc<str>) {
        // An error is that the result is not wanted any more.
        match self {
            Self::Reloaded(reply) => drop(reply.send(result)),
            Self::Applied(reply, terms) => {
                let applied = match result {
                    Ok(()) => Ok(terms.keep(&source, &text).await),
                    Err(error) => Err(NotApplied::Start(error)),
                };
                drop(reply.send(applied));
            }
        }
    }
}

/// The operator's listener being served. Dropping it ends that: no more connections are accepted, and those that are open close after
/// a last response.
struct AdminServer {
    _stays: watched::Sender<()>,
}

impl AdminServer {
    fn start(socket: StdListener, panel: Arc<Panel>) -> Self {
        let (stays, ends) = watched::channel(());
        tokio::task::spawn_local(async move {
            if let Err(error) = admin::serve(socket, panel, ends).await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        Self { _stays: stays }
    }
}

/// Reads, checks and compiles: health and metrics answer meanwhile. If it is given up, its thread goes on until the process ends, and what
/// it makes is dropped.
async fn load(core: &Core, new_source: Option<Source>) -> Result<Arc<Snapshot>, StartError> {
    let source = new_source.unwrap_or_else(|| core.source.clone());
    let (shared, old) = (core.shared.clone(), core.snapshot.clone());
    let task = tokio::task::spawn_blocking(move || {
        let _frugal = alloc::Frugal::begin();
        // Nothing is in force before everything is ready, so that a defect in what reads or compiles does no harm.
        let load = AssertUnwindSafe(|| Snapshot::load(&source, &shared, Some(&old)).map(Arc::new));
        catch_unwind(load).unwrap_or_else(|_| Err(panicked()))
    });
    task.await.unwrap_or_else(|error| Err(StartError::Io(std::io::Error::other(error))))
}

/// Has the workers serve by a snapshot. A new source is where the configuration comes from after that.
async fn put_in_force(
    mut core: Core,
    snapshot: Arc<Snapshot>,
    new_source: Option<Source>,
) -> (Option<Core>, Result<(), StartError>) {
    let task = tokio::task::spawn_blocking(move || {
        let frugal = alloc::Frugal::begin();
        let install = AssertUnwindSafe(|| core.put_in_force(snapshot, new_source));
        let result = catch_unwind(install).unwrap_or_else(|_| Err(panicked()));
        drop(frugal);
        (core, result)
    });
    match task.await {
        Ok((core, result)) => (Some(core), result),
        Err(error) => (None, Err(StartError::Io(std::io::Error::other(error)))),
    }
}

fn panicked() -> StartError {
    StartError::Io(std::io::Error::other("a defect of the gateway; see above"))
}

impl Core {
    fn put_in_force(&mut self, snapshot: Arc<Snapshot>, new_source: Option<Source>) -> Result<(), StartError> {
        snapshot.warn();
        let count = self.workers.len();
        if snapshot.config.workers != count {
            tracing::warn!("`workers` changes at the next start: there are {count} now");
        }
        let address = |snapshot: &Snapshot| snapshot.config.admin.as_ref().map(|admin| admin.address);
        if address(&snapshot) != address(&self.snapshot) {
            tracing::warn!("the address of `admin` changes at the next start");
        }
        if snapshot.config.state != self.snapshot.config.state {
            tracing::warn!("`state` changes at the next start");
        }
        let sockets = self.bind_new(&snapshot, count, &mut Inherited::default())?;
        self.watch.follow(snapshot.groups.clone(), snapshot.config.dns.clone());
        let old = self.snapshot.clone();
        self.install(snapshot, sockets)?;
        self.shared.change_log(&old.config.log, &self.snapshot.config.log);
        if let Some(source) = new_source {
            self.source = source;
        }
        Ok(())
    }

    /// Sockets for the listeners that are not there yet: all of them, or none and an error.
    fn bind_new(&self, snapshot: &Snapshot, count: usize, inherited: &mut Inherited) -> Result<Bound, StartError> {
        let new = snapshot.listeners.iter().filter(|(key, _)| !self.bound.contains_key(key));
        new.map(|(key, _)| {
            let before = inherited.listener(*key);
            let sockets =
                if before.is_empty() { listener::bind(key.address, count) } else { listener::share(before, count) };
            let sockets = sockets.map_err(|error| StartError::Bind(key.address, error))?;
            let first = sockets.iter().flatten().next();
            let address = first.and_then(|socket| socket.local_addr().ok()).unwrap_or(key.address);
            Ok((*key, address, sockets))
        })
        .collect()
    }

    fn install(&mut self, snapshot: Arc<Snapshot>, mut sockets: Bound) -> Result<(), StartError> {
        let pending: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let mine = sockets.iter_mut().filter_map(|(key, _, all)| Some((*key, all.pop()?))).collect();
                worker.install(snapshot.clone(), mine)
            })
            .collect();
        for answer in pending {
            answer.wait()?;
        }
        self.shared.metrics.in_force(Live::of(&snapshot.config));
        self.shared.responses.resize(snapshot.config.limits.cache_bytes);
        self.shared.store.resize(snapshot.config.limits.store_bytes);
        self.shared.limit_instances(snapshot.config.limits.plugin_instances);
        self.bound.retain(|key, _| snapshot.listeners.iter().any(|(k, _)| k == key));
        self.bound.extend(sockets.into_iter().map(|(key, address, _)| (key, address)));
        self.snapshot = snapshot;
        Ok(())
    }
}
