//! What the operator's listener is told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{admin::Facts, shared::Shared};
use crate::{state::responses::Purge, telemetry::metrics};

pub(super) struct ControlFacts {
    pub(super) ready: AtomicBool,
    shared: Arc<Shared>,
}

impl ControlFacts {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { ready: AtomicBool::new(false), shared }
    }

    pub(super) fn reloaded(&self, ok: bool) {
        self.shared.metrics.reloaded(ok);
    }
}

impl Facts for ControlFacts {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn metrics(&self) -> (String, &'static str) {
        (self.shared.metrics.render(), metrics::CONTENT_TYPE)
    }

    fn purge(&self, bucket: &str, what: &Purge<'_>) -> usize {
        // Here first, and counted: the word of it comes back to this gateway too.
        let purged = self.shared.responses.purge(bucket, what);
        if let Some(Err(failure)) = self.shared.remote.get().map(|remote| remote.purge(bucket, what)) {
            tracing::warn!(bucket, ?what, ?failure, "other gateways do not hear of a purge");
        }
        purged
    }
}
