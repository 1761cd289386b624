//! The thread that has the connection: it asks, notices when nobody answers, and connects again.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisFuture, RedisResult, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::{LocalSet, spawn_local},
};

use super::{Ask, Counts, Failure, Op, Reply, Responses, Settings, forgotten::Forgotten, kept::Purges, ops};

/// Questions that are under way.
const UNDER_WAY: usize = 8 * 1024;
/// Questions in a row that were not answered in time, after which nobody asks until a ping is answered.
const PATIENCE: u32 = 8;
/// Between two pings while all is well.
const PULSE: Duration = Duration::from_secs(1);
/// For a ping, and for connecting.
const CONNECT: Duration = Duration::from_secs(2);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Link {
    server: Server,
    /// As the log names it: without credentials.
    name: String,
    timeout: Duration,
    up: Arc<AtomicBool>,
    counts: Arc<Counts>,
    news: News,
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
    async fn hear(&self, connection: &mut Connection) -> RedisResult<()> {
        let purges = Op::Purges { keys: self.purge_keys.clone(), seen: self.purges.seen(), order: None };
        self.learn(&purges.run(connection).await?);
        let forgotten = Op::Forgotten { keys: self.forgotten_keys.clone(), seen: self.forgotten.seen(), order: None };
        self.learn(&forgotten.run(connection).await?);
        Ok(())
    }

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

enum Server {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a redis::Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl Link {
    pub(super) fn new(
        settings: Settings,
        up: Arc<AtomicBool>,
        counts: Arc<Counts>,
        news: News,
    ) -> Result<Self, String> {
        let Settings { urls, cluster, username, password, ca, timeout, prefix: _ } = settings;
        let name = urls.join(", ");
        let wrong = |error: redis::RedisError| format!("state: {error}");
        let certificates = ca.map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        let server = if cluster {
            let mut builder =
                ClusterClient::builder(urls).connection_timeout(CONNECT).response_timeout(timeout).retries(1);
            if let Some(username) = username {
                builder = builder.username(username);
            }
            if let Some(password) = password {
                builder = builder.password(password.0);
            }
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            Server::Cluster(Box::new(builder.build().map_err(wrong)?))
        } else {
            let url = urls.into_iter().next().ok_or("state: no URL")?;
            let mut info = url.as_str().into_connection_info().map_err(wrong)?;
            let mut credentials = info.redis_settings().clone();
            if let Some(username) = username {
                credentials = credentials.set_username(username);
            }
            if let Some(password) = password {
                credentials = credentials.set_password(password.0);
            }
            info = info.set_redis_settings(credentials);
            Server::One(Box::new(match certificates {
                Some(certificates) => Client::build_with_tls(info, certificates).map_err(wrong)?,
                None => Client::open(info).map_err(wrong)?,
            }))
        };
        Ok(Self { server, name, timeout, up, counts, news })
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let mut connection = match &self.server {
            Server::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT))
                    .set_response_timeout(Some(CONNECT));
                Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Server::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        ops::ping(&mut connection).await?;
        // Before anything is believed that may have been purged.
        self.news.hear(&mut connection).await?;
        Ok(connection)
    }
}

/// What the tasks of the thread share.
struct Shared {
    link: Link,
    connection: RefCell<Option<Connection>>,
    /// Somebody found that the connection is of no use.
    lost: Notify,
    unanswered: Cell<u32>,
}

/// Runs until nobody can ask any more.
pub(super) fn run(link: Link, mut questions: mpsc::Receiver<Ask>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("the state cannot be reached: {error}"),
    };
    let shared =
        Rc::new(Shared { link, connection: RefCell::new(None), lost: Notify::new(), unanswered: Cell::new(0) });
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    LocalSet::new().block_on(&runtime, async {
        spawn_local(stay_connected(Rc::clone(&shared)));
        while let Some(ask) = questions.recv().await {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let shared = Rc::clone(&shared);
            spawn_local(async move {
                shared.answer(ask).await;
                drop(permit);
            });
        }
    });
}

impl Shared {
    async fn answer(&self, ask: Ask) {
        let Ask { op, answer } = ask;
        let counts = &*self.link.counts;
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let connection = self.connection.borrow().clone();
        let Some(mut connection) = connection else {
            count(&counts.unasked);
            let _ = answer.send(Err(Failure::Away("not connected".to_owned())));
            return;
        };
        let asked = Instant::now();
        let result = match tokio::time::timeout(self.link.timeout, op.run(&mut connection)).await {
            Ok(Ok(reply)) => {
                count(&counts.answered);
                let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                counts.micros.fetch_add(micros, Ordering::Relaxed);
                self.unanswered.set(0);
                self.link.news.learn(&reply);
                Ok(reply)
            }
            Ok(Err(error)) => {
                count(&counts.failed);
                let (failure, broken) = ops::explain(&error);
                if broken {
                    self.lose(&failure);
                }
                Err(failure)
            }
            Err(_) => {
                count(&counts.late);
                let failure = Failure::Away(format!("no answer within {:?}", self.link.timeout));
                self.unanswered.set(self.unanswered.get() + 1);
                if self.unanswered.get() >= PATIENCE {
                    self.lose(&failure);
                }
                Err(failure)
            }
        };
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }

    fn lose(&self, why: &Failure) {
        if self.link.up.swap(false, Ordering::Relaxed) {
            let Failure::Away(why) = why else { return };
            tracing::warn!(server = self.link.name, "the state in Redis is away: {why}");
        }
        self.lost.notify_one();
    }
}

/// Connects, looks after the connection, and connects again when it is lost.
async fn stay_connected(shared: Rc<Shared>) {
    let mut wait = SHORTEST_WAIT;
    let mut told = false;
    loop {
        let attempt = tokio::time::timeout(CONNECT, shared.link.connect()).await;
        match attempt {
            Ok(Ok(connection)) => {
                *shared.connection.borrow_mut() = Some(connection.clone());
                shared.unanswered.set(0);
                shared.link.up.store(true, Ordering::Relaxed);
                // Said when it is true: whoever reads it may rely on it.
                tracing::info!(server = shared.link.name, "the state is in Redis");
                (wait, told) = (SHORTEST_WAIT, true);
                look_after(&shared, connection).await;
                *shared.connection.borrow_mut() = None;
            }
            other => {
                let why = match other {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no answer within {CONNECT:?}"),
                };
                // Once: what follows is the same.
                if !told {
                    told = true;
                    tracing::warn!(server = shared.link.name, "the state in Redis is away: {why}");
                }
            }
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Ends when the connection is of no use any more.
async fn look_after(shared: &Shared, mut connection: Connection) {
    loop {
        tokio::select! {
            () = shared.lost.notified() => return,
            () = tokio::time::sleep(PULSE) => {}
        }
        // As good as a ping.
        let failure = match tokio::time::timeout(CONNECT, shared.link.news.hear(&mut connection)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => Failure::Away(error.to_string()),
            Err(_) => Failure::Away(format!("no answer within {CONNECT:?}")),
        };
        shared.lose(&failure);
        // It was told just now.
        shared.lost.notified().await;
        return;
    }
}
