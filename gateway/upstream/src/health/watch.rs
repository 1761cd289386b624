//! The thread that keeps watch over endpoints, once for all workers: it looks up their names and asks them how
//! they are. It writes what it finds into the groups, where workers see it.

use std::{
    collections::HashMap,
    io,
    rc::Rc,
    sync::{Arc, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use gateway_core::model::Dns;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, LocalSet, spawn_local},
};

use super::{
    names::{self, Names},
    probe,
};
use crate::cluster::{Cluster, Host, HostHealth};

/// How long a configuration waits for the first answers about names, so that its first requests find endpoints.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// A handle to the thread, which ends when this is dropped.
pub struct Watch(mpsc::UnboundedSender<Order>);

struct Order {
    clusters: Vec<Arc<Cluster>>,
    dns: Dns,
    /// Dropped by everyone when each new name has been asked for.
    asked: sync_mpsc::Sender<()>,
}

impl Watch {
    /// Starts the thread, which watches over nothing yet.
    ///
    /// # Errors
    ///
    /// The system has no thread or no descriptors for it.
    pub fn start() -> io::Result<Self> {
        let (orders, mut inbox) = mpsc::unbounded_channel::<Order>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("upstreams".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let mut watched = Watched::default();
                while let Some(order) = inbox.recv().await {
                    watched.follow(order);
                }
            });
        })?;
        Ok(Self(orders))
    }

    /// Watches over these groups from now on, and no others. Blocks until each name that is new has been asked for
    /// once, or for five seconds.
    pub fn follow(&self, clusters: Vec<Arc<Cluster>>, dns: Dns) {
        let (asked, all_asked) = sync_mpsc::channel();
        // The thread ends with this handle, not before.
        let _ = self.0.send(Order { clusters, dns, asked });
        // An error means that everyone has let go of the sender: all have been asked.
        if all_asked.recv_timeout(FIRST_ANSWERS) == Err(sync_mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("DNS lookups of endpoints did not finish within {FIRST_ANSWERS:?}");
        }
    }
}

#[derive(Default)]
struct Watched {
    dns: Dns,
    clusters: Vec<(Arc<Cluster>, Vec<Task>)>,
}

/// Ends when dropped.
struct Task(AbortHandle);

impl Task {
    fn of(future: impl Future<Output = ()> + 'static) -> Self {
        Self(spawn_local(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watched {
    fn follow(&mut self, order: Order) {
        let mut old = std::mem::take(&mut self.clusters);
        if self.dns != order.dns {
            old.clear();
        }
        let names = Rc::new(Names::new(&order.dns));
        for cluster in order.clusters.into_iter().filter(|cluster| cluster.needs_watching()) {
            let kept = old.iter().position(|(known, _)| Arc::ptr_eq(known, &cluster));
            self.clusters.push(match kept {
                Some(index) => old.swap_remove(index),
                None => {
                    let tasks = watch(&cluster, &names, &order.asked);
                    (cluster, tasks)
                }
            });
        }
        self.dns = order.dns;
    }
}

fn watch(cluster: &Arc<Cluster>, names: &Rc<Names>, asked: &sync_mpsc::Sender<()>) -> Vec<Task> {
    let look_up = |(origin, host): (usize, String)| {
        let asked = asked.clone();
        Task::of(names::keep_up(cluster.clone(), origin, host, names.clone(), move || drop(asked)))
    };
    let mut tasks: Vec<Task> = cluster.names().into_iter().map(look_up).collect();
    if cluster.model.health.active.is_some() {
        tasks.push(Task::of(ask_all(cluster.clone())));
    }
    tasks
}

/// Asks every endpoint that there is, and follows as they come and go.
async fn ask_all(cluster: Arc<Cluster>) {
    let mut asking: HashMap<*const HostHealth, Task> = HashMap::new();
    loop {
        let hosts: Vec<Host> = cluster.hosts().clone();
        let is_there = |health: &*const HostHealth| hosts.iter().any(|m| Arc::as_ptr(&m.health) == *health);
        asking.retain(|health, _| is_there(health));
        for host in &hosts {
            let ask = || Task::of(probe::keep_asking(cluster.clone(), host.clone()));
            asking.entry(Arc::as_ptr(&host.health)).or_insert_with(ask);
        }
        cluster.changed.notified().await;
    }
}
