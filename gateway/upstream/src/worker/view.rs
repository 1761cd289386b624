//! One worker's view of an upstream's endpoints: which are healthy, and whose turn it is. Looking for a change costs a
//! load; only when there is one are the shared members looked at.

use std::{rc::Rc, time::Instant};

use super::endpoint::{Endpoint, InFlight};
use crate::{
    balancing::{Balancer, Candidate, hash_of},
    cluster::{Cluster, HostHealth, looks_again},
    connections::permits::Open,
    monotonic_clock::micros,
};

/// Rebuilt whenever hosts or their health change.
pub(crate) struct WorkerView {
    pub(crate) version: u64,
    /// The next ejection ends then.
    pub(crate) until: Option<Instant>,
    /// Those that get requests come first, in the balancer's order.
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    healthy: usize,
    balancer: Balancer,
}

impl WorkerView {
    /// Connections are kept of endpoints that stay.
    pub(crate) fn new(cluster: &Cluster, now: Instant, old: &[Rc<Endpoint>], open: &Rc<Open>) -> Self {
        // Before the members are read: a change after that is seen next time.
        let version = cluster.version();
        let (hosts, until) = {
            let hosts = cluster.hosts();
            let in_use: Vec<_> = hosts.iter().filter(|host| cluster.is_in_use(host)).cloned().collect();
            let until = looks_again(&in_use, now);
            (in_use, until)
        };
        let is_healthy = |health: &HostHealth| health.is_healthy(micros(now));
        let healthy = hosts.iter().filter(|host| is_healthy(&host.health)).count();
        let panics = healthy == 0 || {
            let threshold = cluster.model.health.panic_threshold;
            !threshold.is_reached(healthy as u64, hosts.len() as u64)
        };
        let endpoints = hosts.iter().map(|host| {
            let address = cluster.connect_to(host);
            let kept = old.iter().find(|endpoint| endpoint.is_at(&address, &host.health));
            kept.cloned().unwrap_or_else(|| {
                Rc::new(Endpoint::new(&cluster.model, host, address, open, cluster.metrics.endpoint(host.address)))
            })
        });
        // Few healthy endpoints are a reason to try the unhealthy ones, but not to wait for those that cannot be reached.
        let none_reachable = hosts.iter().all(|host| host.health.is_unreachable());
        let may_get =
            |health: &HostHealth| is_healthy(health) || (panics && (none_reachable || !health.is_unreachable()));
        let (mut endpoints, rest): (Vec<_>, Vec<_>) =
            endpoints.partition(|endpoint: &Rc<Endpoint>| may_get(&endpoint.health));
        let candidates: Vec<Candidate> = endpoints
            .iter()
            .map(|endpoint| {
                // What is typed tells endpoints apart in every gateway alike; addresses do where a name has several.
                let identity = format!("{} {}", endpoint.url, endpoint.address.socket());
                let typed = || cluster.model.endpoints.iter().find(|e| e.url == endpoint.url).map_or(1, |e| e.weight);
                let weight = endpoint.health.weight().unwrap_or_else(typed);
                Candidate { weight, identity: hash_of(identity.as_bytes()) }
            })
            .collect();
        let balancer = Balancer::new(&cluster.model.balance, &candidates);
        let healthy = endpoints.len();
        endpoints.extend(rest);
        Self { version, until, endpoints, healthy, balancer }
    }

    /// The endpoint for the next request; none if there is none at all.
    pub(crate) fn pick(&self, key: Option<u64>) -> Option<InFlight> {
        if self.healthy == 0 {
            return None;
        }
        let index = self.balancer.pick(key, |index| self.endpoints[index].under_way());
        Some(InFlight::new(&self.endpoints[index]))
    }

    /// Those that get requests.
    pub(crate) fn healthy(&self) -> &[Rc<Endpoint>] {
        &self.endpoints[..self.healthy]
    }

    /// One that has not been tried: of those that are healthy if there is any, else of the others.
    pub(crate) fn another(&self, tried: &[Rc<Endpoint>]) -> Option<InFlight> {
        let (healthy, rest) = self.endpoints.split_at(self.healthy);
        // From a random position, so that the load of a failed endpoint does not fall on its neighbour only.
        let start = if healthy.is_empty() { 0 } else { fastrand::usize(..healthy.len()) };
        // One that cannot be reached would cost the whole time for a connection; it is tried only where there is no other.
        let rest = rest.iter().filter(|endpoint| healthy.is_empty() || !endpoint.health.is_unreachable());
        let mut order = healthy[start..].iter().chain(&healthy[..start]).chain(rest);
        order.find(|endpoint| !tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint))).map(InFlight::new)
    }
}
