//! A circuit breaker for plugins that run into their time limit again and again: each such call takes a
//! worker's time from all other requests, so after a few consecutive timeouts calls fail immediately for some
//! time.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_telemetry::metrics::{CallPhase, GaugeGuard, PluginMetrics};

/// Consecutive time-outs that open the circuit.
const TIMEOUTS: u32 = 3;
/// How long the circuit is open the first time. Each further time in a row is twice as long.
const OPEN: Duration = Duration::from_secs(1);
const MAX_OPEN: Duration = Duration::from_secs(30);

pub(crate) struct Breaker {
    state: Cell<State>,
    /// Time-outs since a call last ended without one.
    timeouts: Cell<u32>,
    /// How often the circuit was opened since it was last closed.
    opened: Cell<u32>,
    /// While the circuit is not closed.
    shown: Cell<Option<GaugeGuard>>,
    metrics: PluginMetrics,
    plugin: Arc<str>,
    phase: CallPhase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is under way to find out whether the plugin is well again.
    HalfOpen,
}

/// The circuit is open: the plugin is not to be called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IsOpen;

/// A call that the breaker let pass. Dropped without a result, it tells nothing.
pub(crate) struct Attempt<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    /// For the calls of one phase: those of another one may be well, and must not close the circuit.
    pub(crate) fn new(plugin: Arc<str>, phase: CallPhase, metrics: PluginMetrics) -> Self {
        Self {
            state: Cell::new(State::Closed),
            timeouts: Cell::new(0),
            opened: Cell::new(0),
            shown: Cell::new(None),
            metrics,
            plugin,
            phase,
        }
    }

    /// Whether the last call timed out.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.timeouts.get() > 0
    }

    pub(crate) fn attempt(&self, now: Instant) -> Result<Attempt<'_>, IsOpen> {
        let is_probe = match self.state.get() {
            State::Closed => false,
            State::Open { until } if until <= now => {
                self.state.set(State::HalfOpen);
                true
            }
            State::Open { .. } | State::HalfOpen => return Err(IsOpen),
        };
        Ok(Attempt { breaker: self, is_probe })
    }

    /// Whether a call would be let pass now.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match self.state.get() {
            State::Closed => false,
            State::Open { until } => now < until,
            State::HalfOpen => true,
        }
    }

    /// A call timed out.
    pub(crate) fn timed_out(&self, is_probe: bool, now: Instant) {
        self.timeouts.set(self.timeouts.get().saturating_add(1));
        let opens = is_probe || self.state.get() == State::Closed && self.timeouts.get() >= TIMEOUTS;
        if !opens {
            return;
        }
        let time = OPEN.saturating_mul(1 << self.opened.get().min(8)).min(MAX_OPEN);
        self.opened.set(self.opened.get().saturating_add(1));
        self.state.set(State::Open { until: now + time });
        if !is_probe {
            self.shown.set(Some(self.metrics.circuit_opened()));
        }
        tracing::warn!(
            plugin = &*self.plugin,
            phase = self.phase.name(),
            "plugin circuit opened after {} consecutive timeouts: its calls on this worker fail immediately for {time:?}; \
             raise `limits.time` if it needs longer",
            self.timeouts.get()
        );
    }

    fn succeeded(&self, is_probe: bool) {
        self.timeouts.set(0);
        if is_probe {
            self.state.set(State::Closed);
            self.opened.set(0);
            self.shown.set(None);
            tracing::info!(
                plugin = &*self.plugin,
                phase = self.phase.name(),
                "plugin circuit closed: it responds in time again"
            );
        }
    }
}

impl Attempt<'_> {
    /// The call ended, with or without a time-out.
    pub(crate) fn ended(mut self, timed_out: bool, now: Instant) {
        let is_probe = std::mem::take(&mut self.is_probe);
        if timed_out {
            self.breaker.timed_out(is_probe, now);
        } else {
            self.breaker.succeeded(is_probe);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            // The next call finds out.
            self.breaker.state.set(State::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_telemetry::Metrics;

    #[test]
    fn the_circuit_opens_is_probed_by_one_call_and_closes() {
        let breaker = Breaker::new("loops".into(), CallPhase::Request, Metrics::default().plugin(0, "loops"));
        let begin = Instant::now();
        for _ in 0..TIMEOUTS {
            breaker.attempt(begin).ok().unwrap().ended(true, begin);
        }
        assert!(breaker.attempt(begin + OPEN / 2).is_err());
        let probed = begin + OPEN;
        let probe = breaker.attempt(probed).ok().unwrap();
        assert!(breaker.attempt(probed).is_err(), "one at a time");
        // Nothing is known after a call that was given up.
        drop(probe);
        breaker.attempt(Instant::now()).ok().unwrap().ended(true, probed);
        assert!(breaker.refuses(probed + OPEN), "longer, the second time");
        breaker.attempt(probed + 2 * OPEN).ok().unwrap().ended(false, probed);
        assert!(!breaker.refuses(probed) && !breaker.is_doubtful());
    }

    #[test]
    fn time_outs_that_are_not_in_a_row_do_not_open_it() {
        let breaker = Breaker::new("slow".into(), CallPhase::Request, Metrics::default().plugin(0, "slow"));
        let now = Instant::now();
        for _ in 0..TIMEOUTS * 2 {
            breaker.attempt(now).ok().unwrap().ended(true, now);
            breaker.attempt(now).ok().unwrap().ended(false, now);
        }
        assert!(breaker.attempt(now).is_ok());
    }
}
