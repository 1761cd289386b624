//! What the whole process knows of one upstream: its endpoints at present and how they fare. Each worker has a
//! view of its own (`view`) and looks here again only when the version has changed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gateway_core::model;
use gateway_telemetry::metrics::{ClusterHealth, Metrics, PROCESS, UpstreamMetrics};
use http::Uri;
use tokio::sync::Notify;

use super::{host_health::HostHealth, load::Load};
use crate::{
    connections::{connect::Address, tls::ClientTls},
    monotonic_clock::{self, micros},
};

/// One upstream of one configuration, for all workers.
pub struct Cluster {
    /// Its configuration.
    pub model: Arc<model::Upstream>,
    tls: Option<ClientTls>,
    /// Counts the changes of `hosts` and of their health.
    version: AtomicU64,
    hosts: Mutex<Vec<Host>>,
    /// The hosts have changed; notifies the health checks.
    pub(crate) changed: Notify,
    pub(crate) load: Arc<Load>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
}

/// An endpoint at one address.
#[derive(Clone)]
pub(crate) struct Host {
    /// The position in the model's endpoints.
    pub(crate) origin: usize,
    pub(crate) address: SocketAddr,
    pub(crate) health: Arc<HostHealth>,
}

/// An upstream as a configuration has it. The process does not know of it before it is installed.
pub struct LoadedCluster {
    /// Its configuration.
    pub model: Arc<model::Upstream>,
    tls: Option<ClientTls>,
    /// The installed group of the same name.
    old: Option<Arc<Cluster>>,
}

impl LoadedCluster {
    /// `tls` is needed if some endpoint has a URL of `https`; `old` is the installed cluster of the same name.
    pub fn new(model: Arc<model::Upstream>, tls: Option<ClientTls>, old: Option<&Arc<Cluster>>) -> Self {
        Self { model, tls, old: old.cloned() }
    }

    /// The group that is installed already, if nothing changes for it.
    pub fn unchanged(&self) -> Option<&Arc<Cluster>> {
        self.old.as_ref().filter(|old| old.is_same(&self.model, self.tls.as_ref()))
    }

    /// Makes the cluster. Endpoints that stay keep their health and what operators set; names keep their addresses. All of
    /// this is taken from the old cluster now and not when the configuration was loaded: it may have changed meanwhile.
    ///
    /// The health of endpoints is shared with the old cluster, in which requests may be in flight. So it is not changed here, but
    /// by `end_checks` once nothing checks the old cluster any more.
    pub fn install(self, metrics: &Metrics) -> Arc<Cluster> {
        if let Some(same) = self.unchanged() {
            return same.clone();
        }
        let Self { model, tls, old } = self;
        let known = old.as_ref().map(|old| (&old.model, old.hosts().clone()));
        let mut hosts = Vec::new();
        for (origin, endpoint) in model.endpoints.iter().enumerate() {
            let before = known.iter().flat_map(|(model, hosts)| {
                hosts.iter().filter(|host| model.endpoints[host.origin].url == endpoint.url)
            });
            let before = before.map(|host| Host { origin, ..host.clone() }).collect::<Vec<_>>();
            match fixed(&endpoint.url) {
                Some(address) if before.is_empty() => hosts.push(Host::new(origin, address)),
                _ => hosts.extend(before),
            }
        }
        Arc::new(Cluster {
            metrics: metrics.upstream(PROCESS, &model.name),
            model,
            tls,
            version: AtomicU64::new(1),
            hosts: Mutex::new(hosts),
            changed: Notify::new(),
            load: old.map_or_else(Arc::default, |old| old.load.clone()),
        })
    }
}

impl Cluster {
    /// Where there are no active checks, no endpoint is unhealthy: nothing would find it healthy again.
    pub fn end_checks(&self) {
        if self.model.health.active.is_some() {
            return;
        }
        let mut any = false;
        for host in self.hosts().iter() {
            any |= host.health.set_unhealthy(false);
        }
        if any {
            self.has_changed();
        }
    }

    /// The trusted CAs and the client certificate, in DER.
    pub(crate) fn certificates(&self) -> &[Vec<u8>] {
        self.tls.as_ref().map_or(&[], ClientTls::certificates)
    }

    fn is_same(&self, model: &model::Upstream, tls: Option<&ClientTls>) -> bool {
        // Certificates may have changed under the same file names: then the loaded configuration differs.
        let same_tls = match (&self.tls, tls) {
            (Some(mine), Some(theirs)) => mine.is_same(theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        *self.model == *model && same_tls
    }

    /// Where names are to be looked up: positions of endpoints, and their hosts.
    pub(crate) fn names(&self) -> Vec<(usize, String)> {
        let endpoints = self.model.endpoints.iter().enumerate();
        endpoints
            .filter(|(_, e)| fixed(&e.url).is_none())
            .map(|(origin, e)| (origin, host_of(&e.url).to_owned()))
            .collect()
    }

    /// Whether something has to be done for it beside sending requests.
    pub(crate) fn needs_watching(&self) -> bool {
        self.model.health.active.is_some() || !self.names().is_empty()
    }

    /// Changes whenever `hosts` or their health do. The first one is 1.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect_to(&self, host: &Host) -> Address {
        let endpoint = &self.model.endpoints[host.origin];
        Address::new(&endpoint.url, host.address, self.model.protocol, &self.model.tls, self.tls.as_ref())
    }

    /// A name has these addresses now. Returns whether that is news.
    pub(crate) fn set_addresses(&self, origin: usize, addresses: &[IpAddr]) -> bool {
        let port = port(&self.model.endpoints[origin].url);
        let mut addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        // Name servers like to shuffle, which is no news.
        addresses.sort();
        addresses.dedup();
        let mut hosts = self.hosts();
        let old: Vec<Host> = hosts.iter().filter(|host| host.origin == origin).cloned().collect();
        if old.iter().map(|host| host.address).eq(addresses.iter().copied()) {
            return false;
        }
        let host = |address: SocketAddr| {
            let known = old.iter().find(|host| host.address == address);
            known.cloned().unwrap_or_else(|| Host::new(origin, address))
        };
        let new: Vec<Host> = addresses.into_iter().map(host).collect();
        let at = hosts.partition_point(|host| host.origin < origin);
        hosts.splice(at..at + old.len(), new);
        drop(hosts);
        self.has_changed();
        self.changed.notify_one();
        true
    }

    /// An active check has changed its mind.
    pub(crate) fn set_unhealthy(&self, host: &Host, unhealthy: bool) {
        if host.health.set_unhealthy(unhealthy) {
            self.has_changed();
            let (upstream, endpoint) = (&*self.model.name, host.address);
            if unhealthy {
                tracing::warn!(upstream, %endpoint, "endpoint unhealthy: its health checks fail; it gets no requests");
            } else {
                tracing::info!(upstream, %endpoint, "endpoint healthy: its health checks pass again");
            }
        }
    }

    /// An endpoint's share of the requests: what the operator says, or the configuration.
    pub(crate) fn weight(&self, host: &Host) -> u32 {
        host.health.weight().unwrap_or_else(|| self.model.endpoints[host.origin].weight)
    }

    /// Whether an endpoint is meant to get new requests, while it is healthy.
    pub(crate) fn is_in_use(&self, host: &Host) -> bool {
        !host.health.is_drained() && self.weight(host) > 0
    }

    /// The endpoints as the admin API shows them.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let now = micros(Instant::now());
        let state = |host: &Host| {
            let endpoint = &self.model.endpoints[host.origin];
            EndpointState {
                url: endpoint.url.to_string(),
                address: host.address,
                health: match &host.health {
                    health if health.is_unhealthy() => Health::Unhealthy,
                    health if health.is_unreachable() || health.ejected_until(now).is_some() => Health::Ejected,
                    _ => Health::Healthy,
                },
                drained: host.health.is_drained(),
                weight: self.weight(host),
                configured_weight: endpoint.weight,
            }
        };
        self.hosts().iter().map(state).collect()
    }

    /// An operator has an endpoint get no requests, or some again, or gives it another weight; `Some(None)` is for the
    /// weight that is configured. It holds as long as the endpoint is there, reloads included. False if there is none.
    pub fn direct(&self, address: SocketAddr, drained: Option<bool>, weight: Option<Option<u32>>) -> bool {
        let mut found = false;
        for host in self.hosts().iter().filter(|host| host.address == address) {
            found = true;
            if let Some(drained) = drained {
                host.health.set_drained(drained);
            }
            if let Some(weight) = weight {
                host.health.set_weight(weight);
            }
        }
        if found {
            self.has_changed();
        }
        found
    }

    /// Whether the circuit is open; none where there is no circuit breaker.
    pub fn circuit(&self) -> Option<bool> {
        self.circuit_is_open()
    }

    /// A request to an endpoint ended. Only where there is a policy for it.
    pub(crate) fn observe(&self, policy: &model::PassiveHealth, health: &HostHealth, failed: bool, at: Instant) {
        let now = micros(at);
        if health.observe(policy, now, failed) {
            self.eject(policy, health, now);
        }
    }

    /// Connecting to an endpoint took long, and failed. Whether that is news.
    pub(crate) fn set_unreachable(&self, health: &HostHealth) -> bool {
        let is_news = health.set_unreachable(true);
        if is_news {
            self.has_changed();
        }
        is_news
    }

    /// One at a time, so that no more are ejected than may be.
    fn eject(&self, policy: &model::PassiveHealth, health: &HostHealth, now: u64) {
        let hosts = self.hosts();
        let Some(host) = hosts.iter().find(|host| std::ptr::eq(&*host.health, health)) else { return };
        if health.ejected_until(now).is_some() {
            return;
        }
        let ejected = hosts.iter().filter(|host| host.health.ejected_until(now).is_some()).count() as u64;
        if (ejected + 1) * 100 > u64::from(policy.max_ejected.0) * hosts.len() as u64 {
            return;
        }
        let length = Duration::from_micros(health.eject(policy, now));
        self.metrics.ejected();
        tracing::warn!(upstream = &*self.model.name, endpoint = %host.address, "endpoint ejected for {length:?}");
        drop(hosts);
        self.has_changed();
    }

    fn has_changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// An endpoint as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// As configured.
    pub url: String,
    /// One of the addresses of its name.
    pub address: SocketAddr,
    /// What checks and requests say of it.
    pub health: Health,
    /// An operator has it get no new requests.
    pub drained: bool,
    /// Its share of the requests, relative to the weights of the others: what an operator says, or the configuration.
    pub weight: u32,
    /// What the configuration says.
    pub configured_weight: u32,
}

/// Whether an endpoint gets requests, as far as its health is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Healthy.
    Healthy,
    /// For how requests fared, or because it cannot be reached.
    Ejected,
    /// By active checks.
    Unhealthy,
}

impl Host {
    fn new(origin: usize, address: SocketAddr) -> Self {
        Self { origin, address, health: Arc::default() }
    }
}

impl ClusterHealth for Cluster {
    fn health_counts(&self) -> [u64; 4] {
        let now = micros(Instant::now());
        let mut counts = [0; 4];
        for host in self.hosts().iter() {
            let state = match &host.health {
                _ if !self.is_in_use(host) => 3,
                health if health.is_unhealthy() => 2,
                health if health.is_unreachable() || health.ejected_until(now).is_some() => 1,
                _ => 0,
            };
            counts[state] += 1;
        }
        counts
    }

    fn endpoints(&self) -> Vec<(SocketAddr, bool)> {
        let now = micros(Instant::now());
        let gets_requests = |host: &Host| host.health.is_healthy(now) && self.is_in_use(host);
        self.hosts().iter().map(|host| (host.address, gets_requests(host))).collect()
    }

    fn circuit_is_open(&self) -> Option<bool> {
        self.model.circuit_breaker.as_ref().map(|_| self.load.breaker.is_open())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.model.name).finish_non_exhaustive()
    }
}

/// When a worker that has seen the members now must look again: an ejection ends, or an endpoint may be reachable again.
pub(crate) fn looks_again(hosts: &[Host], at: Instant) -> Option<Instant> {
    let now = micros(at);
    let ended = hosts.iter().filter_map(|host| host.health.ejected_until(now)).min().map(monotonic_clock::instant);
    let reached = hosts.iter().any(|host| host.health.is_unreachable()).then(|| at + LOOK);
    ended.into_iter().chain(reached).min()
}

/// How often a worker looks whether an endpoint can be reached again.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn host_of(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

pub(crate) fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if model::Endpoint::is_secure(url) { 443 } else { 80 })
}

/// The address of an endpoint that is not given by name.
fn fixed(url: &Uri) -> Option<SocketAddr> {
    host_of(url).parse().ok().map(|ip| SocketAddr::new(ip, port(url)))
}
