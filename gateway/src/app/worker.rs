//! A worker thread: one single-threaded runtime that serves by whatever site it was last given.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::TcpListener as StdListener,
    rc::Rc,
    sync::{Arc, atomic::Ordering, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
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
        sockets: Vec<(ListenerKey, StdListener)>,
        done: sync_mpsc::Sender<Result<(), String>>,
    },
    Drain {
        deadline: Duration,
        done: oneshot::Sender<()>,
    },
}

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
    pub(super) fn install(&self, snapshot: Arc<Snapshot>, sockets: Vec<(ListenerKey, StdListener)>) -> Installing {
        let (done, answer) = sync_mpsc::channel();
        // A worker that has gone drops its end, which the answer tells.
        let _ = self.commands.blocking_send(Command::Install { snapshot, sockets, done });
        Installing(answer)
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
}

async fn obey(index: usize, mut inbox: mpsc::Receiver<Command>, pulse: &Pulse) {
    let mut server: Option<Rc<Server>> = None;
    let listening: RefCell<HashMap<ListenerKey, Listening>> = RefCell::default();
    let pools = Pools::default();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    // What loading has left behind is given back a little later, when whoever had a share in it has let it go.
    let mut loaded = false;
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            _ = housekeeping.tick() => {
                pulse.fetch_add(1, Ordering::Relaxed);
                if let Some(server) = &server {
                    server.worker.site().upstreams.close_idle(HOUSEKEEPING);
                    if std::mem::take(&mut loaded) || server.have_slumbered() {
                        alloc::give_back();
                    }
                }
                continue;
            }
        };
        match command {
            Some(Command::Install { snapshot, sockets, done }) => {
                let server = install(index, &mut server, &pools, &snapshot);
                loaded = true;
                let result = listen(&server, &mut listening.borrow_mut(), &snapshot, sockets);
                let _ = done.send(result.map_err(|error| format!("cannot listen: {error}")));
            }
            Some(Command::Drain { deadline, done }) => {
                listening.borrow_mut().clear();
                if let Some(server) = &server {
                    server.drain();
                    let at_rest = async {
                        server.at_rest().await;
                        server.worker.observing.at_rest().await;
                    };
                    if tokio::time::timeout(deadline, at_rest).await.is_err() {
                        server.worker.end();
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

fn install(index: usize, server: &mut Option<Rc<Server>>, pools: &Pools, snapshot: &Snapshot) -> Rc<Server> {
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
    listening: &mut HashMap<ListenerKey, Listening>,
    snapshot: &Snapshot,
    sockets: Vec<(ListenerKey, StdListener)>,
) -> io::Result<()> {
    let find = |key: &ListenerKey| -> Option<Beginning> {
        snapshot.listeners.iter().find(|(k, _)| k == key).map(|(_, beginning)| beginning.clone())
    };
    for (key, socket) in sockets {
        listening.insert(key, server.listen(socket, find(&key).unwrap_or_default())?);
    }
    listening.retain(|key, listener| match find(key) {
        Some(beginning) => {
            listener.set_beginning(beginning);
            true
        }
        None => false,
    });
    Ok(())
}
