//! The upstreams of a configuration as one worker has them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_core::{model, timers::Timers};
use gateway_telemetry::metrics::{Metrics, UpstreamMetrics};

use super::{
    budget::Budget,
    endpoint::{Endpoint, InFlight},
    permit::RequestPermit,
    private::PrivateConnections,
    view::WorkerView,
};
use crate::{cluster::Cluster, connections::permits::Open, refused::Refused};

/// The upstreams of one configuration, for one worker.
pub struct Upstreams(HashMap<Arc<str>, Rc<Upstream>>);

/// One upstream's endpoints with their idle connections.
pub struct Upstream {
    /// Its configuration.
    pub model: Arc<model::Upstream>,
    pub(crate) cluster: Arc<Cluster>,
    /// Of the view, where a look costs least.
    version: Cell<u64>,
    until: Cell<Option<Instant>>,
    view: RefCell<WorkerView>,
    /// Something limits what may be sent.
    guarded: bool,
    /// For sending again.
    pub(crate) budget: Budget,
    pub(crate) open: Rc<Open>,
    pub(crate) timers: Timers,
    pub(crate) metrics: Arc<UpstreamMetrics>,
}

impl Upstreams {
    /// Endpoints that are as they were in `old` keep their connections. Metrics are counted as this worker's.
    pub fn new<'a>(
        clusters: impl IntoIterator<Item = &'a Arc<Cluster>>,
        old: Option<&Self>,
        timers: &Timers,
        metrics: &Metrics,
        worker: usize,
    ) -> Self {
        let build = |cluster: &Arc<Cluster>| {
            let name = cluster.model.name.clone();
            let kept = old.and_then(|old| old.0.get(&name));
            let upstream = match kept {
                Some(kept) if Arc::ptr_eq(&kept.cluster, cluster) => kept.clone(),
                _ => {
                    let metrics = metrics.upstream(worker, &name);
                    Rc::new(Upstream::new(cluster.clone(), kept.map(|kept| &**kept), timers.clone(), metrics))
                }
            };
            (name, upstream)
        };
        Self(clusters.into_iter().map(build).collect())
    }

    /// The upstream of this name.
    pub fn get(&self, name: &str) -> Option<&Rc<Upstream>> {
        self.0.get(name)
    }

    /// Closes connections that were idle for too long. To be called regularly, with the time between two calls.
    pub fn close_idle(&self, every: Duration) {
        for upstream in self.0.values() {
            let calls = upstream.model.timeouts.idle.as_nanos().div_ceil(every.as_nanos().max(1));
            for endpoint in &upstream.view.borrow().endpoints {
                endpoint.close_idle(u64::try_from(calls).unwrap_or(u64::MAX));
            }
        }
    }
}

impl Upstream {
    fn new(cluster: Arc<Cluster>, old: Option<&Self>, timers: Timers, metrics: Arc<UpstreamMetrics>) -> Self {
        let open = old.map_or_else(Rc::default, |old| old.open.clone());
        let kept = old.map_or(Vec::new(), |old| old.view.borrow().endpoints.clone());
        let view = WorkerView::new(&cluster, Instant::now(), &kept, &open);
        for endpoint in &view.endpoints {
            endpoint.keep_at_most(cluster.model.idle_connections);
        }
        let model = cluster.model.clone();
        Self {
            version: Cell::new(view.version),
            until: Cell::new(view.until),
            view: RefCell::new(view),
            guarded: model.circuit_breaker.is_some() || model.limits.requests.is_some(),
            budget: model
                .retry
                .as_ref()
                .map_or(Budget::new(0, 0), |r| Budget::new(r.budget.0, r.min_retries_per_second)),
            open,
            timers,
            metrics,
            model,
            cluster,
        }
    }

    /// The CAs that are trusted, the system's included, and the client certificate, in DER; nothing without TLS.
    pub fn certificates(&self) -> &[Vec<u8>] {
        self.cluster.certificates()
    }

    /// Leave to send a request, where anything limits that.
    pub(crate) fn admit(&self, now: Instant) -> Result<Option<RequestPermit>, Refused> {
        if !self.guarded {
            return Ok(None);
        }
        RequestPermit::ask(&self.cluster, &self.metrics, now).map(Some)
    }

    /// Closes at most one connection that a request to this endpoint cannot use.
    pub(crate) fn make_room_for(&self, endpoint: &Rc<Endpoint>) {
        let view = self.view.borrow();
        let mut others = view.endpoints.iter().filter(|other| !Rc::ptr_eq(other, endpoint));
        let _ = others.any(|other| other.close_longest_idle()) || endpoint.close_longest_private();
    }

    /// The endpoint for a request that begins now: the one that has a connection of this client, if there is one.
    pub(crate) fn pick(
        &self,
        private: Option<&PrivateConnections>,
        key: Option<u64>,
        now: Instant,
    ) -> Option<InFlight> {
        if self.cluster.version() != self.version.get() || self.until.get().is_some_and(|until| now >= until) {
            self.look_again(now);
        }
        let view = self.view.borrow();
        private.and_then(|private| private.endpoint(&view)).or_else(|| view.pick(key))
    }

    /// An endpoint that has not been tried for this request, if there is one.
    pub(crate) fn another(&self, tried: &[Rc<Endpoint>]) -> Option<InFlight> {
        self.view.borrow().another(tried)
    }

    #[cold]
    fn look_again(&self, now: Instant) {
        let view = WorkerView::new(&self.cluster, now, &self.view.borrow().endpoints, &self.open);
        self.version.set(view.version);
        self.until.set(view.until);
        drop(self.view.replace(view));
    }

    /// How a request to an endpoint fared.
    pub(crate) fn observe(&self, endpoint: &Endpoint, failed: bool, now: Instant) {
        if failed {
            endpoint.metrics.failed();
        }
        if let Some(policy) = &self.model.health.passive {
            self.cluster.observe(policy, &endpoint.health, failed, now);
        }
    }
}
