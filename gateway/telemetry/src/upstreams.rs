//! What is counted of upstreams and their endpoints.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    cells::Durations,
    gauge::GaugeGuard,
    labels::{CLASSES, class_index},
};

/// The traffic of one worker with one upstream.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    pub(super) responses: [AtomicU64; CLASSES.len()],
    pub(super) duration: Durations,
    pub(super) connects: AtomicU64,
    pub(super) failed_connects: AtomicU64,
    pub(super) open: Arc<AtomicU64>,
    pub(super) ejections: AtomicU64,
    /// Bad ones, good ones.
    pub(super) checks: [AtomicU64; 2],
    /// Those that the budget did not allow, those that were made.
    pub(super) retries: [AtomicU64; 2],
    pub(super) rejected: [AtomicU64; REJECTIONS.len()],
    pub(super) circuits_opened: AtomicU64,
    /// As long as there are any; a name has others from time to time.
    endpoints: Mutex<Vec<(SocketAddr, Weak<EndpointMetrics>)>>,
}

/// One endpoint on one worker, which alone writes.
#[derive(Debug, Default)]
pub struct EndpointMetrics {
    under_way: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl EndpointMetrics {
    /// A request begins.
    pub fn begin(&self) {
        Self::add(&self.requests, 1);
        Self::add(&self.under_way, 1);
    }

    /// Its response has ended.
    pub fn end(&self) {
        Self::add(&self.under_way, u64::MAX);
    }

    /// A request failed by the endpoint's fault.
    pub fn failed(&self) {
        Self::add(&self.failures, 1);
    }

    pub fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    /// There is one writer, so it need not be atomic.
    fn add(number: &AtomicU64, more: u64) {
        number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
    }
}

/// What all workers count of one endpoint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointTotals {
    pub(super) under_way: u64,
    pub(super) requests: u64,
    pub(super) failures: u64,
}

impl UpstreamMetrics {
    /// The numbers of an endpoint, which exist while they are referenced.
    pub fn endpoint(&self, address: SocketAddr) -> Arc<EndpointMetrics> {
        let metrics = Arc::<EndpointMetrics>::default();
        let mut all = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, metrics)| metrics.strong_count() > 0);
        all.push((address, Arc::downgrade(&metrics)));
        metrics
    }

    /// Adds up what there is by address.
    pub(super) fn endpoints(&self, into: &mut BTreeMap<SocketAddr, EndpointTotals>) {
        for (address, metrics) in self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Some(metrics) = metrics.upgrade() else { continue };
            let totals = into.entry(*address).or_default();
            totals.under_way += metrics.under_way();
            totals.requests += metrics.requests.load(Relaxed);
            totals.failures += metrics.failures.load(Relaxed);
        }
    }
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    Circuit,
    Requests,
    Pending,
}

pub(super) const REJECTIONS: [&str; 3] = ["circuit", "requests", "pending"];

impl UpstreamMetrics {
    /// An endpoint was ejected.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }

    /// A request would have been sent again; `allowed` if it was.
    pub fn retried(&self, allowed: bool) {
        self.retries[usize::from(allowed)].fetch_add(1, Relaxed);
    }

    pub fn rejected(&self, why: Rejection) {
        self.rejected[why as usize].fetch_add(1, Relaxed);
    }

    /// The circuit breaker stopped all requests.
    pub fn circuit_opened(&self) {
        self.circuits_opened.fetch_add(1, Relaxed);
    }

    /// An endpoint was asked how it is, and gave a good answer or not.
    pub fn health_checked(&self, good: bool) {
        self.checks[usize::from(good)].fetch_add(1, Relaxed);
    }

    /// A response's head arrived so long after the request was sent.
    pub fn responded(&self, status: u16, head_us: u64) {
        self.responses[class_index(Some(status))].fetch_add(1, Relaxed);
        self.duration.observe(head_us);
    }

    /// A plugin's message was answered so long after it was sent.
    pub fn heard(&self, micros: u64) {
        self.duration.observe(micros);
    }

    /// A request was sent and no response came.
    pub fn failed(&self) {
        self.responses[class_index(None)].fetch_add(1, Relaxed);
    }

    /// A connection was opened, and is open until the guard is dropped.
    pub fn connected(&self) -> GaugeGuard {
        self.connects.fetch_add(1, Relaxed);
        GaugeGuard::count(&self.open)
    }

    pub fn connect_failed(&self) {
        self.failed_connects.fetch_add(1, Relaxed);
    }
}
