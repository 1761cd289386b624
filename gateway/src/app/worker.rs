//! A worker thread: one single-threaded runtime that serves by whatever site it was last given.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::TcpListener as StdListener,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::Interval,
};

use super::{
    StartError, WORKER_PATIENCE,
    snapshot::{ListenerKey, Snapshot},
    supervised::{self, Pulse},
};
use crate::{
    alloc,
    plugin::Pools,
    proxy::Worker,
    server::{Beginning, Listening, Server},
    timers::Timers,
};

/// How often connections to upstreams that idle for too long are looked for.
const HOUSEKEEPING: Duration = supervised::BEAT;
/// Commands come from the control thread, one at a time.
const COMMANDS: usize = 4;

/// The control thread's end of a worker.
pub(super) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    thread: thread::JoinHandle<()>,
    pulse: Pulse,
}

enum Command {
    Install {
        snapshot: Arc<Snapshot>,
        sockets: Sockets,
        done: sync_mpsc::Sender<Result<(), String>>,
    },
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

/// The sockets that a worker accepts from.
pub(super) type Sockets = Vec<(ListenerKey, Vec<StdListener>)>;

/// An installation under way.
pub(super) struct Installing(sync_mpsc::Receiver<Result<(), String>>);

impl Installing {
    pub(super) fn wait(self) -> Result<(), StartError> {
        match self.0.recv_timeout(WORKER_PATIENCE) {
            Ok(result) => result.map_err(|error| StartError::Io(io::Error::other(error))),
            Err(_) => Err(StartError::Io(io::Error::other("a worker does not answer"))),
        }
    }
}

impl WorkerHandle {
    pub(super) fn spawn(index: usize) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let pulse = Pulse::default();
        let beating = pulse.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || work(index, runtime, inbox, &beating))?;
        Ok(Self { commands, thread, pulse })
    }

    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Blocks only if the worker is behind with earlier commands.
    pub(super) fn install(&self, snapshot: Arc<Snapshot>, sockets: Sockets) -> Installing {
        let (done, answer) = sync_mpsc::channel();
        // A worker that has gone drops its end, which the answer tells.
        let _ = self.commands.blocking_send(Command::Install { snapshot, sockets, done });
        Installing(answer)
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

fn work(index: usize, mut runtime: tokio::runtime::Builder, inbox: mpsc::Receiver<Command>, pulse: &Pulse) {
    match runtime.enable_all().build() {
        Ok(runtime) => {
            let local = LocalSet::new();
            local.block_on(&runtime, obey(index, inbox, pulse));
            // Exchanges that the deadline cut off end with the tasks, and are observed as they are dropped.
            let _runtime = runtime.enter();
            drop(local);
        }
        Err(error) => tracing::error!(%error, "cannot start a worker"),
    }
    // Not reached by a panic, after which the worker is missing.
    pulse.end();
}

/// What a worker does beside serving, for as long as it serves, a drain included: other workers may need its idle instances, and the
/// watchdog a sign of life.
struct Upkeep<'a> {
    pools: Pools,
    pulse: &'a Pulse,
    ticks: Interval,
    /// What loading has left behind is given back a little later, when nothing refers to it any more.
    loaded: bool,
}

impl Upkeep<'_> {
    /// Does what comes next. Can be cancelled.
    async fn next(&mut self, server: Option<&Server>) {
        tokio::select! {
            () = self.pools.make_room() => {}
            _ = self.ticks.tick() => {
                self.pulse.beat();
                if let Some(server) = server {
                    server.worker.site().upstreams.close_idle(HOUSEKEEPING);
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

async fn obey(index: usize, mut inbox: mpsc::Receiver<Command>, pulse: &Pulse) {
    let mut server: Option<Rc<Server>> = None;
    let listening: RefCell<HashMap<ListenerKey, Vec<Listening>>> = RefCell::default();
    let ticks = tokio::time::interval(HOUSEKEEPING);
    let mut upkeep = Upkeep { pools: Pools::default(), pulse, ticks, loaded: false };
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            () = upkeep.next(server.as_deref()) => continue,
        };
        match command {
            Some(Command::Install { snapshot, sockets, done }) => {
                let server = install(index, &mut server, &upkeep.pools, &snapshot);
                upkeep.loaded = true;
                let result = listen(&server, &mut listening.borrow_mut(), &snapshot, sockets);
                let _ = done.send(result.map_err(|error| format!("cannot listen: {error}")));
            }
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
                    tokio::select! {
                        () = drain(server, deadline) => {}
                        () = upkeep.run(server) => {}
                    }
                }
                let _ = done.send(());
                return;
            }
            // The control thread is gone.
            None => return,
        }
    }
}

/// Ends when nothing is under way any more, at the deadline at the latest.
async fn drain(server: &Server, deadline: Duration) {
    server.drain();
    let at_rest = async {
        server.at_rest().await;
        server.worker.observing.at_rest().await;
    };
    if tokio::time::timeout(deadline, at_rest).await.is_err() {
        server.worker.end();
    }
}

fn install(index: usize, server: &mut Option<Rc<Server>>, pools: &Pools, snapshot: &Snapshot) -> Rc<Server> {
    pools.begin();
    let server = match server {
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
    };
    pools.clear_unused();
    server
}

/// Makes the listeners those of the snapshot: new ones begin, changed ones get their certificates, others end.
fn listen(
    server: &Rc<Server>,
    listening: &mut HashMap<ListenerKey, Vec<Listening>>,
    snapshot: &Snapshot,
    sockets: Sockets,
) -> io::Result<()> {
    let find = |key: &ListenerKey| -> Option<Beginning> {
        snapshot.listeners.iter().find(|(k, _)| k == key).map(|(_, beginning)| beginning.clone())
    };
    for (key, sockets) in sockets {
        let beginning = find(&key).unwrap_or_default();
        let own = sockets.into_iter().map(|socket| server.listen(socket, beginning.clone()));
        listening.insert(key, own.collect::<io::Result<_>>()?);
    }
    listening.retain(|key, own| match find(key) {
        Some(beginning) => {
            own.iter().for_each(|one| one.set_beginning(beginning.clone()));
            true
        }
        None => false,
    });
    Ok(())
}
