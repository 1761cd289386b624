//! Every metric of the gateway, by name, and the handles through which it is counted.
//!
//! A worker finds its handles once, when a configuration is put to work; counting is then an addition to
//! numbers of its own, without a lock or a look-up. Names follow Prometheus; counters get `_total` on output.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_core::error::Failure;
use http::Method;
use prometheus_client::{encoding::text, registry::Registry};
use tracing_appender::non_blocking::ErrorCounter;

use super::{
    calls::{PluginCells, Use},
    cells::{Cells, Durations},
    leases::LeaseMetrics,
    live::Live,
    remote::{OwnState, RemoteState},
    requests::RequestCounts,
    series::AllSeries,
    traps::{Trap, Traps},
};

pub use super::{
    calls::{CallFailure, CallMetrics, CallPhase, PluginMetrics},
    gauge::GaugeGuard,
    spans::TraceMetrics,
    upstreams::{EndpointMetrics, Rejection, UpstreamMetrics},
};

/// All metrics of the process; clones count in the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Metrics(pub(super) Arc<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) routes: Cells<RouteMetrics>,
    pub(super) upstreams: Cells<UpstreamMetrics>,
    health_counts: Mutex<BTreeMap<Arc<str>, Weak<dyn ClusterHealth>>>,
    pub(super) plugins: Cells<PluginCells>,
    /// Instances that all plugins may have together.
    pub(super) instance_limit: AtomicU64,
    pub(super) calls: Cells<CallMetrics, Use>,
    pub(super) series: AllSeries,
    pub(super) leases: Cells<LeaseMetrics>,
    pub(super) sinks: Cells<SinkMetrics>,
    pub(super) failures: [AtomicU64; Failure::ALL.len()],
    pub(super) accepted: AtomicU64,
    pub(super) connection_failures: [AtomicU64; CONNECTION_FAILURES.len()],
    pub(super) connections: Arc<AtomicU64>,
    pub(super) log_dropped: OnceLock<ErrorCounter>,
    pub(super) remote: OnceLock<Arc<dyn RemoteState>>,
    pub(super) own: OnceLock<Arc<dyn OwnState>>,
    /// TLS 1.2 and 1.3; begun anew, and resumed.
    pub(super) handshakes: [[AtomicU64; 2]; 2],
    pub(super) traces: Arc<TraceMetrics>,
    traps: Arc<Traps>,
    pub(super) reloads: [AtomicU64; 2],
    pub(super) last_reload_failed: AtomicBool,
    pub(super) loaded: AtomicU64,
    /// The names of the configuration in force; none before the first one, and then everything stays.
    live: Mutex<Option<Arc<Live>>>,
}

impl Metrics {
    /// A worker's handle for the exchanges of a route; the empty name is for those that match none.
    pub fn route(&self, worker: usize, route: &str) -> Arc<RouteMetrics> {
        self.0.routes.of(worker, route)
    }

    pub fn upstream(&self, worker: usize, upstream: &str) -> Arc<UpstreamMetrics> {
        self.0.upstreams.of(worker, upstream)
    }

    /// The endpoints of these upstreams are counted by asking from now on, and those of no others.
    pub fn watch_upstreams(&self, upstreams: impl IntoIterator<Item = (Arc<str>, Weak<dyn ClusterHealth>)>) {
        *self.0.health_counts.lock().unwrap_or_else(PoisonError::into_inner) = upstreams.into_iter().collect();
    }

    pub fn plugin(&self, worker: usize, plugin: &str) -> PluginMetrics {
        PluginMetrics {
            cells: self.0.plugins.of(worker, plugin),
            series: self.0.series.of(plugin),
            traps: self.0.traps.clone(),
        }
    }

    /// A worker's handle for the calls of a plugin on a route; the empty name is for exchanges that have none.
    pub fn calls(&self, worker: usize, plugin: &Arc<str>, route: &Arc<str>) -> Arc<CallMetrics> {
        self.0.calls.of(worker, &Use { plugin: plugin.clone(), route: route.clone() })
    }

    /// All plugins together may have so many instances.
    pub fn instances_limited(&self, limit: usize) {
        self.0.instance_limit.store(limit as u64, Relaxed);
    }

    /// The last times that plugins broke down.
    pub fn traps(&self) -> Vec<Trap> {
        self.0.traps.all()
    }

    pub fn traces(&self) -> Arc<TraceMetrics> {
        self.0.traces.clone()
    }

    pub(super) fn sink(&self, sink: &str) -> Arc<SinkMetrics> {
        self.0.sinks.of(0, sink)
    }

    /// A worker's handle for the leases of a bucket. The series stays for as long as the handle is kept.
    pub fn leases(&self, worker: usize, bucket: &str) -> Arc<LeaseMetrics> {
        self.0.leases.of(worker, bucket)
    }

    /// The gateway ended an exchange or a connection by itself.
    pub fn failed(&self, failure: Failure) {
        self.0.failures[failure as usize].fetch_add(1, Relaxed);
    }

    /// Counts a client's connection, which is open until the guard is dropped.
    pub fn connection(&self) -> GaugeGuard {
        self.0.accepted.fetch_add(1, Relaxed);
        GaugeGuard::count(&self.0.connections)
    }

    /// A client's connection ended before its first request.
    pub fn connection_failed(&self, failure: ConnectionFailure) {
        self.0.connection_failures[failure as usize].fetch_add(1, Relaxed);
    }

    /// Client connections that are open now.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Relaxed)
    }

    /// The first configuration was put to work.
    pub fn config_loaded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.loaded.store(now.as_secs(), Relaxed);
    }

    /// A reload ended; `ok` if the new configuration serves now.
    pub fn reloaded(&self, ok: bool) {
        self.0.reloads[usize::from(ok)].fetch_add(1, Relaxed);
        self.0.last_reload_failed.store(!ok, Relaxed);
        if ok {
            self.config_loaded();
        }
    }

    /// These are the names of the configuration in force from now on.
    pub fn in_force(&self, live: Live) {
        *self.0.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(live));
        self.release();
    }

    /// Drops the series of what is no longer configured and no longer in use. A request of an earlier configuration may have
    /// been in the way last time, so this is done at each scrape.
    pub fn release(&self) {
        let inner = &*self.0;
        let live = inner.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(live) = live else { return };
        inner.routes.release(|route| live.has_route(route));
        inner.upstreams.release(|upstream| live.has_upstream(upstream));
        inner.calls.release(|used| live.has_use(used));
        inner.plugins.release(|plugin| live.has_plugin(plugin));
        inner.series.release(|plugin| live.has_plugin(plugin));
        inner.leases.release(|_| false);
        // Writers of a sink hold its counters.
        inner.sinks.release(|_| false);
    }

    /// A handshake with a client ended well.
    pub fn handshake(&self, version: &str, resumed: bool) {
        self.0.handshakes[usize::from(version != VERSIONS[0])][usize::from(resumed)].fetch_add(1, Relaxed);
    }

    /// Where the state in memory is.
    pub fn watch_own_state(&self, own: Arc<dyn OwnState>) {
        // A process has one.
        let _ = self.0.own.set(own);
    }

    /// The state is elsewhere, and stays there.
    pub fn watch_state(&self, remote: Arc<dyn RemoteState>) {
        // A process has one.
        let _ = self.0.remote.set(remote);
    }

    pub(super) fn watch_log(&self, dropped: ErrorCounter) {
        // There is one log, so that a second counter could only be the same.
        let _ = self.0.log_dropped.set(dropped);
    }

    /// Everything in OpenMetrics text.
    pub fn render(&self) -> String {
        self.release();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("writing to a string does not fail");
        out
    }
}

/// In place of a worker, for what is counted for all of them.
pub const PROCESS: usize = usize::MAX;

/// How many endpoints of an upstream are in each of `HEALTH_STATES`.
pub trait ClusterHealth: std::fmt::Debug + Send + Sync {
    fn health_counts(&self) -> [u64; HEALTH_STATES.len()];

    /// Each endpoint, and whether it gets requests.
    fn endpoints(&self) -> Vec<(SocketAddr, bool)>;

    /// Whether the circuit is open or half-open; none where there is no circuit breaker.
    fn circuit_is_open(&self) -> Option<bool>;
}

pub const HEALTH_STATES: [&str; 4] = ["healthy", "ejected", "unhealthy", "drained"];

impl Inner {
    /// The upstreams of the configuration in force.
    pub(super) fn health_counts(&self) -> Vec<(Arc<str>, Arc<dyn ClusterHealth>)> {
        let all = self.health_counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|(name, cluster)| Some((name.clone(), cluster.upgrade()?))).collect()
    }
}

/// Why a client's connection ended before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFailure {
    ProxyProtocol,
    TlsHandshake,
    ClientCertificate,
}

/// Of TLS.
pub(super) const VERSIONS: [&str; 2] = ["1.2", "1.3"];

pub(super) const CONNECTION_FAILURES: [&str; 3] = ["proxy-protocol", "tls-handshake", "client-certificate"];

/// The exchanges of one route on one worker.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    pub(super) requests: RequestCounts,
    pub(super) duration: Durations,
    pub tunnelled: Tunnelled,
}

/// What goes through after an upgrade.
#[derive(Debug, Default)]
pub struct Tunnelled {
    pub(super) open: AtomicU64,
    /// From the client, to the client.
    pub(super) bytes: [AtomicU64; 2],
}

impl Tunnelled {
    pub fn begin(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub fn end(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.bytes[0].fetch_add(bytes as u64, Relaxed);
    }

    pub fn sent(&self, bytes: usize) {
        self.bytes[1].fetch_add(bytes as u64, Relaxed);
    }
}

impl RouteMetrics {
    /// An exchange ended. The method is the client's, before any plugin's edit.
    pub fn finished(&self, method: &Method, status: Option<u16>, duration_us: u64) {
        self.requests.add(method, status);
        self.duration.observe(duration_us);
    }
}

/// What became of the lines for one sink.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    pub(super) written: AtomicU64,
    /// Refused because the buffer was full, or the line too long.
    pub(super) dropped: AtomicU64,
    /// Taken into the buffer and lost, since the target could not be written to.
    pub(super) failed: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line starts with {start:?} in:\n{text}"))
    }

    #[test]
    fn workers_are_added_up() {
        let metrics = Metrics::default();
        for worker in 0..3 {
            metrics.route(worker, "users").finished(&Method::GET, Some(200), 700);
        }
        metrics.route(0, "users").finished(&Method::GET, Some(404), 700);
        let text = metrics.render();
        let requests = "gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"2xx\",code=\"200\"} 3";
        assert_eq!(line(&text, "gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"2xx\""), requests);
        line(&text, "gateway_request_duration_seconds_count{route=\"users\"} 4");
        line(&text, "gateway_request_duration_seconds_bucket{le=\"0.0005\",route=\"users\"} 0");
        line(&text, "gateway_request_duration_seconds_bucket{le=\"0.001\",route=\"users\"} 4");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn requests_that_were_limited_are_told_from_those_that_found_nothing() {
        let metrics = Metrics::default();
        for (worker, status, times) in [(0, 429, 2), (1, 429, 1), (1, 404, 1)] {
            (0..times).for_each(|_| metrics.route(worker, "users").finished(&Method::GET, Some(status), 700));
        }
        let text = metrics.render();
        line(&text, "gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"4xx\",code=\"404\"} 1");
        line(&text, "gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"4xx\",code=\"429\"} 3");
        // Nothing is exported for what did not occur.
        assert_eq!(text.matches("gateway_requests_total{").count(), 2);
        let figures = metrics.route_figures();
        assert_eq!(figures[0].requests, [("none", 0), ("1xx", 0), ("2xx", 0), ("3xx", 0), ("4xx", 4), ("5xx", 0)]);
    }

    #[test]
    fn made_up_methods_and_odd_statuses_share_a_label() {
        let metrics = Metrics::default();
        let route = metrics.route(0, "");
        for method in ["BREW", "get", "WHEN"] {
            route.finished(&Method::from_bytes(method.as_bytes()).unwrap(), None, 0);
        }
        route.finished(&Method::GET, Some(999), 0);
        let text = metrics.render();
        line(&text, "gateway_requests_total{route=\"\",method=\"other\",status_class=\"none\",code=\"none\"} 3");
        line(&text, "gateway_requests_total{route=\"\",method=\"GET\",status_class=\"5xx\",code=\"other\"} 1");
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_let_go() {
        let metrics = Metrics::default();
        let (client, upstream) = (metrics.connection(), metrics.upstream(0, "users").connected());
        let instance = metrics.plugin(0, "jwt").instance();
        let text = metrics.render();
        line(&text, "gateway_connections 1");
        line(&text, "gateway_upstream_connections{upstream=\"users\"} 1");
        line(&text, "gateway_wasm_instances{plugin=\"jwt\"} 1");
        drop((client, upstream, instance));
        let text = metrics.render();
        line(&text, "gateway_connections 0");
        line(&text, "gateway_connections_accepted_total 1");
        line(&text, "gateway_upstream_connections{upstream=\"users\"} 0");
        line(&text, "gateway_wasm_instances_created_total{plugin=\"jwt\"} 1");
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let metrics = Metrics::default();
        metrics.failed(Failure::Internal);
        metrics.failed(Failure::MalformedRequest);
        let text = metrics.render();
        line(&text, "gateway_failures_total{reason=\"internal\"} 1");
        line(&text, "gateway_failures_total{reason=\"malformed-request\"} 1");
        line(&text, "gateway_failures_total{reason=\"no-route\"} 0");
    }

    #[test]
    fn a_plugins_own_series_carry_its_name_and_no_label_breaks_the_text() {
        let metrics = Metrics::default();
        let plugin = metrics.plugin(0, "geo");
        plugin.add("hits", 2, &[("city".into(), "a\"b\n}".into())]);
        plugin.observe("seconds", 0.2, &[]);
        let text = metrics.render();
        line(&text, "gateway_plugin_hits_total{plugin=\"geo\",city=\"a\\\"b\\n}\"} 2");
        line(&text, "gateway_plugin_seconds_bucket{le=\"0.5\",plugin=\"geo\"} 1");
    }

    #[test]
    fn every_metric_is_in_the_documentation() {
        let page = include_str!("../../../docs/metrics.md");
        let text = Metrics::default().render();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
        assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    }

    #[test]
    fn a_failed_reload_shows_until_one_succeeds() {
        let metrics = Metrics::default();
        line(&metrics.render(), "gateway_config_last_reload_successful 1");
        metrics.reloaded(false);
        line(&metrics.render(), "gateway_config_last_reload_successful 0");
        metrics.reloaded(true);
        let text = metrics.render();
        line(&text, "gateway_config_last_reload_successful 1");
        line(&text, "gateway_config_reloads_total{result=\"error\"} 1");
    }
}
