//! Calls that wait for an instance, and calls that hold one while they wait for a body. The latter give way:
//! their instance is dropped, the body is collected without one, and the call is made again from its
//! beginning. So clients that send slowly do not block others.

use std::{cell::Cell, fmt, sync::Arc};

use tokio::sync::Notify;

use super::capacity::Capacity;

pub(crate) struct Contention {
    /// Calls of this pool that wait for an instance.
    waiting: Cell<usize>,
    asked: Notify,
    capacity: Arc<Capacity>,
}

/// Why a call ended that gave way.
#[derive(Debug)]
pub(crate) struct GaveWay;

impl Contention {
    pub(crate) fn new(capacity: Arc<Capacity>) -> Self {
        Self { waiting: Cell::new(0), asked: Notify::new(), capacity }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// One more waits, until the place is dropped; the call that has waited for a body for longest gives way.
    pub(crate) fn wait(&self) -> QueueGuard<'_> {
        self.waiting.set(self.waiting.get() + 1);
        self.ask();
        QueueGuard(self)
    }

    /// Asks a call that waits for a body to give way.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Ends when another call waits for an instance.
    pub(crate) async fn wanted(&self) {
        while self.waiting.get() == 0 && !self.capacity.is_short() {
            self.asked.notified().await;
        }
    }
}

/// A place in the queue, given up when dropped.
pub(crate) struct QueueGuard<'a>(&'a Contention);

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl fmt::Display for GaveWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it gave way to others while it waited for a body")
    }
}

impl std::error::Error for GaveWay {}
