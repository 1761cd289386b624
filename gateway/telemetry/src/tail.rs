//! Completed requests, for watchers. Without watchers the cost is one atomic load per request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::sync::broadcast;

use super::trace::Served;

/// Requests that a watcher may be behind. A slower watcher gets the number of missed ones.
const BEHIND: usize = 1024;
/// Watchers at a time.
const WATCHERS: usize = 16;

/// A request that has ended.
#[derive(Debug)]
pub struct Seen {
    pub at: SystemTime,
    pub served: Served,
    pub upstream: Option<Arc<str>>,
    pub duration_us: u64,
    pub upstream_us: Option<u64>,
    pub plugins_us: u64,
}

/// One for the process.
#[derive(Debug)]
pub struct Tail {
    watchers: AtomicUsize,
    seen: broadcast::Sender<Arc<Seen>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { watchers: AtomicUsize::new(0), seen: broadcast::channel(BEHIND).0 }
    }
}

impl Tail {
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) > 0
    }

    pub fn tell(&self, seen: Seen) {
        // The last watcher may just have gone.
        let _ = self.seen.send(Arc::new(seen));
    }

    /// What ends from now on, until the watcher is dropped; none where there are too many already.
    pub fn watch(self: &Arc<Self>) -> Option<Watcher> {
        let before = self.watchers.fetch_add(1, Relaxed);
        let watcher = Watcher { seen: self.seen.subscribe(), tail: self.clone() };
        (before < WATCHERS).then_some(watcher)
    }
}

#[derive(Debug)]
pub struct Watcher {
    seen: broadcast::Receiver<Arc<Seen>>,
    tail: Arc<Tail>,
}

/// What a watcher sees.
#[derive(Debug)]
pub enum News {
    Seen(Arc<Seen>),
    /// So many came too fast.
    Missed(u64),
}

impl Watcher {
    /// Waits for it.
    pub async fn next(&mut self) -> Option<News> {
        match self.seen.recv().await {
            Ok(seen) => Some(News::Seen(seen)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tail.watchers.fetch_sub(1, Relaxed);
    }
}
