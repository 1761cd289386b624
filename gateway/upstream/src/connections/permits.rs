//! How many connections there may be to an upstream, and requests that wait for one: for the process (`Counts`) and for one worker
//! (`Open`). Nothing of this is asked where nothing is configured.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use gateway_telemetry::metrics::GaugeGuard;
use tokio::sync::Notify;

/// The whole process's connections to an upstream, where they are limited, and its requests that wait for one.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    open: AtomicUsize,
    pending: AtomicUsize,
}

/// What a connection counts as, until it is closed.
pub(crate) type Counted = (Option<GaugeGuard>, Option<ConnectionPermit>);

/// One worker's connections to an upstream.
#[derive(Default)]
pub(crate) struct Open {
    count: Cell<usize>,
    waiting: Cell<usize>,
    freed: Notify,
    /// The request that is given up just now has taken too long; else its client has left.
    pub(crate) timed_out: Cell<bool>,
}

impl Open {
    /// A connection can be used, or opened, again.
    pub(crate) fn has_room(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }
}

/// Permission for one open connection; held until it is closed.
pub(crate) struct ConnectionPermit {
    counts: Arc<Counts>,
    open: Rc<Open>,
}

impl ConnectionPermit {
    pub(crate) fn take(counts: &Arc<Counts>, open: &Rc<Open>, most: usize) -> Option<Self> {
        // A worker without any would otherwise wait for others, who do not know of it.
        let needs_one = open.count.get() == 0;
        let room = |n: usize| (n < most || needs_one).then_some(n + 1);
        counts.open.fetch_update(Relaxed, Relaxed, room).ok()?;
        open.count.set(open.count.get() + 1);
        Some(Self { counts: counts.clone(), open: open.clone() })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Relaxed);
        self.open.count.set(self.open.count.get() - 1);
        self.open.has_room();
    }
}

/// A request in the queue for a connection.
pub(crate) struct Waiting<'a> {
    counts: &'a Counts,
    open: &'a Open,
}

/// How long one in the queue waits before it looks whether another worker made room.
const LOOK: Duration = Duration::from_millis(10);

impl<'a> Waiting<'a> {
    /// None where the queue is full.
    pub(crate) fn queue(counts: &'a Counts, open: &'a Open, most: usize) -> Option<Self> {
        counts.pending.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1)).ok()?;
        open.waiting.set(open.waiting.get() + 1);
        Some(Self { counts, open })
    }

    /// Until it is worth looking again.
    pub(crate) async fn turn(&self) {
        let _ = tokio::time::timeout(LOOK, self.open.freed.notified()).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.pending.fetch_sub(1, Relaxed);
        self.open.waiting.set(self.open.waiting.get() - 1);
    }
}
