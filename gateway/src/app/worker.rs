//! A worker thread: one single-threaded runtime that serves by whatever site it was last given.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::TcpListener as StdListener,
    os::fd::OwnedFd,
    panic::resume_unwind,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use gateway_core::timers::Timers;
use gateway_proxy::Worker;
use gateway_server::{Beginning, Listening, Server};
use gateway_wasm::Pools;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Notify, mpsc, oneshot},
    task::LocalSet,
    time::Interval,
};

use super::{
    WORKER_PATIENCE,
    snapshot::{ListenerKey, Snapshot},
    supervised::{self, Pulse},
};
use crate::alloc;

/// How often connections to upstreams that idle for too long are looked for.
const HOUSEKEEPING: Duration = supervised::BEAT;
/// Commands come from the control thread, one at a time.
const COMMANDS: usize = 4;

/// The control thread's end of a worker.
pub(super) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    next: Arc<Next>,
    runtime: Handle,
    thread: thread::JoinHandle<()>,
    pulse: Pulse,
}

/// The configuration that a worker takes next. Only the newest counts, so that a worker that was busy skips those before it, and
/// however many reloads there are meanwhile, one is kept.
#[derive(Default)]
struct Next {
    pending: Mutex<Pending>,
    posted: Notify,
}

#[derive(Default)]
struct Pending {
    snapshot: Option<Arc<Snapshot>>,
    /// Of the listeners that are new since the configuration that the worker has.
    sockets: Vec<(ListenerKey, Sockets)>,
    /// Told when the worker has taken it.
    taken: Vec<oneshot::Sender<()>>,
    /// The worker takes nothing any more.
    ended: bool,
}

impl Next {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to take, if there is anything.
    fn take(&self) -> Option<(Arc<Snapshot>, Pending)> {
        let mut pending = self.lock();
        let snapshot = pending.snapshot.take()?;
        Some((snapshot, std::mem::take(&mut *pending)))
    }
}

/// The worker's end of it: when the worker ends, it is not waited for any more.
struct Inbox(Arc<Next>);

impl Drop for Inbox {
    fn drop(&mut self) {
        *self.0.lock() = Pending { ended: true, ..Pending::default() };
    }
}

enum Command {
    /// Copies of the sockets that it accepts from, which it goes on doing.
    Listeners {
        done: oneshot::Sender<io::Result<Vec<(ListenerKey, OwnedFd)>>>,
    },
    /// Clients are asked to leave, and served until they do.
    GoAway,
    Drain {
        deadline: Duration,
        done: oneshot::Sender<()>,
    },
}

/// The sockets of one listener that a worker accepts from.
pub(super) type Sockets = Vec<TcpListener>;

impl WorkerHandle {
    /// Starts one of `count` workers.
    pub(super) fn spawn(index: usize, count: usize) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (pulse, next) = (Pulse::default(), Arc::<Next>::default());
        let (beating, own) = (pulse.clone(), Inbox(next.clone()));
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let local = LocalSet::new();
            // A task of its own: what `block_on` is given is polled at each turn of the loop, whether it was woken or not.
            let obeying = local.spawn_local(obey(index, count, inbox, own, beating.clone()));
            let obeyed = local.block_on(&runtime, obeying);
            // Exchanges that the deadline cut off end with the tasks, and are observed as they are dropped.
            let _runtime = runtime.enter();
            drop(local);
            let worker = obeyed.unwrap_or_else(|error| resume_unwind(error.into_panic()));
            if let Some(worker) = worker {
                worker.stop();
            }
            // Not reached by a panic, after which the worker is missing.
            beating.end();
        })?;
        Ok(Self { commands, next, runtime: handle, thread, pulse })
    }

    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Registers sockets with the worker's event loop. Nothing is accepted from them before a configuration with them is
    /// installed. After this nothing about a listener can fail.
    pub(super) fn register(&self, sockets: Vec<StdListener>) -> io::Result<Sockets> {
        let _runtime = self.runtime.enter();
        sockets.into_iter().map(TcpListener::from_std).collect()
    }

    /// The worker takes the configuration as soon as it gets to run. The receiver is notified when it has; it
    /// is closed if the worker has ended. Does not block.
    pub(super) fn install(
        &self,
        snapshot: Arc<Snapshot>,
        sockets: Vec<(ListenerKey, Sockets)>,
    ) -> oneshot::Receiver<()> {
        let (taken, receiver) = oneshot::channel();
        let mut pending = self.next.lock();
        if !pending.ended {
            pending.sockets.retain(|(key, _)| snapshot.listens(key));
            pending.sockets.extend(sockets);
            pending.snapshot = Some(snapshot);
            pending.taken.retain(|taken| !taken.is_closed());
            pending.taken.push(taken);
        }
        drop(pending);
        self.next.posted.notify_one();
        receiver
    }

    /// Copies of the sockets that it accepts from.
    pub(super) async fn listeners(&self) -> io::Result<Vec<(ListenerKey, OwnedFd)>> {
        let (done, answer) = oneshot::channel();
        let silent = || io::Error::other("a worker does not answer");
        self.commands.try_send(Command::Listeners { done }).map_err(|_| silent())?;
        tokio::time::timeout(WORKER_PATIENCE, answer).await.map_err(|_| silent())?.map_err(|_| silent())?
    }

    /// Has clients asked to leave. A worker that is behind with earlier commands does so when it drains.
    pub(super) fn go_away(&self) {
        let _ = self.commands.try_send(Command::GoAway);
    }

    /// Ends when the worker has, at the deadline at the latest. Begins at the call, not at the first poll.
    pub(super) fn drain(self, deadline: Duration) -> impl Future<Output = ()> {
        let (done, ended) = oneshot::channel();
        let asked = self.commands.try_send(Command::Drain { deadline, done });
        async move {
            if asked.is_ok() {
                let _ = tokio::time::timeout(deadline + WORKER_PATIENCE, ended).await;
            }
            drop(self.commands);
            let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
        }
    }
}

/// What a worker does beside serving, for as long as it serves, a drain included: other workers may need its idle instances, and the
/// watchdog a sign of life.
struct Upkeep {
    pools: Pools,
    pulse: Pulse,
    ticks: Interval,
    /// What loading has left behind is given back a little later, when nothing refers to it any more.
    loaded: bool,
}

impl Upkeep {
    /// Does what comes next. Can be cancelled.
    async fn next(&mut self, server: Option<&Server>) {
        tokio::select! {
            () = self.pools.make_room() => {}
            _ = self.ticks.tick() => {
                self.pulse.beat();
                self.pools.tick();
                if let Some(server) = server {
                    server.worker.site().upstreams.close_idle(HOUSEKEEPING);
                    server.worker.tick();
                    if std::mem::take(&mut self.loaded) || server.have_slumbered() {
                        alloc::give_back();
                    }
                }
            }
        }
    }

    async fn run(&mut self, server: &Server) {
        loop {
            self.next(Some(server)).await;
        }
    }
}

/// Returns what the worker has served by, if it has.
async fn obey(
    index: usize,
    count: usize,
    mut inbox: mpsc::Receiver<Command>,
    snapshots: Inbox,
    pulse: Pulse,
) -> Option<Rc<Worker>> {
    let Inbox(next) = &snapshots;
    let mut server: Option<Rc<Server>> = None;
    let listening: RefCell<HashMap<ListenerKey, Vec<Listening>>> = RefCell::default();
    let ticks = tokio::time::interval(HOUSEKEEPING);
    let mut upkeep = Upkeep { pools: Pools::of_one_of(count), pulse, ticks, loaded: false };
    // Until the worker's tasks are dropped: exchanges need it also while the worker drains.
    tokio::task::spawn_local(upkeep.pools.leases().keep_renewing());
    loop {
        let command = tokio::select! {
            biased;
            () = next.posted.notified() => {
                if let Some((snapshot, Pending { sockets, taken, .. })) = next.take() {
                    let server = install(index, &mut server, &upkeep.pools, &snapshot);
                    upkeep.loaded = true;
                    listen(&server, &mut listening.borrow_mut(), &snapshot, sockets);
                    // A reload that has stopped waiting need not know.
                    for taken in taken {
                        let _ = taken.send(());
                    }
                }
                continue;
            }
            command = inbox.recv() => command,
            () = upkeep.next(server.as_deref()) => continue,
        };
        match command {
            Some(Command::Listeners { done }) => {
                let listening = listening.borrow();
                let all = listening.iter().flat_map(|(key, own)| own.iter().map(move |one| Ok((*key, one.socket()?))));
                let _ = done.send(all.collect());
            }
            Some(Command::GoAway) => {
                if let Some(server) = &server {
                    server.go_away();
                }
            }
            Some(Command::Drain { deadline, done }) => {
                listening.borrow_mut().clear();
                if let Some(server) = &server {
                    let timers_ended = upkeep.pools.end_timers();
                    tokio::select! {
                        () = drain(server, timers_ended, deadline) => {}
                        () = upkeep.run(server) => {}
                    }
                }
                let _ = done.send(());
                return server.map(|server| server.worker.clone());
            }
            // The control thread is gone.
            None => return server.map(|server| server.worker.clone()),
        }
    }
}

/// Ends when nothing is under way any more, at the deadline at the latest.
async fn drain(server: &Server, timers_ended: impl Future<Output = ()>, deadline: Duration) {
    server.drain();
    let at_rest = async {
        server.at_rest().await;
        server.worker.observing.at_rest().await;
        timers_ended.await;
    };
    if tokio::time::timeout(deadline, at_rest).await.is_err() {
        server.worker.end();
    }
}

fn install(index: usize, server: &mut Option<Rc<Server>>, pools: &Pools, snapshot: &Snapshot) -> Rc<Server> {
    pools.forget_dropped();
    match server {
        Some(server) => {
            let old = server.worker.site();
            server.worker.install(Rc::new(snapshot.site(index, &server.worker.timers, pools, Some(&old))));
            server.clone()
        }
        None => {
            let timers = Timers::default();
            let site = Rc::new(snapshot.site(index, &timers, pools, None));
            server.insert(Server::new(Rc::new(Worker::new(timers, site)))).clone()
        }
    }
}

/// Makes the listeners those of the snapshot: new ones begin, changed ones get their certificates, others end.
fn listen(
    server: &Rc<Server>,
    listening: &mut HashMap<ListenerKey, Vec<Listening>>,
    snapshot: &Snapshot,
    sockets: Vec<(ListenerKey, Sockets)>,
) {
    let find = |key: &ListenerKey| -> Option<Beginning> {
        snapshot.listeners.iter().find(|(k, _)| k == key).map(|(_, beginning)| beginning.clone())
    };
    for (key, sockets) in sockets {
        let beginning = find(&key).unwrap_or_default();
        let own = sockets.into_iter().map(|socket| server.listen(socket, beginning.clone()));
        listening.insert(key, own.collect());
    }
    listening.retain(|key, own| match find(key) {
        Some(beginning) => {
            own.iter().for_each(|one| one.set_beginning(beginning.clone()));
            true
        }
        None => false,
    });
}
