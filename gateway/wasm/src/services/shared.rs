//! What one worker's plugins work with, and the part of it that all workers share.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use bytes::Bytes;
use gateway_state::{MemoryStore, Responses, redis::Redis};
use gateway_telemetry::{Metrics, Sinks};

use super::{
    documents::Documents,
    passwords::Passwords,
    timers::Timers,
    upstreams::{NoUpstreams, Upstreams},
};
use crate::leases::Leases;

/// What one worker's plugins work with, under one configuration.
pub struct Services {
    /// The worker's number, which its metrics are kept under.
    pub worker: usize,
    /// The same for all workers.
    pub shared: Arc<Shared>,
    /// As this worker reaches them.
    pub upstreams: Rc<dyn Upstreams>,
    /// Those of the worker's exchanges, under whatever configuration they began.
    pub leases: Rc<Leases>,
}

/// The part that all workers share.
#[derive(Default)]
pub struct Shared {
    /// The state in the memory of the process.
    pub store: Arc<MemoryStore>,
    /// Where the state is, if it is not in the memory of the process.
    pub remote: Option<Arc<Redis>>,
    /// Responses that plugins store.
    pub responses: Arc<Responses>,
    /// Documents of upstreams.
    pub documents: Arc<Documents>,
    /// Verifies passwords.
    pub passwords: Arc<Passwords>,
    /// Of the plugins that serve.
    pub timers: Arc<Timers>,
    /// Where plugins write lines.
    pub sinks: Arc<Sinks>,
    /// What plugins and their calls are counted in.
    pub metrics: Metrics,
    /// Of the configuration; which of them a plugin gets is a matter of its grants.
    pub secrets: Named,
    /// As `secrets`.
    pub files: Named,
}

/// Secrets or files by name, as read when the configuration was loaded.
pub type Named = HashMap<String, Bytes>;

impl Services {
    /// For trying a configuration where no worker runs.
    pub(crate) fn without_worker(shared: Arc<Shared>) -> Self {
        Self { worker: 0, shared, upstreams: Rc::new(NoUpstreams), leases: Rc::default() }
    }
}
