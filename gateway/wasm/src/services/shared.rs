//! What one worker's plugins work with, and the part of it that all workers share.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use bytes::Bytes;
use gateway_state::{MemoryStore, Responses, redis::Redis};
use gateway_telemetry::{Metrics, Sinks};

use super::{
    documents::Documents,
    passwords::Passwords,
    upstreams::{NoUpstreams, Upstreams},
};

/// What one worker's plugins work with, under one configuration.
pub struct Services {
    /// The worker's number, which its metrics are kept under.
    pub worker: usize,
    pub shared: Arc<Shared>,
    pub upstreams: Rc<dyn Upstreams>,
}

/// The part that all workers share.
#[derive(Default)]
pub struct Shared {
    pub store: Arc<MemoryStore>,
    /// Where the state is, if it is not in the memory of the process.
    pub remote: Option<Arc<Redis>>,
    pub responses: Arc<Responses>,
    pub documents: Arc<Documents>,
    pub passwords: Arc<Passwords>,
    pub sinks: Arc<Sinks>,
    pub metrics: Metrics,
    pub secrets: Named,
    pub files: Named,
}

/// Secrets or files by name, as read when the configuration was loaded.
pub type Named = HashMap<String, Bytes>;

impl Services {
    /// For trying a configuration where no worker runs.
    pub(crate) fn without_worker(shared: Arc<Shared>) -> Self {
        Self { worker: 0, shared, upstreams: Rc::new(NoUpstreams) }
    }
}
