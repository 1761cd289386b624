//! What outlives every configuration: compiled code, the plugins' store, metrics, the log.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering::Relaxed},
};

use gateway_core::model::{Limits, Log, RedisServer, RedisServers, SecretSource, StateBackend};
use gateway_state::redis::DURATION_BOUNDS;
use gateway_state::{
    MemoryStore, Responses,
    redis::{self, CredentialsError, Redis, Servers},
};
use gateway_telemetry::{
    Logging, Metrics,
    logging::LogError,
    remote::{OwnFigures, OwnState, RemoteFigures, RemoteState},
    tail::Tail,
};
use gateway_wasm::{CodeCache, Documents, Passwords, PluginMemory, Runtime, Timers};

use super::{LogOverrides, StartError, memory::PluginBudget, reflected::Reflected, secrets};

/// One for the process.
pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) metrics: Metrics,
    pub(super) store: Arc<MemoryStore>,
    /// Where the plugins' state is, if it is not in memory: said by the configuration that the process began with.
    pub(super) remote: OnceLock<Arc<Redis>>,
    pub(super) responses: Arc<Responses>,
    pub(super) documents: Arc<Documents>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) timers: Arc<Timers>,
    pub(super) reflected: Reflected,
    pub(super) tail: Arc<Tail>,
    log: Mutex<Option<(Logging, LogOverrides)>>,
}

impl Shared {
    pub(super) fn new(code_cache: bool) -> Result<Arc<Self>, StartError> {
        Self::with_timers(code_cache, Arc::default())
    }

    pub(super) fn with_timers(code_cache: bool, timers: Arc<Timers>) -> Result<Arc<Self>, StartError> {
        let metrics = Metrics::default();
        let (store, responses) = (Arc::new(MemoryStore::default()), Arc::<Responses>::default());
        let cache = if code_cache { CodeCache::User } else { CodeCache::Off };
        let runtime = Runtime::new(&cache).map_err(io::Error::other)?;
        metrics.watch_own_state(Arc::new(InMemory {
            store: store.clone(),
            responses: responses.clone(),
            plugins: runtime.memory(),
        }));
        Ok(Arc::new(Self {
            runtime,
            metrics,
            store,
            remote: OnceLock::new(),
            responses,
            documents: Arc::default(),
            passwords: Arc::default(),
            timers,
            reflected: Reflected::default(),
            tail: Arc::default(),
            log: Mutex::new(None),
        }))
    }

    pub(super) fn start_log(&self, log: &Log, overrides: &LogOverrides) -> Result<(), StartError> {
        let log = Log {
            format: overrides.format.unwrap_or(log.format),
            level: overrides.level.clone().unwrap_or_else(|| log.level.clone()),
        };
        let logging = Logging::start(&log, &self.metrics).map_err(io::Error::other)?;
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some((logging, overrides.clone()));
        Ok(())
    }

    /// Connects to the state backend. The gateway starts even if it is unavailable.
    pub(super) fn start_state(
        &self,
        state: &StateBackend,
        secrets: &BTreeMap<String, SecretSource>,
    ) -> Result<(), StartError> {
        let StateBackend::Redis(server) = state else { return Ok(()) };
        let credentials = credentials(server, secrets);
        // What cannot be read now is an error of the start; what cannot be read later is one of a connection.
        credentials().map_err(io::Error::other)?;
        let settings = redis::Settings {
            servers: match &server.servers {
                RedisServers::One(url) => Servers::One(url.clone()),
                RedisServers::Cluster(urls) => Servers::Cluster(urls.clone()),
                RedisServers::Sentinels(url, sentinels) => Servers::Sentinels(url.clone(), sentinels.clone()),
            },
            credentials,
            prefix: server.prefix.clone(),
            timeout: server.timeout,
        };
        let remote = Redis::start(settings, self.responses.clone()).map_err(io::Error::other)?;
        self.metrics.watch_state(Arc::new(Watched(remote.clone())));
        self.remote.get_or_init(|| remote);
        Ok(())
    }

    /// Takes over what a reload says about the log, as far as the command line did not say it.
    pub(super) fn change_log(&self, old: &Log, new: &Log) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((logging, overrides)) = &*log else { return };
        if new.format != old.format && overrides.format.is_none() {
            tracing::warn!("`log.format` takes effect at the next start");
        }
        if new.level != old.level
            && overrides.level.is_none()
            && let Err(error) = logging.set_level(&new.level)
        {
            tracing::warn!("log level unchanged: {error}");
        }
    }

    /// What the log's level is; none where the process has no log of ours.
    pub(super) fn log_level(&self) -> Option<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map(|(logging, _)| logging.level())
    }

    /// Changes it. None where there is no log.
    pub(super) fn set_log_level(&self, level: &str) -> Option<Result<(), LogError>> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map(|(logging, _)| logging.set_level(level))
    }

    /// What all plugins may have together: memory, and instances as far as the system has room for them.
    pub(super) fn limit_plugins(&self, limits: &Limits) {
        let allowed = self.runtime.limit_instances(limits.plugin_instances);
        self.metrics.instances_limited(allowed);
        if let Some(wanted) = limits.plugin_instances.filter(|wanted| allowed < *wanted) {
            tracing::warn!(
                "`limits.plugin-instances` is {wanted}, and this system has room for {allowed}: raise vm.max_map_count"
            );
        }
        let (_, before) = self.runtime.memory().used_and_limit();
        let budget = PluginBudget::of(limits);
        self.runtime.limit_memory(budget.bytes);
        if budget.bytes as u64 != before {
            tracing::info!("{budget}");
        }
    }

    /// Writes out what is buffered.
    pub(super) fn finish_log(&self) {
        drop(self.log.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Reads the credentials from where they are, again each time.
fn credentials(server: &RedisServer, secrets: &BTreeMap<String, SecretSource>) -> redis::ReadCredentials {
    let source =
        |name: &Option<String>| name.as_ref().and_then(|name| Some((name.clone(), secrets.get(name)?.clone())));
    let (username, password) = (source(&server.username_from), source(&server.password));
    let sentinel_password = source(&server.sentinel_password);
    let (fixed, sentinel_username, ca) = (server.username.clone(), server.sentinel_username.clone(), server.ca.clone());
    Arc::new(move || {
        let read = |source: &Option<(String, SecretSource)>| {
            let Some((name, source)) = source else { return Ok(None) };
            let failed = |source| CredentialsError::Secret { name: name.clone(), source };
            let bytes = secrets::read(source).map_err(failed)?;
            Ok::<_, CredentialsError>(Some(String::from_utf8_lossy(&bytes).into_owned()))
        };
        let failed = |path: &PathBuf, source| CredentialsError::Authorities { path: path.clone(), source };
        let ca = ca.as_ref().map(|path| fs::read(path).map_err(|error| failed(path, error)));
        Ok(redis::Credentials {
            username: read(&username)?.or_else(|| fixed.clone()),
            password: read(&password)?.map(redis::Secret),
            sentinel_username: sentinel_username.clone(),
            sentinel_password: read(&sentinel_password)?.map(redis::Secret),
            ca: ca.transpose()?,
        })
    })
}

/// The state in memory as metrics see it.
struct InMemory {
    store: Arc<MemoryStore>,
    responses: Arc<Responses>,
    plugins: PluginMemory,
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state in memory")
    }
}

impl OwnState for InMemory {
    fn figures(&self) -> OwnFigures {
        let (responses, response_bytes) = self.responses.usage();
        let (plugin_memory, plugin_memory_limit) = self.plugins.used_and_limit();
        OwnFigures {
            plugin_memory,
            plugin_memory_limit,
            entries: self.store.len() as u64,
            entry_bytes: self.store.bytes() as u64,
            responses: responses as u64,
            response_bytes,
        }
    }
}

/// Redis as metrics see it, which do not know it.
struct Watched(Arc<Redis>);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state in Redis")
    }
}

impl RemoteState for Watched {
    fn figures(&self) -> RemoteFigures {
        let counts = self.0.counts();
        let (available, unavailable) = self.0.nodes();
        let requests = [&counts.ok, &counts.timeouts, &counts.errors, &counts.skipped];
        let bounds = DURATION_BOUNDS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        RemoteFigures {
            up: self.0.trouble().is_none(),
            nodes: [available, unavailable],
            requests: requests.map(|counter| counter.load(Relaxed)),
            durations: bounds.zip(&counts.durations).map(|(bound, count)| (bound, count.load(Relaxed))).collect(),
            seconds: counts.micros.load(Relaxed) as f64 / 1e6,
        }
    }
}
