//! Whether a request may be sent to an upstream at all: its circuit breaker and its limits, which hold for the whole
//! process. Nothing of this is asked where nothing is configured.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gateway_core::error::Failure;
use gateway_telemetry::metrics::{Rejection, UpstreamMetrics};
use tokio::sync::Notify;

use super::{
    Refused,
    breaker::{Admission, Breaker, Change},
    group::Group,
    moment::micros,
};

/// What an upstream has to bear. It outlives configurations, as the requests and connections do.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) breaker: Breaker,
    requests: AtomicUsize,
    connections: AtomicUsize,
    pending: AtomicUsize,
}

/// Leave to send one request; held until its response has ended.
pub(super) struct Pass {
    group: Arc<Group>,
    /// Let through by the breaker, as a probe or not, until its end is known.
    admitted: Option<bool>,
    counted: bool,
}

impl Pass {
    pub(super) fn ask(group: &Arc<Group>, metrics: &UpstreamMetrics, now: Instant) -> Result<Self, Refused> {
        let mut pass = Self { group: group.clone(), admitted: None, counted: false };
        let load = &group.load;
        if let Some(policy) = &group.model.circuit_breaker {
            match load.breaker.admit(policy, micros(now)) {
                Admission::Through => pass.admitted = Some(false),
                Admission::Probe => pass.admitted = Some(true),
                Admission::Refused(micros) => {
                    metrics.rejected(Rejection::Circuit);
                    // Nothing for the log: that the circuit opened is there already.
                    let refused = Refused::new(Failure::CircuitOpen, "");
                    return Err(Refused { retry_after: Some(Duration::from_micros(micros)), ..refused });
                }
            }
        }
        if let Some(most) = group.model.limits.requests {
            if load.requests.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1)).is_err() {
                metrics.rejected(Rejection::Requests);
                return Err(Refused::new(Failure::UpstreamBusy, ""));
            }
            pass.counted = true;
        }
        Ok(pass)
    }

    /// How it fared, if that says anything about the upstream.
    pub(super) fn ended(&mut self, failed: Option<bool>, now: Instant) {
        let Some((probe, policy)) = self.admitted.take().zip(self.group.model.circuit_breaker.as_ref()) else { return };
        let upstream = &*self.group.model.name;
        match self.group.load.breaker.ended(policy, probe, failed, micros(now)) {
            Some(Change::Opened) => {
                self.group.metrics.circuit_opened();
                tracing::warn!(upstream, "too many requests fail: the circuit opens for {:?}", policy.open_for);
            }
            Some(Change::Closed) => tracing::info!(upstream, "requests succeed again: the circuit closes"),
            None => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.admitted.is_some() {
            self.ended(None, Instant::now());
        }
        if self.counted {
            self.group.load.requests.fetch_sub(1, Relaxed);
        }
    }
}

/// One worker's connections to an upstream.
#[derive(Default)]
pub(super) struct Open {
    count: Cell<usize>,
    waiting: Cell<usize>,
    freed: Notify,
    /// The request that is given up just now has taken too long; else its client has left.
    pub(super) timed_out: Cell<bool>,
}

impl Open {
    /// A connection can be used, or opened, again.
    pub(super) fn has_room(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }
}

/// Leave to have one connection open; held until it is closed.
pub(super) struct Place {
    load: Arc<Load>,
    open: Rc<Open>,
}

impl Place {
    pub(super) fn take(load: &Arc<Load>, open: &Rc<Open>, most: usize) -> Option<Self> {
        // A worker without any would otherwise wait for others, who do not know of it.
        let needs_one = open.count.get() == 0;
        let room = |n: usize| (n < most || needs_one).then_some(n + 1);
        load.connections.fetch_update(Relaxed, Relaxed, room).ok()?;
        open.count.set(open.count.get() + 1);
        Some(Self { load: load.clone(), open: open.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.connections.fetch_sub(1, Relaxed);
        self.open.count.set(self.open.count.get() - 1);
        self.open.has_room();
    }
}

/// A request in the queue for a connection.
pub(super) struct Waiting<'a> {
    load: &'a Load,
    open: &'a Open,
}

/// How long one in the queue waits before it looks whether another worker made room.
const LOOK: Duration = Duration::from_millis(10);

impl<'a> Waiting<'a> {
    /// None where the queue is full.
    pub(super) fn queue(load: &'a Load, open: &'a Open, most: usize) -> Option<Self> {
        load.pending.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1)).ok()?;
        open.waiting.set(open.waiting.get() + 1);
        Some(Self { load, open })
    }

    /// Until it is worth looking again.
    pub(super) async fn turn(&self) {
        let _ = tokio::time::timeout(LOOK, self.open.freed.notified()).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.load.pending.fetch_sub(1, Relaxed);
        self.open.waiting.set(self.open.waiting.get() - 1);
    }
}
