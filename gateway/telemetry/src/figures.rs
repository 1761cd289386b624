//! The metrics as numbers, for the admin API.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use gateway_core::error::Failure;

use super::{
    calls::{CALL_FAILURES, CallMetrics, PHASES, PluginCells, Use},
    cells::{DURATION_BOUNDS, Durations, total},
    labels::CLASSES,
    metrics::{Metrics, RouteMetrics, UpstreamMetrics},
    requests::RequestCounts,
    upstreams::EndpointTotals,
};

/// Counts by name; the names are those of the labels in metrics.
pub type Counts = Vec<(&'static str, u64)>;

/// The exchanges of one route.
#[derive(Debug, Clone)]
pub struct RouteFigures {
    /// Empty for those that match none.
    pub route: Arc<str>,
    /// By class of status.
    pub requests: Counts,
    pub duration: DurationFigures,
}

/// How long things took.
#[derive(Debug, Clone)]
pub struct DurationFigures {
    pub count: u64,
    pub seconds: f64,
    /// How many were not longer than the bound of the same place in `bounds`, and longer than the one before; and one more
    /// for those that were longer than all.
    pub buckets: Vec<u64>,
}

/// The calls of one plugin on one route.
#[derive(Debug, Clone)]
pub struct CallFigures {
    pub plugin: Arc<str>,
    pub route: Arc<str>,
    /// By phase.
    pub calls: Counts,
    /// By phase, in nanoseconds.
    pub nanos: Counts,
    pub local_replies: u64,
    /// By kind.
    pub failures: Counts,
}

/// The instances of one plugin.
#[derive(Debug, Clone)]
pub struct InstanceFigures {
    pub plugin: Arc<str>,
    pub instances: u64,
    pub created: u64,
    pub memory_bytes: u64,
}

/// The traffic with one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFigures {
    pub upstream: Arc<str>,
    /// By class of status.
    pub requests: Counts,
    pub duration: DurationFigures,
    pub connections: u64,
    pub endpoints: BTreeMap<SocketAddr, EndpointFigures>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct EndpointFigures {
    pub in_flight: u64,
    pub requests: u64,
    pub failures: u64,
}

/// The upper bounds of the buckets, in seconds.
pub fn bounds() -> Vec<f64> {
    DURATION_BOUNDS.iter().map(|&micros| micros as f64 / 1e6).collect()
}

impl DurationFigures {
    fn of<'a>(all: impl Iterator<Item = &'a Durations>) -> Self {
        let sum = Durations::sum(all);
        let buckets = sum.buckets.iter().map(|(_, count)| *count).collect();
        Self { count: sum.count, seconds: sum.sum, buckets }
    }
}

impl Metrics {
    pub fn route_figures(&self) -> Vec<RouteFigures> {
        let figures = |(route, cells): (Arc<str>, Vec<Arc<RouteMetrics>>)| {
            let mut requests: Counts = CLASSES.map(|class| (class, 0)).into();
            for (combination, count) in RequestCounts::total(cells.iter().map(|cells| &cells.requests)) {
                requests[combination.class()].1 += count;
            }
            let duration = DurationFigures::of(cells.iter().map(|cells| &cells.duration));
            RouteFigures { route, requests, duration }
        };
        self.0.routes.all().into_iter().map(figures).collect()
    }

    pub fn call_figures(&self) -> Vec<CallFigures> {
        let figures = |(Use { plugin, route }, cells): (Use, Vec<Arc<CallMetrics>>)| {
            let phases = PHASES.into_iter().enumerate();
            CallFigures {
                calls: phases.clone().map(|(p, name)| (name, total(&cells, |cells| &cells.calls[p]))).collect(),
                nanos: phases.map(|(p, name)| (name, total(&cells, |cells| &cells.nanos[p]))).collect(),
                local_replies: total(&cells, |cells| &cells.local_replies),
                failures: CALL_FAILURES
                    .into_iter()
                    .enumerate()
                    .map(|(f, name)| (name, total(&cells, |cells| &cells.failures[f])))
                    .collect(),
                plugin,
                route,
            }
        };
        self.0.calls.all().into_iter().map(figures).collect()
    }

    pub fn instance_figures(&self) -> Vec<InstanceFigures> {
        let figures = |(plugin, cells): (Arc<str>, Vec<Arc<PluginCells>>)| InstanceFigures {
            instances: total(&cells, |cells| &cells.instances),
            created: total(&cells, |cells| &cells.created),
            memory_bytes: total(&cells, |cells| &cells.memory),
            plugin,
        };
        self.0.plugins.all().into_iter().map(figures).collect()
    }

    pub fn upstream_figures(&self) -> Vec<UpstreamFigures> {
        let figures = |(upstream, cells): (Arc<str>, Vec<Arc<UpstreamMetrics>>)| {
            let mut endpoints = BTreeMap::new();
            cells.iter().for_each(|cells| cells.endpoints(&mut endpoints));
            let endpoint = |(address, EndpointTotals { under_way, requests, failures })| {
                (address, EndpointFigures { in_flight: under_way, requests, failures })
            };
            UpstreamFigures {
                requests: CLASSES
                    .into_iter()
                    .enumerate()
                    .map(|(c, name)| (name, total(&cells, |cells| &cells.responses[c])))
                    .collect(),
                duration: DurationFigures::of(cells.iter().map(|cells| &cells.duration)),
                connections: total(&cells, |cells| &cells.open),
                endpoints: endpoints.into_iter().map(endpoint).collect(),
                upstream,
            }
        };
        self.0.upstreams.all().into_iter().map(figures).collect()
    }

    /// What the gateway itself ended, by reason; what never happened is left out.
    pub fn failure_figures(&self) -> Counts {
        let all = Failure::ALL.iter().map(|failure| failure.reason()).zip(&self.0.failures);
        all.map(|(reason, count)| (reason, count.load(Relaxed))).filter(|(_, count)| *count > 0).collect()
    }
}
