//! Whether a request may be sent to an upstream at all: its circuit breaker and its limits, which hold for the whole
//! process. Nothing of this is asked where nothing is configured.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use gateway_core::error::Failure;
use gateway_telemetry::metrics::{Rejection, UpstreamMetrics};

use crate::{
    cluster::{
        Group,
        breaker::{Admission, Change},
    },
    moment::micros,
    refused::Refused,
};

/// Leave to send one request; held until its response has ended.
pub(crate) struct Pass {
    group: Arc<Group>,
    /// Let through by the breaker, as a probe or not, until its end is known.
    admitted: Option<bool>,
    counted: bool,
}

impl Pass {
    pub(crate) fn ask(group: &Arc<Group>, metrics: &UpstreamMetrics, now: Instant) -> Result<Self, Refused> {
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
    pub(crate) fn ended(&mut self, failed: Option<bool>, now: Instant) {
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
