//! What is counted of plugins.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gateway_core::model::{Data, DataAccess};

use super::{
    gauge::GaugeGuard,
    series::Series,
    traps::{Trap, Traps},
};

/// The phase that a plugin was called in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPhase {
    Request,
    Response,
    Complete,
    /// With a chunk of a body.
    BodyChunk,
    /// With a message of a WebSocket, or an event of an event stream.
    Message,
    /// Without a request.
    Timer,
}

impl CallPhase {
    /// All of them: `ALL[phase as usize] == phase`.
    pub const ALL: [Self; PHASES.len()] =
        [Self::Request, Self::Response, Self::Complete, Self::BodyChunk, Self::Message, Self::Timer];

    /// The label of metrics, and what the log says.
    pub fn name(self) -> &'static str {
        PHASES[self as usize]
    }
}

/// Why a call of a plugin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    Error,
    Trap,
    Timeout,
    Memory,
    Busy,
    CircuitOpen,
}

impl CallFailure {
    /// The label of metrics, and what traces say.
    pub fn name(self) -> &'static str {
        CALL_FAILURES[self as usize]
    }
}

pub(super) const PHASES: [&str; 6] = ["request", "response", "complete", "body_chunk", "message", "timer"];
pub(super) const CALL_FAILURES: [&str; 6] = ["error", "trap", "timeout", "memory", "busy", "circuit-open"];

/// A plugin on a route. The route is empty for requests that match none, and for timers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Use {
    pub(super) plugin: Arc<str>,
    pub(super) route: Arc<str>,
}

impl From<&Self> for Use {
    fn from(other: &Self) -> Self {
        other.clone()
    }
}

/// The calls of a plugin on one route and one worker.
#[derive(Debug, Default)]
pub struct CallMetrics {
    pub(super) calls: [AtomicU64; PHASES.len()],
    pub(super) nanos: [AtomicU64; PHASES.len()],
    pub(super) local_replies: AtomicU64,
    pub(super) failures: [AtomicU64; CALL_FAILURES.len()],
}

impl CallMetrics {
    /// A call ended, well or not.
    pub fn called(&self, phase: CallPhase, nanos: u64) {
        add(&self.calls[phase as usize], 1);
        add(&self.nanos[phase as usize], nanos);
    }

    /// A call answered the request.
    pub fn answered(&self) {
        add(&self.local_replies, 1);
    }

    /// A call failed, or none could be made.
    pub fn failed(&self, failure: CallFailure) {
        add(&self.failures[failure as usize], 1);
    }
}

/// One thread counts in these cells, its worker's, and others only read them: so no atomic addition is needed.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(count), Relaxed);
}

#[derive(Debug, Default)]
pub(super) struct PluginCells {
    pub(super) created: AtomicU64,
    pub(super) instances: Arc<AtomicU64>,
    pub(super) memory: Arc<AtomicU64>,
    pub(super) evicted: AtomicU64,
    pub(super) calls_in_progress: Arc<AtomicU64>,
    pub(super) open_circuits: Arc<AtomicU64>,
    pub(super) circuits_opened: AtomicU64,
    pub(super) log_lines_dropped: AtomicU64,
    /// By kind of data, and then by kind of access.
    pub(super) data_denied: [[AtomicU64; DataAccess::ALL.len()]; Data::ALL.len()],
}

/// One plugin on one worker, and the series that the plugin itself makes.
#[derive(Debug, Clone)]
pub struct PluginMetrics {
    pub(super) cells: Arc<PluginCells>,
    pub(super) series: Arc<Series>,
    pub(super) traps: Arc<Traps>,
}

impl PluginMetrics {
    /// An instance was made, and is there until the guard is dropped.
    pub fn instance(&self) -> GaugeGuard {
        self.cells.created.fetch_add(1, Relaxed);
        GaugeGuard::count(&self.cells.instances)
    }

    /// An idle instance was dropped to make room for others.
    pub fn evicted(&self) {
        self.cells.evicted.fetch_add(1, Relaxed);
    }

    /// A call that can wait is in progress until the guard is dropped.
    pub fn call_in_progress(&self) -> GaugeGuard {
        GaugeGuard::count(&self.cells.calls_in_progress)
    }

    /// A circuit opened, and is not closed until the guard is dropped.
    pub fn circuit_opened(&self) -> GaugeGuard {
        self.cells.circuits_opened.fetch_add(1, Relaxed);
        GaugeGuard::count(&self.cells.open_circuits)
    }

    /// Lines that were not logged.
    pub fn log_dropped(&self, lines: u64) {
        self.cells.log_lines_dropped.fetch_add(lines, Relaxed);
    }

    /// It tried to read or write data that it is not granted.
    pub fn data_denied(&self, data: Data, access: DataAccess) {
        self.cells.data_denied[data as usize][access as usize].fetch_add(1, Relaxed);
    }

    /// It broke down.
    pub fn trapped(&self, trap: Trap) {
        self.traps.note(trap);
    }

    /// What instances have of memory, in bytes, to be added to and taken from.
    pub fn memory(&self) -> Arc<AtomicU64> {
        self.cells.memory.clone()
    }

    /// The plugin's own counter `gateway_plugin_NAME_total`. What is not valid or over the bound is dropped and
    /// counted.
    pub fn add(&self, counter: &str, by: u64, labels: &[(String, String)]) {
        self.series.add(counter, by, labels);
    }

    /// The plugin's own histogram `gateway_plugin_NAME`.
    pub fn observe(&self, histogram: &str, value: f64, labels: &[(String, String)]) {
        self.series.observe(histogram, value, labels);
    }

    /// Sets the plugin's own gauge `gateway_plugin_NAME`.
    pub fn set_gauge(&self, gauge: &str, value: f64, labels: &[(String, String)]) {
        self.series.set(gauge, value, labels);
    }

    /// Adds to the plugin's own gauge `gateway_plugin_NAME`.
    pub fn add_to_gauge(&self, gauge: &str, by: f64, labels: &[(String, String)]) {
        self.series.add_to_gauge(gauge, by, labels);
    }
}
