//! Documents that plugins declare, such as key sets, are fetched when a configuration is installed, before the workers take it: a client
//! that comes first does not wait for them, and a reload does not replace keys that are known by none.
//!
//! It is a part of installing and not of loading: requests are sent only for a configuration that will be in force, and by its
//! upstreams, which exist from then on. It cannot fail, and it ends in time: a provider that is unavailable neither prevents a start nor a
//! reload.

use std::{rc::Rc, sync::Arc};

use gateway_core::timers::Timers;
use gateway_telemetry::metrics::PROCESS;
use gateway_upstream::Upstreams;
use gateway_wasm::services;
use tokio::{sync::Notify, task::LocalSet};

use super::{calls::Calls, shared::Shared, snapshot::Snapshot};

/// Fetches what the plugins of this configuration declare. Blocks for `timeouts.initial-fetch` at most, or until `stop` is notified.
pub(super) fn fetch(snapshot: &Snapshot, shared: &Shared, stop: &Notify) {
    let timeout = snapshot.config.timeouts.initial_fetch;
    if !timeout.is_zero() && snapshot.plugins().any(|plugin| plugin.declares_documents()) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, fetch_all(snapshot, shared, stop)),
            Err(error) => tracing::warn!(%error, "cannot fetch documents for plugins before they are needed"),
        }
    }
    // All others: their upstream may be another one.
    shared.documents.doubt();
}

async fn fetch_all(snapshot: &Snapshot, shared: &Shared, stop: &Notify) {
    let timeout = snapshot.config.timeouts.initial_fetch;
    let upstreams = Upstreams::new(&snapshot.clusters, None, &Timers::default(), &shared.metrics, PROCESS);
    let upstreams: Rc<dyn services::Upstreams> = Rc::new(Calls(Rc::new(upstreams)));
    let remote: Option<&Arc<_>> = shared.remote.get();
    let missing = tokio::select! {
        missing = shared.documents.fetch_declared(snapshot.plugins(), &upstreams, remote, timeout) => missing,
        () = stop.notified() => return,
    };
    for services::MissingDocument { upstream, path, reason } in missing {
        tracing::warn!(
            upstream,
            path,
            "the configuration becomes active without a document that a plugin needs: {reason}; \
             it is fetched again when it is needed (`timeouts.initial-fetch` is {timeout:?})"
        );
    }
}
