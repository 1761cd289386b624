//! Putting a configuration in force, which is the only operation of a reload that has effects. It cannot fail, and it is never
//! partial: what the process shares follows at once, and each worker between two requests. A worker that is busy follows later.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use gateway_server::listener;
use gateway_telemetry::live::Live;
use gateway_upstream::Watch;
use tokio::sync::{Notify, oneshot};

use super::{
    StartError,
    handover::Inherited,
    initial_fetch,
    shared::Shared,
    snapshot::{ListenerKey, Loaded, Snapshot},
    worker::{Sockets, WorkerHandle},
};

/// How long a reload waits for its workers. A plugin can hold one for as long as its `time` limit.
const WORKER_TIMEOUT: Duration = Duration::from_secs(30);

/// What follows the configuration in force.
pub(super) struct Installer {
    pub(super) shared: Arc<Shared>,
    watch: Watch,
    pub(super) workers: Vec<WorkerHandle>,
    /// The address that each configured listener has really got.
    bound: HashMap<ListenerKey, SocketAddr>,
}

/// The sockets of one new listener.
pub(super) struct Bound {
    key: ListenerKey,
    address: SocketAddr,
    /// For each worker, and registered with its event loop.
    sockets: Vec<Sockets>,
}

/// A configuration that workers are about to take.
pub(super) struct Installing(Vec<oneshot::Receiver<()>>);

impl Installer {
    pub(super) fn start(shared: Arc<Shared>, workers: usize) -> Result<Self, StartError> {
        let workers = (0..workers).map(|index| WorkerHandle::spawn(index, workers)).collect::<Result<_, _>>()?;
        Ok(Self { shared, watch: Watch::start()?, workers, bound: HashMap::new() })
    }

    pub(super) fn address(&self, key: &ListenerKey) -> Option<SocketAddr> {
        self.bound.get(key).copied()
    }

    /// Sockets for the listeners that are not there yet: all of them, or none and an error. This is the last thing that can go
    /// wrong with a configuration, since from here on clients can connect.
    pub(super) fn bind(&self, loaded: &Loaded, inherited: &mut Inherited) -> Result<Vec<Bound>, StartError> {
        let count = self.workers.len();
        let new = loaded.listeners().iter().filter(|(key, _)| !self.bound.contains_key(key));
        new.map(|(key, _)| {
            let failed = |error| StartError::Bind(key.address, error);
            let before = inherited.listener(*key);
            let shares =
                if before.is_empty() { listener::bind(key.address, count) } else { listener::share(before, count) };
            let shares = shares.map_err(failed)?;
            let first = shares.iter().flatten().next();
            let address = first.and_then(|socket| socket.local_addr().ok()).unwrap_or(key.address);
            let registered = self.workers.iter().zip(shares).map(|(worker, own)| worker.register(own));
            let sockets = registered.collect::<Result<_, _>>().map_err(failed)?;
            Ok(Bound { key: *key, address, sockets })
        })
        .collect()
    }

    /// Installs a configuration, with the sockets of its new listeners. Blocks while names are looked up, and while documents that
    /// plugins declare are fetched, unless that is stopped.
    pub(super) fn install(&mut self, loaded: Loaded, bound: Vec<Bound>, stop: &Notify) -> (Arc<Snapshot>, Installing) {
        let snapshot = loaded.install(&self.shared, &self.watch);
        initial_fetch::fetch(&snapshot, &self.shared, stop);
        let Shared { metrics, responses, store, .. } = &*self.shared;
        metrics.in_force(Live::of(&snapshot.config));
        responses.resize(snapshot.config.limits.cache_bytes);
        store.resize(snapshot.config.limits.store_bytes);
        self.shared.limit_plugins(&snapshot.config.limits);
        self.bound.retain(|key, _| snapshot.listens(key));
        let mut sockets: Vec<Vec<_>> = self.workers.iter().map(|_| Vec::new()).collect();
        for Bound { key, address, sockets: own } in bound {
            self.bound.insert(key, address);
            sockets.iter_mut().zip(own).for_each(|(all, own)| all.push((key, own)));
        }
        let taken = self.workers.iter().zip(sockets).map(|(worker, own)| worker.install(snapshot.clone(), own));
        let installing = Installing(taken.collect());
        (snapshot, installing)
    }
}

impl Installing {
    /// Waits until every worker serves by the configuration, for a while. Returns whether all do; a worker that does not yet is
    /// busy, and takes it when it is free.
    pub(super) async fn taken(self) -> bool {
        let deadline = tokio::time::Instant::now() + WORKER_TIMEOUT;
        let mut all = true;
        for (worker, taken) in self.0.into_iter().enumerate() {
            match tokio::time::timeout_at(deadline, taken).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    all = false;
                    tracing::error!("worker {worker} has ended unexpectedly; restart the gateway");
                }
                Err(_) => {
                    all = false;
                    tracing::warn!(
                        "worker {worker} has been busy for {WORKER_TIMEOUT:?}; it applies the new configuration when it is idle"
                    );
                }
            }
        }
        all
    }
}
