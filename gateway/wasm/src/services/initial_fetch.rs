//! Documents that plugins declare are fetched before their configuration becomes active, so that the first request does not wait for
//! them.

use std::{rc::Rc, sync::Arc, time::Duration};

use gateway_state::redis::Redis;
use tokio::{task::JoinSet, time::Instant};

use super::{
    documents::{Documents, Source},
    upstreams::Upstreams,
};
use crate::plugin::Prepared;

/// How long a connection to Redis is awaited, since another gateway may have stored the documents there.
const REDIS_WAIT: Duration = Duration::from_secs(1);
const REDIS_INTERVAL: Duration = Duration::from_millis(10);

/// A declared document of which there is no usable version.
#[derive(Debug)]
pub struct MissingDocument {
    /// The name of the upstream.
    pub upstream: String,
    /// Its path there.
    pub path: String,
    /// Why it could not be fetched.
    pub reason: String,
}

impl Documents {
    /// Fetches all documents that these plugins declare, at the same time, and waits until each attempt has ended, for `timeout` at
    /// most. Returns those that are missing after that. Must be called within a `LocalSet`, which cancels what has not ended when it
    /// is dropped.
    pub async fn fetch_declared<'a>(
        self: &Arc<Self>,
        plugins: impl Iterator<Item = &'a Arc<Prepared>>,
        upstreams: &Rc<dyn Upstreams>,
        remote: Option<&Arc<Redis>>,
        timeout: Duration,
    ) -> Vec<MissingDocument> {
        let mut sources: Vec<Source> = Vec::new();
        for source in plugins.flat_map(|plugin| plugin.documents()) {
            if !sources.iter().any(|known| known.upstream == source.upstream && known.target == source.target) {
                sources.push(source.clone());
            }
        }
        if sources.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + timeout;
        if let Some(remote) = remote {
            let connected = async {
                while remote.trouble().is_some() {
                    // The connection does not say when it is there.
                    tokio::time::sleep(REDIS_INTERVAL).await;
                }
            };
            let _ = tokio::time::timeout_at(deadline.min(Instant::now() + REDIS_WAIT), connected).await;
        }
        let mut attempts = JoinSet::new();
        for source in sources.clone() {
            let (documents, upstreams, remote) = (Arc::clone(self), Rc::clone(upstreams), remote.cloned());
            attempts.spawn_local(async move { documents.fetch_first(&source, &upstreams, remote.as_ref()).await });
        }
        let _ = tokio::time::timeout_at(deadline, async { while attempts.join_next().await.is_some() {} }).await;
        // Each attempt that is cancelled ends with a failure.
        attempts.shutdown().await;
        let missing = |source: &Source| {
            let reason = self.missing(source)?;
            Some(MissingDocument { upstream: source.upstream.clone(), path: source.target.to_string(), reason })
        };
        sources.iter().filter_map(missing).collect()
    }
}
