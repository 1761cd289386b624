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
        Cluster,
        breaker::{Admission, Change},
    },
    monotonic_clock::micros,
    refused::Refused,
};

/// Permission to send one request; held until its response has ended.
pub(crate) struct RequestPermit {
    cluster: Arc<Cluster>,
    /// Let through by the breaker, as a probe or not, until its end is known.
    admitted: Option<bool>,
    counted: bool,
}

impl RequestPermit {
    pub(crate) fn ask(cluster: &Arc<Cluster>, metrics: &UpstreamMetrics, now: Instant) -> Result<Self, Refused> {
        let mut permit = Self { cluster: cluster.clone(), admitted: None, counted: false };
        let load = &cluster.load;
        if let Some(policy) = &cluster.model.circuit_breaker {
            match load.breaker.admit(policy, micros(now)) {
                Admission::Through => permit.admitted = Some(false),
                Admission::Probe => permit.admitted = Some(true),
                Admission::Refused(micros) => {
                    metrics.rejected(Rejection::Circuit);
                    // Nothing for the log: that the circuit opened is there already.
                    let refused = Refused::new(Failure::CircuitOpen, "");
                    return Err(Refused { retry_after: Some(Duration::from_micros(micros)), ..refused });
                }
            }
        }
        if let Some(most) = cluster.model.limits.requests {
            if load.requests.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1)).is_err() {
                metrics.rejected(Rejection::Requests);
                return Err(Refused::new(Failure::UpstreamBusy, ""));
            }
            permit.counted = true;
        }
        Ok(permit)
    }

    /// How it fared, if that says anything about the upstream.
    pub(crate) fn ended(&mut self, failed: Option<bool>, now: Instant) {
        let Some((probe, policy)) = self.admitted.take().zip(self.cluster.model.circuit_breaker.as_ref()) else {
            return;
        };
        let upstream = &*self.cluster.model.name;
        match self.cluster.load.breaker.ended(policy, probe, failed, micros(now)) {
            Some(Change::Opened) => {
                self.cluster.metrics.circuit_opened();
                tracing::warn!(upstream, "circuit opened for {:?}: too many requests failed", policy.open_duration);
            }
            Some(Change::Closed) => tracing::info!(upstream, "circuit closed: requests succeed again"),
            None => {}
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        if self.admitted.is_some() {
            self.ended(None, Instant::now());
        }
        if self.counted {
            self.cluster.load.requests.fetch_sub(1, Relaxed);
        }
    }
}
