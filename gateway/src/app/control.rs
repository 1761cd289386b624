//! The thread that watches over the workers: start, reload, drain, and handing over to another process. It serves the operator's listener itself,
//! so that health and metrics answer also while a worker is busy.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::SystemTime,
};

use tokio::{
    runtime::Runtime,
    sync::{Notify, mpsc, oneshot, watch as watched},
    task::LocalSet,
};

use super::{
    Options, Source, StartError,
    admin::{self, Applied, ApplyOptions, NotApplied, Panel},
    descriptors,
    ending::{begin_upgrade, done, end_well, stop, unless_ended},
    handover::Inherited,
    install::Installer,
    order::Order,
    reload::{Core, install, load},
    shared::Shared,
    signals::Signals,
    snapshot::Loaded,
    supervised::Manager,
    watch,
    worker::WorkerHandle,
};
use crate::alloc;

pub(super) struct Control {
    core: Core,
    signals: Signals,
    /// A signal that came while the gateway started, and whether the drain is delayed.
    asked_to_end: Option<bool>,
    changes: watch::Changes,
    panel: Arc<Panel>,
    admin: Option<(SocketAddr, StdListener)>,
    inherited: Inherited,
    manager: Manager,
}

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
        let shared = Shared::with_timers(options.code_cache, options.timers)?;
        let loaded = Loaded::load(&options.source, &shared, None)?;
        let config = loaded.config();
        changes.follow(config.files_read.iter().map(PathBuf::as_path), began);
        if let Some(overrides) = &options.logging {
            shared.start_log(&config.log, overrides)?;
        }
        loaded.warn();
        shared.start_state(&config.state, &config.secrets)?;
        // Before a socket listens, which shows that the gateway serves: a signal without a handler ends the process.
        {
            let _entered = runtime.enter();
            signals.drain_from_now_on();
        }
        let mut inherited = Inherited::take(options.signals);
        let admin = match config.admin.as_ref().map(|admin| admin.address) {
            Some(address) => {
                let socket = inherited.admin(address).map_or_else(|| admin::bind(address), Ok);
                let socket = socket.map_err(|error| StartError::Bind(address, error))?;
                Some((socket.local_addr().unwrap_or(address), socket))
            }
            None => None,
        };
        let mut installer = Installer::start(shared, config.workers)?;
        let bound = installer.bind(&loaded, &mut inherited)?;
        let stop = Arc::new(Notify::new());
        let task = {
            let stop = stop.clone();
            runtime.spawn_blocking(move || {
                let installed = installer.install(loaded, bound, &stop);
                (installer, installed)
            })
        };
        let mut asked_to_end = None;
        let installed = until_done(task, &mut signals, &mut asked_to_end, || stop.notify_one());
        let installed = runtime.block_on(installed).map_err(io::Error::other)?;
        let (installer, (snapshot, installing)) = installed;
        if !runtime.block_on(installing.taken()) {
            return Err(StartError::Io(io::Error::other("a worker does not answer")));
        }
        installer.shared.metrics.config_loaded();
        let core = Core { source: options.source, snapshot, installer };
        drop(frugal);
        let panel = Panel::new(core.installer.shared.clone(), core.snapshot.clone(), orders);
        panel.set_ready(true);
        let manager = Manager::new(options.signals);
        Ok(Self { core, signals, asked_to_end, changes, panel, admin, inherited, manager })
    }

    /// In the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.core.snapshot.listeners.iter().filter_map(|(key, _)| self.core.installer.address(key)).collect()
    }

    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// Until an order or a signal ends it, or no further order can come.
    pub(super) fn run(self, runtime: &Runtime, inbox: mpsc::Receiver<Order>) {
        let shared = self.core.installer.shared.clone();
        LocalSet::new().block_on(runtime, self.watch_over(inbox));
        shared.finish_log();
    }

    async fn watch_over(self, mut inbox: mpsc::Receiver<Order>) {
        let Self { mut core, mut signals, mut asked_to_end, mut changes, panel, admin, inherited, manager } = self;
        // A copy for a process that takes this one's place: the address is the process's until it ends.
        let admin = admin.map(|(_, socket)| (socket.try_clone(), AdminServer::start(socket, panel.clone())));
        let watchdog = manager.watch(core.installer.workers.iter().map(WorkerHandle::pulse).collect());
        manager.ready();
        inherited.serving();
        let mut upgrade = None;
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
                        tracing::info!("process {process} has taken over");
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
                        tracing::error!("the new process failed to start; this one keeps serving: {why}");
                        upgrade = None;
                        continue;
                    }
                },
                order = inbox.recv() => order.unwrap_or(Order::Stop),
                () = changes.settled() => Order::Reload { new_source: None, reply: oneshot::channel().0 },
            };
            let (new_source, origin, reply) = match order {
                Order::Reload { new_source, reply } => (new_source, admin::Origin::Reload, Reply::Reloaded(reply)),
                Order::Apply { text, origin, options, reply } => {
                    // Here, since another one may have been put in force while this one waited for its turn.
                    if let Err(present) = panel.is_as_expected(&options) {
                        drop(reply.send(Err(NotApplied::Unexpected(present))));
                        continue;
                    }
                    let source = Source::Text { text, base: core.snapshot.base.clone() };
                    (Some(source), origin, Reply::Applied(reply, options))
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
                        Ok(Err(error)) => {
                            tracing::error!("cannot start a new process; this one keeps serving: {error}")
                        }
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
                    tracing::warn!("reload cancelled: the gateway is shutting down");
                    asked_to_end = Some(delayed);
                    continue;
                }
            };
            let result = match loaded {
                Err(error) => Err(error),
                Ok((loaded, bound)) => {
                    let stop = Arc::new(Notify::new());
                    let installing = install(core, loaded, bound, new_source.filter(|_| stays), stop.clone());
                    let on_signal = || {
                        stop.notify_one();
                        // No more traffic is wanted from now on.
                        panel.set_ready(false);
                    };
                    let (back, result) = until_done(installing, &mut signals, &mut asked_to_end, on_signal).await;
                    match back {
                        Some(back) => core = back,
                        None => return tracing::error!("the runtime is ending, and so does the gateway"),
                    }
                    result
                }
            };
            // Also those of a configuration that was rejected: once they are as they should be, it is not.
            let rejected = match &result {
                Err(StartError::Config(problems)) if stays => problems.files(),
                _ => &[],
            };
            let files = core.snapshot.config.files_read.iter().chain(rejected);
            changes.follow(files.map(PathBuf::as_path), began);
            let result = match result {
                Ok(installing) => {
                    // Operators see what is in force, also while a worker is busy and has not taken it yet.
                    panel.in_force(&core.snapshot, origin);
                    tokio::select! {
                        _ = installing.taken() => {}
                        delayed = signals.asked_to_end(), if asked_to_end.is_none() => {
                            asked_to_end = Some(delayed);
                            panel.set_ready(false);
                        }
                    }
                    tracing::info!("configuration reloaded");
                    Ok(())
                }
                Err(error) => {
                    tracing::error!("reload failed; the previous configuration keeps serving:\n{error}");
                    Err(error)
                }
            };
            panel.reloaded(result.is_ok());
            manager.ready();
            // Before the next order: the file says what is in force, and not what was a moment ago. In a drain it is still written.
            let replied = tokio::task::spawn_local(reply.send(result, core.source.clone(), core.snapshot.text.clone()));
            if asked_to_end.is_none() {
                asked_to_end = unless_ended(&mut signals, replied).await.err();
            }
        }
    }
}

/// Waits for the end of an installation, which cannot be broken off, but is short without the documents that it fetches. A signal that
/// asks for the end of the process is noted and reported.
async fn until_done<T>(
    installing: impl Future<Output = T>,
    signals: &mut Signals,
    asked_to_end: &mut Option<bool>,
    on_signal: impl Fn(),
) -> T {
    let mut installing = pin!(installing);
    loop {
        tokio::select! {
            done = &mut installing => return done,
            delayed = signals.asked_to_end(), if asked_to_end.is_none() => {
                *asked_to_end = Some(delayed);
                on_signal();
            }
        }
    }
}

/// Where the result of a reload goes.
enum Reply {
    Reloaded(oneshot::Sender<Result<(), StartError>>),
    Applied(oneshot::Sender<Result<Applied, NotApplied>>, ApplyOptions),
}

impl Reply {
    async fn send(self, result: Result<(), StartError>, source: Source, text: Arc<str>) {
        // An error is that the result is not wanted any more.
        match self {
            Self::Reloaded(reply) => drop(reply.send(result)),
            Self::Applied(reply, options) => {
                let applied = match result {
                    Ok(()) => Ok(options.keep(&source, &text).await),
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
