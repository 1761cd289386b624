//! A configuration that is installed, for all workers. It is loaded first (`load`), without effect on anything, so that
//! whatever is wrong ends there.

mod load;

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use gateway_config as config;
use gateway_config::{
    Checked, Problems, Sensitive,
    lock::{self, Lock},
};
use gateway_core::{
    model::{Action, Config, Limits, Upstream},
    timers::Timers,
};
use gateway_pipeline::{Bounds, Entry, Pipeline, Scope};
use gateway_proxy::{Site, SiteRoute, SiteUnrouted, Split, Target};
use gateway_route::Table;
use gateway_rules::bounds::Received;
use gateway_server::{Beginning, tls::Shown};
use gateway_telemetry::Sinks;
use gateway_upstream::{Cluster, Upstreams};
use gateway_wasm::{Facts, Pools, Prepared, services};

use super::{Source, admin::Rules, calls::Calls, catalog::Components, shared::Shared, traces::Traces};

pub(super) use load::Loaded;

/// A configuration that is installed.
pub(super) struct Snapshot {
    /// As it was typed, where an operator can look at it; else empty.
    pub(super) text: Arc<str>,
    /// What relative paths in it count from.
    pub(super) base: PathBuf,
    pub(super) config: Arc<Config>,
    /// What is allowed in it and makes no sense.
    pub(super) warnings: Problems,
    /// What distinguishes secrets from other values in its text.
    pub(super) sensitive: Arc<Sensitive>,
    /// Who may operate it, where there is a listener for that.
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) listeners: Vec<ListenerSettings>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) traces: Option<Arc<Traces>>,
    pub(super) table: Arc<Table>,
    global: Vec<Arc<Used>>,
    /// In the order of the configuration's routes.
    routes: Vec<Vec<Arc<Used>>>,
    pub(super) clusters: Vec<Arc<Cluster>>,
    pub(super) secrets: services::Named,
    files: services::Named,
    shared: Arc<Shared>,
}

/// A listener and what its connections begin with.
type ListenerSettings = (ListenerKey, Beginning);

/// A listener across reloads: the same address stays the same socket. Several may ask for port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ListenerKey {
    pub(super) address: SocketAddr,
    ordinal: usize,
}

impl ListenerKey {
    /// As `Display` writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, ordinal) = text.rsplit_once('#')?;
        Some(Self { address: address.parse().ok()?, ordinal: ordinal.parse().ok()? })
    }
}

impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address, self.ordinal)
    }
}

struct Used {
    prepared: Arc<Prepared>,
    skip_on_error: bool,
}

/// Why a gateway does not start, or a reload has no effect.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is not valid.
    Config(Problems),
    Bind(SocketAddr, io::Error),
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: another process listens there; stop it or use another address, or send SIGUSR2 to a running gateway to replace it"
                )
            }
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A configuration without problems.
pub(super) struct Read<'a> {
    text: String,
    base: PathBuf,
    pub(super) checked: Checked,
    pub(super) components: Components<'a>,
}

/// The text of a configuration, and where relative paths in it count from.
fn typed(source: &Source) -> Result<(String, PathBuf), StartError> {
    Ok(match source {
        Source::File(path) => (config::read(path).map_err(StartError::Config)?, path.clone()),
        Source::Text { text, base } => (text.clone(), base.join("configuration")),
    })
}

/// What there is to approve in a configuration, and the folder of its lock. No component runs.
pub(super) fn to_approve(
    source: &Source,
    shared: &Shared,
) -> Result<(PathBuf, BTreeMap<String, lock::Entry>), StartError> {
    let (text, path) = typed(source)?;
    let mut components = Components::to_approve(&shared.runtime, &shared.reflected);
    config::definitions(&text, &path, &mut components).map_err(StartError::Config)?;
    Ok((path.parent().unwrap_or(Path::new("")).to_owned(), components.collected()))
}

/// Everything that `check` does; only network errors can follow.
pub(super) fn read<'a>(source: &Source, shared: &'a Shared) -> Result<Read<'a>, StartError> {
    let (text, path) = typed(source)?;
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut components = Components::locked(&shared.runtime, &shared.reflected, Lock::read(&base));
    let mut checked = config::check(&text, &path, &mut components).map_err(StartError::Config)?;
    // Also where there is none yet: it is a change when it comes.
    checked.config.files_read.push(base.join(lock::FILE));
    Ok(Read { text, base, checked, components })
}

impl Snapshot {
    /// What the component of a plugin that some route uses says about itself.
    pub(super) fn facts(&self, plugin: &str) -> Option<&Facts> {
        self.plugins().find(|prepared| prepared.name() == plugin).map(|prepared| prepared.facts())
    }

    /// The plugins of all routes. One that many routes use in the same way may come several times.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.global.iter().chain(self.routes.iter().flatten()).map(|used| &used.prepared)
    }

    /// Whether calls of a plugin run on fibers, in any configuration of it that is in use.
    pub(super) fn calls_on_fibers(&self, plugin: &str) -> bool {
        let mut all = self.global.iter().chain(self.routes.iter().flatten());
        let is_state_remote = self.shared.remote.get().is_some();
        all.any(|used| used.prepared.name() == plugin && used.prepared.calls_on_fibers(is_state_remote))
    }

    /// The certificates that listeners show, each with its listener's address.
    pub(super) fn certificates(&self) -> Vec<(String, Shown)> {
        let secured = self.listeners.iter().filter_map(|(key, beginning)| Some((key.address, beginning.tls.as_ref()?)));
        secured.flat_map(|(address, tls)| tls.shown().map(move |shown| (address.to_string(), shown))).collect()
    }

    pub(super) fn listens(&self, key: &ListenerKey) -> bool {
        self.listeners.iter().any(|(own, _)| own == key)
    }

    /// One worker's site. What has not changed since `old` keeps its connections and its instances.
    pub(super) fn site(&self, worker: usize, timers: &Timers, pools: &Pools, old: Option<&Site>) -> Site {
        let config = &self.config;
        let old = old.map(|old| &*old.upstreams);
        let upstreams = Rc::new(Upstreams::new(&self.clusters, old, timers, &self.shared.metrics, worker));
        let services = Rc::new(services::Services {
            worker,
            shared: Arc::new(services::Shared {
                store: self.shared.store.clone(),
                remote: self.shared.remote.get().cloned(),
                responses: self.shared.responses.clone(),
                documents: self.shared.documents.clone(),
                passwords: self.shared.passwords.clone(),
                timers: self.shared.timers.clone(),
                sinks: self.sinks.clone(),
                metrics: self.shared.metrics.clone(),
                secrets: self.secrets.clone(),
                files: self.files.clone(),
            }),
            upstreams: Rc::new(Calls(upstreams.clone())),
            leases: pools.leases(),
        });
        let pipeline = |own: &[Arc<Used>], route: &Arc<str>| {
            let used = self.global.iter().chain(own);
            let scope = Scope { metrics: self.shared.metrics.clone(), worker, route: route.clone() };
            let entry = |used: &Arc<Used>| Entry::new(used.prepared.stage(pools, &services), used.skip_on_error);
            Pipeline::new(scope, used.map(entry).collect())
        };
        // Few routes have limits of their own, so nearly all share theirs.
        let mut known: HashMap<usize, Rc<Bounds>> = HashMap::new();
        let Limits { header_bytes, header_count, uri_bytes, .. } = config.limits;
        let mut bounds = |buffer_bytes| {
            let received = Received { header_bytes, header_count, uri_bytes, buffer_bytes };
            known.entry(buffer_bytes).or_insert_with(|| Rc::new(Bounds::new(received))).clone()
        };
        let unrouted_bounds = bounds(config.limits.buffer_bytes);
        let routes = config.routes.iter().zip(&self.routes).map(|(route, own)| {
            // None may be left out: the table knows routes by their positions.
            let upstream_of = |upstream: &Upstream| {
                upstreams.get(&upstream.name).expect("a route's upstream is one of the configuration's").clone()
            };
            let target = match &route.action {
                Action::Upstream(upstream) => Target::Upstream(upstream_of(upstream)),
                Action::Split(parts) => {
                    let weighted = parts.iter().map(|(upstream, weight)| (upstream_of(upstream), *weight));
                    Target::Split(Split::new(weighted).expect("a split has at least two upstreams"))
                }
                Action::Redirect(redirect) => Target::Handler(Rc::new(redirect.clone())),
                Action::Respond(respond) => Target::Handler(Rc::new(respond.clone())),
            };
            SiteRoute::new(route.clone(), pipeline(own, &route.name), target, bounds(route.buffer_bytes))
        });
        Site {
            worker,
            config: config.clone(),
            table: self.table.clone(),
            routes: routes.collect(),
            unrouted: SiteUnrouted {
                name: "".into(),
                pipeline: pipeline(&[], &"".into()),
                bounds: unrouted_bounds,
                metrics: self.shared.metrics.route(worker, ""),
            },
            upstreams,
            metrics: self.shared.metrics.clone(),
            tail: self.shared.tail.clone(),
            tracer: self.traces.as_ref().map(|traces| traces.tracer.clone()),
        }
    }
}
