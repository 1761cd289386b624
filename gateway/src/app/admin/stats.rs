//! The numbers that metrics count, as JSON: two looks at them are a rate.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use axum::{Json, extract::State};
use gateway_telemetry::figures::{self, Counts, DurationFigures};
use serde::Serialize;
use utoipa::ToSchema;

use super::{panel::Panel, unix_time::seconds};

/// By name.
pub(super) type Numbers = BTreeMap<&'static str, u64>;

pub(super) fn numbers(counts: &Counts) -> Numbers {
    counts.iter().filter(|(_, count)| *count > 0).copied().collect()
}

/// All counters since the start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// Seconds since 1970.
    at: f64,
    /// Upper bounds of the buckets of all durations, in seconds; each list of buckets has one more, without a bound.
    bounds: Vec<f64>,
    /// Open client connections.
    connections: u64,
    /// Memory of all plugin instances, as it counts against the limit.
    plugin_memory_bytes: u64,
    /// What they may use.
    plugin_memory_limit_bytes: u64,
    /// Requests and connections that the gateway itself ended, by reason.
    failures: Numbers,
    routes: Vec<RouteStats>,
    plugins: Vec<CallStats>,
    upstreams: Vec<UpstreamStats>,
}

/// The exchanges of one route.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RouteStats {
    /// Empty for those that match none.
    route: String,
    /// By status class; `none` if the client disconnected before a response.
    requests: Numbers,
    duration: Durations,
}

/// A histogram of durations.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Durations {
    count: u64,
    /// The sum in seconds.
    seconds: f64,
    /// How many there are between the bound before and the one of the same place.
    buckets: Vec<u64>,
}

impl Durations {
    pub(super) fn of(figures: &DurationFigures) -> Self {
        let DurationFigures { count, seconds, buckets } = figures.clone();
        Self { count, seconds, buckets }
    }
}

/// The calls of one plugin on one route.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallStats {
    plugin: String,
    /// Empty for exchanges that match none.
    route: String,
    /// By phase: `request`, `response`, `complete`, `body_chunk`, `message`, `timer`.
    calls: Numbers,
    /// By phase.
    nanoseconds: Numbers,
    /// Requests that the plugin responded to itself.
    local_replies: u64,
    /// By kind: `error`, `trap`, `timeout`, `memory`, `busy`.
    failures: Numbers,
}

impl CallStats {
    pub(super) fn of(figures: &figures::CallFigures) -> Self {
        Self {
            plugin: figures.plugin.to_string(),
            route: figures.route.to_string(),
            calls: numbers(&figures.calls),
            nanoseconds: numbers(&figures.nanos),
            local_replies: figures.local_replies,
            failures: numbers(&figures.failures),
        }
    }
}

/// The traffic with one upstream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamStats {
    upstream: String,
    /// By status class; `none` without a response.
    requests: Numbers,
    duration: Durations,
    /// Open connections.
    connections: u64,
}

/// All numbers since the start: by route, by plugin and route, by upstream.
#[utoipa::path(get, path = "/stats", tag = "traffic", responses((status = 200, body = Stats)))]
pub(super) async fn stats(State(panel): State<Arc<Panel>>) -> Json<Stats> {
    let metrics = &panel.shared.metrics;
    metrics.release();
    let (plugin_memory_bytes, plugin_memory_limit_bytes) = panel.shared.runtime.memory().used_and_limit();
    let route = |figures: figures::RouteFigures| RouteStats {
        route: figures.route.to_string(),
        requests: numbers(&figures.requests),
        duration: Durations::of(&figures.duration),
    };
    let upstream = |figures: figures::UpstreamFigures| UpstreamStats {
        upstream: figures.upstream.to_string(),
        requests: numbers(&figures.requests),
        duration: Durations::of(&figures.duration),
        connections: figures.connections,
    };
    Json(Stats {
        at: seconds(SystemTime::now()),
        bounds: figures::bounds(),
        connections: metrics.connections(),
        plugin_memory_bytes,
        plugin_memory_limit_bytes,
        failures: numbers(&metrics.failure_figures()),
        routes: metrics.route_figures().into_iter().map(route).collect(),
        plugins: metrics.call_figures().iter().map(CallStats::of).collect(),
        upstreams: metrics.upstream_figures().into_iter().map(upstream).collect(),
    })
}
