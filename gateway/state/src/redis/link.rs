//! The thread that has the connections: it finds the server for each request, and counts what becomes of it.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::{LocalSet, spawn_local},
};

use super::{
    ask::{Ask, Counts},
    cluster::RedisCluster,
    dial::{CONNECT, Dialer, Target},
    failure::Failure,
    forgotten::Forgotten,
    health::Health,
    kept::Purges,
    node::{Node, Owner, PULSE, RequestError},
    ops::{Op, Reply},
    settings::{Servers, Settings, StartError},
    watch::{self, Answers, Watches},
};
use crate::Responses;

/// Requests that are under way.
const UNDER_WAY: usize = 8 * 1024;
/// A slot that moves while it is asked for moves once or twice.
const REDIRECTIONS: usize = 3;

/// What the thread begins with.
pub(super) struct Link {
    settings: Settings,
    health: Arc<Health>,
    counts: Arc<Counts>,
    news: News,
    watches: Arc<Watches>,
}

/// What other gateways have purged or found invalid, and what that is taken from here.
pub(super) struct News {
    pub(super) purges: Arc<Purges>,
    pub(super) forgotten: Arc<Forgotten>,
    pub(super) responses: Arc<Responses>,
    pub(super) purge_keys: [String; 2],
    pub(super) forgotten_keys: [String; 2],
}

impl News {
    fn learn(&self, reply: &Reply) {
        let (count, latest) = match reply {
            Reply::Purges(count, latest) => (count, latest),
            Reply::Forgotten(since, count, latest) => {
                return self.forgotten.learn(*since, *count, latest, &self.responses);
            }
            _ => return,
        };
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let latest: Vec<_> = latest.iter().map(|(at, order)| (*at, text(order))).collect();
        self.purges.learn(*count, &latest, |bucket, what| {
            self.responses.purge(bucket, what);
        });
    }
}

impl Link {
    pub(super) fn new(
        settings: Settings,
        health: Arc<Health>,
        counts: Arc<Counts>,
        news: News,
        watches: Arc<Watches>,
    ) -> Result<Self, StartError> {
        let urls = match &settings.servers {
            Servers::One(url) => std::slice::from_ref(url),
            Servers::Cluster(urls) | Servers::Sentinels(_, urls) => urls,
        };
        for url in urls {
            redis::IntoConnectionInfo::into_connection_info(url.as_str()).map_err(StartError::Address)?;
        }
        Ok(Self { settings, health, counts, news, watches })
    }
}

/// What the tasks of the thread share.
pub(super) struct Shared {
    servers: Topology,
    dialer: Rc<Dialer>,
    /// As the log names them: without credentials.
    name: String,
    timeout: Duration,
    health: Arc<Health>,
    counts: Arc<Counts>,
    news: News,
    news_wanted: Notify,
    /// Purges are known: only then are stored responses used.
    news_known: Cell<bool>,
    /// The news was asked for since some server was available: before that, no request is sent.
    settled: Cell<bool>,
    watches: Arc<Watches>,
}

enum Topology {
    One(Rc<Node>),
    Cluster(Rc<RedisCluster>),
}

/// Runs until all senders are dropped.
pub(super) fn run(link: Link, mut asks: mpsc::Receiver<Ask>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("redis state backend unavailable: {error}"),
    };
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    LocalSet::new().block_on(&runtime, async {
        let shared = Rc::new_cyclic(|weak| Shared::new(link, weak));
        match &shared.servers {
            Topology::One(node) => drop(spawn_local(Rc::clone(node).stay_connected())),
            Topology::Cluster(cluster) => drop(spawn_local(Rc::clone(cluster).keep_up())),
        }
        spawn_local(keep_informed(Rc::clone(&shared)));
        spawn_local(watch::watch(Rc::clone(&shared), Arc::clone(&shared.watches)));
        while let Some(ask) = asks.recv().await {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let shared = Rc::clone(&shared);
            spawn_local(async move {
                shared.answer(ask).await;
                drop(permit);
            });
        }
    });
}

/// Hears of what other gateways have purged: when a server becomes available, and once a second.
async fn keep_informed(shared: Rc<Shared>) {
    loop {
        tokio::select! {
            () = shared.news_wanted.notified() => {}
            () = tokio::time::sleep(PULSE) => {}
        }
        if shared.nodes().iter().any(|node| node.is_up()) {
            let heard = tokio::time::timeout(CONNECT, shared.hear()).await;
            shared.news_known.set(matches!(heard, Ok(Ok(()))));
            shared.settled.set(true);
            shared.settle();
        }
    }
}

impl Answers for Shared {
    async fn answer(&self, ask: Ask) {
        self.run_asked(ask).await;
    }
}

impl Owner for Shared {
    fn dialer(&self) -> &Rc<Dialer> {
        &self.dialer
    }

    fn came(&self, server: &str) {
        if let Topology::Cluster(_) = self.servers
            && self.settled.get()
        {
            tracing::info!(server, "redis cluster node available");
        }
        // What was purged while it was not is heard first.
        self.news_known.set(false);
        self.news_wanted.notify_one();
    }

    fn log_away(&self, server: &str, why: &str) {
        match &self.servers {
            Topology::One(_) => tracing::warn!(server, "redis state backend unavailable: {why}"),
            Topology::Cluster(cluster) => {
                tracing::warn!(server, "redis cluster node unavailable: {why}");
                cluster.look();
            }
        }
    }

    fn unreachable(&self, why: &str) {
        if self.health.trouble().as_deref() != Some(why) {
            tracing::warn!(server = self.name, "redis state backend unavailable: {why}");
            self.health.set(false, (0, 0), Some(why.to_owned()));
        }
    }

    fn settle(&self) {
        let nodes = self.nodes();
        let down: Vec<_> = nodes.iter().filter(|node| !node.is_up()).collect();
        let up = nodes.len() - down.len();
        if up == 0 {
            self.settled.set(false);
            self.news_known.set(false);
        }
        let covered = match &self.servers {
            Topology::One(_) => true,
            Topology::Cluster(cluster) => cluster.is_covered(),
        };
        let trouble = match (&down[..], covered) {
            ([], true) => None,
            ([], false) => Some("some slots of the cluster have no node".to_owned()),
            (down, _) => {
                let each = down.iter().map(|node| format!("{}: {}", node.name, node.why.borrow()));
                Some(each.collect::<Vec<_>>().join("; "))
            }
        };
        let usable = up > 0 && self.settled.get();
        let was_usable = self.health.set(usable, (up as u64, down.len() as u64), trouble);
        if usable && !was_usable {
            // Logged only when it is true.
            tracing::info!(server = self.name, "redis state backend available");
        }
    }
}

impl Shared {
    fn new(link: Link, own: &Weak<Self>) -> Self {
        let owner: Weak<dyn Owner> = own.clone();
        let Link { settings, health, counts, news, watches } = link;
        let Settings { servers, credentials, prefix, timeout } = settings;
        let probe = format!("{prefix}{{.probe}}");
        let (name, servers) = match servers {
            Servers::One(url) => {
                let node = Node::new(Target::Url(url.clone()), url.clone(), probe, owner.clone());
                (url, Topology::One(node))
            }
            Servers::Sentinels(url, sentinels) => {
                let target = Target::Primary { url: url.clone(), sentinels };
                (url.clone(), Topology::One(Node::new(target, url, probe, owner.clone())))
            }
            Servers::Cluster(seeds) => {
                (seeds.join(", "), Topology::Cluster(Rc::new(RedisCluster::new(seeds, prefix, owner))))
            }
        };
        Self {
            servers,
            dialer: Rc::new(Dialer { credentials }),
            name,
            timeout,
            health,
            counts,
            news,
            news_wanted: Notify::new(),
            news_known: Cell::new(false),
            settled: Cell::new(false),
            watches,
        }
    }

    fn nodes(&self) -> Vec<Rc<Node>> {
        match &self.servers {
            Topology::One(node) => vec![Rc::clone(node)],
            Topology::Cluster(cluster) => cluster.nodes(),
        }
    }

    async fn hear(&self) -> Result<(), RequestError> {
        let News { purge_keys, forgotten_keys, .. } = &self.news;
        let purges = Op::Purges { keys: purge_keys.clone(), seen: self.news.purges.seen(), order: None };
        self.news.learn(&self.run(&purges, CONNECT).await?);
        let forgotten = Op::Forgotten { keys: forgotten_keys.clone(), seen: self.news.forgotten.seen(), order: None };
        self.news.learn(&self.run(&forgotten, CONNECT).await?);
        Ok(())
    }

    async fn run_asked(&self, ask: Ask) {
        let Ask { op, answer } = ask;
        let counts = &*self.counts;
        let asked = Instant::now();
        let released = match &op {
            Op::Release { key, .. } if !self.watches.waiters.is_empty() => Some(key.clone()),
            _ => None,
        };
        let result = if matches!(op, Op::Find { .. }) && !self.news_known.get() {
            Err(RequestError::Skipped(Failure::Unavailable("what was purged is not known".to_owned())))
        } else {
            self.run_whole(&op).await
        };
        let (counter, result) = match result {
            Ok(reply) => {
                let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                counts.succeeded(micros);
                self.news.learn(&reply);
                (&counts.ok, Ok(reply))
            }
            Err(RequestError::Skipped(failure)) => (&counts.skipped, Err(failure)),
            Err(RequestError::Timeout(failure)) => (&counts.timeouts, Err(failure)),
            Err(
                RequestError::Failed(failure) | RequestError::Moved(_, _, failure) | RequestError::Asked(_, failure),
            ) => (&counts.errors, Err(failure)),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(key) = released {
            self.watches.look(key.as_bytes());
        }
        // The caller may be gone.
        if let Err(Ok(Reply::Acquired(acquired))) = answer.send(result)
            && acquired.held
            && let Op::Acquire { key, lease, .. } = op
        {
            // It has released the lease when it went. That may have come before this acquisition: one that is redirected, or whose
            // script the server had to be given first, is sent a second time.
            let _ = self.run(&Op::Release { key, lease }, self.timeout).await;
        }
    }

    /// An operation with what follows from it.
    async fn run_whole(&self, op: &Op) -> Result<Reply, RequestError> {
        let reply = self.run(op, self.timeout).await?;
        match (op, reply) {
            (Op::Forget { .. }, Reply::Number(0)) => Ok(Reply::Done),
            (Op::Forget { keys, seen, order, .. }, _) => {
                let told = Op::Forgotten { keys: keys.clone(), seen: *seen, order: Some(order.clone()) };
                self.run(&told, self.timeout).await
            }
            (_, reply) => Ok(reply),
        }
    }

    /// Runs an operation where its keys are.
    async fn run(&self, op: &Op, limit: Duration) -> Result<Reply, RequestError> {
        let cluster = match &self.servers {
            Topology::One(node) => return node.run(op, false, limit).await,
            Topology::Cluster(cluster) => cluster,
        };
        let without = || RequestError::Skipped(Failure::Unavailable("the key's slot has no node".to_owned()));
        let mut node = cluster.node(op.key()).ok_or_else(without)?;
        let mut asking = false;
        for _ in 0..REDIRECTIONS {
            let (next, ask, failure) = match node.run(op, asking, limit).await {
                Err(RequestError::Moved(slot, address, failure)) => (cluster.moved(slot, &address), false, failure),
                Err(RequestError::Asked(address, failure)) => (cluster.at(&address), true, failure),
                done => return done,
            };
            let Some(next) = next.filter(|next| next.is_up()) else { return Err(RequestError::Failed(failure)) };
            (node, asking) = (next, ask);
        }
        Err(RequestError::Failed(Failure::Unavailable("too many redirections".to_owned())))
    }
}
