//! From a request to the head of an upstream's response: which endpoint, which connection, what can go wrong.
//!
//! Everything here belongs to one worker. Connections are kept in plain lists; nothing is shared or locked.

mod balance;
mod connect;
mod endpoint;
mod head;
mod request;
mod response;
mod send;
pub mod tls;

use std::{collections::HashMap, rc::Rc, sync::Arc};

pub use request::Outgoing;
pub use send::{Patience, Refused, Sent, send};

use crate::{
    config::model,
    telemetry::metrics::{Metrics, UpstreamMetrics},
    timers::Timers,
};

use balance::RoundRobin;
use endpoint::Endpoint;

/// The upstreams of one configuration, for one worker.
pub struct Upstreams(HashMap<Arc<str>, Rc<Upstream>>);

/// One upstream's endpoints with their idle connections.
pub struct Upstream {
    pub model: Arc<model::Upstream>,
    endpoints: Vec<Rc<Endpoint>>,
    turns: RoundRobin,
    timers: Timers,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstreams {
    /// Upstreams that are as they were in `old` keep their connections. Metrics are counted as this worker's.
    pub fn new(
        models: impl IntoIterator<Item = (Arc<model::Upstream>, Option<tls::ClientTls>)>,
        old: Option<&Self>,
        timers: &Timers,
        metrics: &Metrics,
        worker: usize,
    ) -> Self {
        let build = |(model, tls): (Arc<model::Upstream>, Option<tls::ClientTls>)| {
            let kept = old.and_then(|old| old.0.get(&model.name)).filter(|kept| kept.is_same(&model, tls.as_ref()));
            let new = || {
                let metrics = metrics.upstream(worker, &model.name);
                Rc::new(Upstream::new(model.clone(), tls, timers.clone(), metrics))
            };
            let upstream = kept.cloned().unwrap_or_else(new);
            (model.name.clone(), upstream)
        };
        Self(models.into_iter().map(build).collect())
    }

    pub fn get(&self, name: &str) -> Option<&Rc<Upstream>> {
        self.0.get(name)
    }

    /// Closes connections that were idle for too long. To be called now and then.
    pub fn close_idle(&self) {
        for upstream in self.0.values() {
            for endpoint in &upstream.endpoints {
                endpoint.close_idle(upstream.model.idle_timeout);
            }
        }
    }
}

impl Upstream {
    fn new(
        model: Arc<model::Upstream>,
        tls: Option<tls::ClientTls>,
        timers: Timers,
        metrics: Arc<UpstreamMetrics>,
    ) -> Self {
        let endpoints: Vec<_> =
            model.endpoints.iter().map(|e| Rc::new(Endpoint::new(e, &model, tls.as_ref()))).collect();
        let turns = RoundRobin::new(model.endpoints.iter().map(|e| e.weight));
        Self { model, endpoints, turns, timers, metrics }
    }

    fn is_same(&self, model: &model::Upstream, tls: Option<&tls::ClientTls>) -> bool {
        // Certificates may have changed under the same file names: then the loaded configuration differs.
        *self.model == *model && self.endpoints.iter().all(|endpoint| endpoint.has_tls(tls))
    }
}
