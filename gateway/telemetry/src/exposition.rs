//! What a scrape sees: every number of `Metrics`, added up over the workers and put into words.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use gateway_core::{
    error::Failure,
    model::{Data, DataAccess},
};
use gateway_rules::metric::MetricKind;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    calls::{CALL_FAILURES, PHASES, PluginCells, Use},
    cells::{Durations, Histogram, total},
    labels::{CLASSES, METHODS, code_name},
    leases::LeaseMetrics,
    metrics::{CONNECTION_FAILURES, HEALTH_STATES, Inner, Metrics, VERSIONS},
    name,
    remote::{NODES, RESULTS, RemoteFigures},
    requests::RequestCounts,
    series::Value,
    spans::LOST,
    upstreams::{EndpointTotals, REJECTIONS},
};

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let inner = &*self.0;
        process(inner, &mut page)?;
        routes(inner, &mut page)?;
        upstreams(inner, &mut page)?;
        plugins(inner, &mut page)?;
        state(inner, &mut page)?;
        sinks(inner, &mut page)?;
        made_by_plugins(inner, &mut page)
    }
}

/// One number with its labels.
type Sample<'a> = (Vec<(&'a str, &'a str)>, u64);

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            } else {
                counter(&mut family, &labels, value)?;
            }
        }
        Ok(())
    }

    fn gauges<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, value) in samples {
            histogram(&mut family, &labels, &value)?;
        }
        Ok(())
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn histogram(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: &Histogram) -> fmt::Result {
    let mut encoder = family.encode_family(labels)?;
    encoder.encode_histogram::<NoLabelSet>(value.sum, value.count, &value.buckets, None)
}

fn one(value: &AtomicU64) -> [Sample<'static>; 1] {
    [(Vec::new(), value.load(Relaxed))]
}

fn process(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    page.0
        .encode_descriptor(name::BUILD, "The gateway's version", None, MetricType::Info)?
        .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
    let failures = Failure::ALL.iter().map(|failure| vec![("reason", failure.reason())]);
    let failures = failures.zip(&inner.failures).map(|(labels, count)| (labels, count.load(Relaxed)));
    page.counters(name::FAILURES, "Exchanges and connections that the gateway ended by itself", failures)?;
    page.gauges(name::CONNECTIONS, "Open client connections", one(&inner.connections))?;
    page.counters(name::CONNECTIONS_ACCEPTED, "Client connections accepted", one(&inner.accepted))?;
    let failures = CONNECTION_FAILURES.iter().map(|reason| vec![("reason", *reason)]).zip(&inner.connection_failures);
    let failures = failures.map(|(labels, count)| (labels, count.load(Relaxed)));
    page.counters(name::CONNECTION_FAILURES, "Client connections that ended before a request could be made", failures)?;
    let handshakes = VERSIONS.into_iter().zip(&inner.handshakes).flat_map(|(version, counts)| {
        ["false", "true"]
            .into_iter()
            .zip(counts)
            .map(move |(resumed, count)| (vec![("version", version), ("resumed", resumed)], count.load(Relaxed)))
    });
    page.counters(name::HANDSHAKES, "TLS handshakes with clients that ended well", handshakes)?;
    page.counters(name::SPANS_EXPORTED, "Spans that the collector has taken", one(&inner.traces.exported))?;
    let lost = LOST.iter().map(|why| vec![("reason", *why)]).zip(&inner.traces.dropped);
    let lost = lost.map(|(labels, count)| (labels, count.load(Relaxed)));
    page.counters(name::SPANS_DROPPED, "Spans that nobody will see", lost)?;
    let reloads = ["error", "ok"].into_iter().zip(&inner.reloads);
    let reloads = reloads.map(|(result, count)| (vec![("result", result)], count.load(Relaxed)));
    page.counters(name::RELOADS, "Reloads of the configuration", reloads)?;
    let ok = u64::from(!inner.last_reload_failed.load(Relaxed));
    page.gauges(name::RELOAD_OK, "1 unless the last reload failed", [(Vec::new(), ok)])?;
    page.gauges(name::CONFIG_LOADED, "When the configuration that serves was put to work", one(&inner.loaded))?;
    let dropped = inner.log_dropped.get().map_or(0, |counter| counter.dropped_lines() as u64);
    page.counters(name::LOG_DROPPED, "Lines of the log dropped because its reader was slow", [(Vec::new(), dropped)])
}

fn routes(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let routes = inner.routes.all();
    let mut requests = Vec::new();
    for (route, cells) in &routes {
        for (combination, count) in RequestCounts::total(cells.iter().map(|cells| &cells.requests)) {
            let labels = vec![
                ("route", &**route),
                ("method", METHODS[combination.method]),
                ("status_class", CLASSES[combination.class()]),
                ("code", code_name(combination.code)),
            ];
            requests.push((labels, count));
        }
    }
    page.counters(name::REQUESTS, "Exchanges by route, method and status", requests)?;
    let durations = routes
        .iter()
        .map(|(route, cells)| (vec![("route", &**route)], Durations::sum(cells.iter().map(|cells| &cells.duration))));
    // Most routes have no upgrades; those that had none are left out.
    let tunnelled = routes.iter().filter(|(_, cells)| total(cells, |cells| &cells.tunnelled.bytes[0]) > 0);
    let open = tunnelled.clone().map(|(route, cells)| (vec![("route", &**route)], total(cells, |c| &c.tunnelled.open)));
    page.gauges(name::UPGRADED, "Open connections after an upgrade", open)?;
    let bytes = tunnelled.flat_map(|(route, cells)| {
        ["received", "sent"].into_iter().enumerate().map(move |(at, direction)| {
            (vec![("route", &**route), ("direction", direction)], total(cells, |cells| &cells.tunnelled.bytes[at]))
        })
    });
    page.counters(name::UPGRADED_BYTES, "Bytes from and to clients after upgrades", bytes)?;
    let help = "From the head of a request to the last byte of the response";
    page.histograms(name::REQUEST_DURATION, help, durations)
}

fn upstreams(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let upstreams = inner.upstreams.all();
    let mut requests = Vec::new();
    for (upstream, cells) in &upstreams {
        for (c, class) in CLASSES.into_iter().enumerate() {
            let count = total(cells, |cells| &cells.responses[c]);
            if count > 0 {
                requests.push((vec![("upstream", &**upstream), ("status_class", class)], count));
            }
        }
    }
    page.counters(name::UPSTREAM_REQUESTS, "Requests to an upstream by class of status", requests)?;
    let durations = upstreams.iter().map(|(upstream, cells)| {
        (vec![("upstream", &**upstream)], Durations::sum(cells.iter().map(|cells| &cells.duration)))
    });
    page.histograms(name::UPSTREAM_DURATION, "From a request to the head of its response", durations)?;
    let open =
        upstreams.iter().map(|(upstream, cells)| (vec![("upstream", &**upstream)], total(cells, |cells| &cells.open)));
    page.gauges(name::UPSTREAM_CONNECTIONS, "Open connections to an upstream", open)?;
    let connects = upstreams.iter().flat_map(|(upstream, cells)| {
        [
            (vec![("upstream", &**upstream), ("result", "ok")], total(cells, |cells| &cells.connects)),
            (vec![("upstream", &**upstream), ("result", "error")], total(cells, |cells| &cells.failed_connects)),
        ]
    });
    page.counters(name::UPSTREAM_CONNECTS, "Attempts to connect to an upstream", connects)?;
    endpoints(inner, page)
}

fn endpoints(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let health_counts = inner.health_counts();
    let counts = health_counts.iter().flat_map(|(upstream, cluster)| {
        let states = HEALTH_STATES.into_iter().zip(cluster.health_counts());
        states.map(move |(state, count)| (vec![("upstream", &**upstream), ("state", state)], count))
    });
    page.gauges(name::UPSTREAM_ENDPOINTS, "Endpoints of an upstream by their state", counts)?;
    each_endpoint(inner, page)?;
    let upstreams = inner.upstreams.all();
    let ejections = upstreams
        .iter()
        .map(|(upstream, cells)| (vec![("upstream", &**upstream)], total(cells, |cells| &cells.ejections)));
    page.counters(name::UPSTREAM_EJECTIONS, "Endpoints ejected for how requests fared", ejections)?;
    let checks = upstreams.iter().flat_map(|(upstream, cells)| {
        let count = |good: usize| total(cells, |cells| &cells.checks[good]);
        ["error", "ok"]
            .into_iter()
            .enumerate()
            .map(move |(good, result)| (vec![("upstream", &**upstream), ("result", result)], count(good)))
    });
    page.counters(name::HEALTH_CHECKS, "Active health checks of an upstream's endpoints", checks)?;
    let circuits = health_counts.iter().filter_map(|(upstream, cluster)| {
        Some((vec![("upstream", &**upstream)], u64::from(cluster.circuit_is_open()?)))
    });
    page.gauges(name::CIRCUIT_OPEN, "1 while an upstream's circuit is open or half-open", circuits)?;
    let opened = upstreams
        .iter()
        .map(|(upstream, cells)| (vec![("upstream", &**upstream)], total(cells, |cells| &cells.circuits_opened)));
    page.counters(name::CIRCUIT_OPENED, "How often an upstream's circuit opened", opened)?;
    let retries = upstreams.iter().flat_map(|(upstream, cells)| {
        ["denied", "sent"].into_iter().enumerate().map(move |(allowed, result)| {
            (vec![("upstream", &**upstream), ("result", result)], total(cells, |cells| &cells.retries[allowed]))
        })
    });
    page.counters(name::UPSTREAM_RETRIES, "Requests sent again, or refused that by the budget", retries)?;
    let rejected = upstreams.iter().flat_map(|(upstream, cells)| {
        REJECTIONS.into_iter().enumerate().map(move |(why, reason)| {
            (vec![("upstream", &**upstream), ("reason", reason)], total(cells, |cells| &cells.rejected[why]))
        })
    });
    page.counters(name::UPSTREAM_REJECTED, "Requests not sent to an upstream, to spare it", rejected)
}

fn each_endpoint(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let health_counts = inner.health_counts();
    // Several names may lead to one address.
    let mut up = BTreeMap::new();
    let mut totals = BTreeMap::new();
    let upstreams = inner.upstreams.all();
    for (upstream, cluster) in &health_counts {
        let mut counted = BTreeMap::new();
        let cells = upstreams.iter().filter(|(name, _)| name == upstream).flat_map(|(_, cells)| cells);
        cells.for_each(|cells| cells.endpoints(&mut counted));
        for (address, is_up) in cluster.endpoints() {
            *up.entry((upstream.clone(), address.to_string())).or_default() |= u64::from(is_up);
            let counted = counted.get(&address).copied().unwrap_or_default();
            totals.insert((upstream.clone(), address.to_string()), counted);
        }
    }
    fn labels((upstream, endpoint): &(Arc<str>, String)) -> Vec<(&'static str, &str)> {
        vec![("upstream", &**upstream), ("endpoint", endpoint)]
    }
    let up = up.iter().map(|(endpoint, value)| (labels(endpoint), *value));
    page.gauges(name::ENDPOINT_UP, "1 while an endpoint is healthy and not drained", up)?;
    let each =
        |number: fn(&EndpointTotals) -> u64| totals.iter().map(move |(endpoint, t)| (labels(endpoint), number(t)));
    page.gauges(
        name::ENDPOINT_UNDER_WAY,
        "Requests to an endpoint whose response has not ended",
        each(|t| t.under_way),
    )?;
    page.counters(name::ENDPOINT_REQUESTS, "Requests to an endpoint", each(|t| t.requests))?;
    let help = "Requests to an endpoint that failed: no connection, no response, or a status of 500 and above";
    page.counters(name::ENDPOINT_FAILURES, help, each(|t| t.failures))
}

fn plugins(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let uses = inner.calls.all();
    // Most plugins are never called in most phases; those are left out.
    let mut calls = Vec::new();
    let mut nanos = Vec::new();
    for (Use { plugin, route }, cells) in &uses {
        for (p, phase) in PHASES.into_iter().enumerate() {
            let count = total(cells, |cells| &cells.calls[p]);
            if count > 0 {
                let labels = vec![("plugin", &**plugin), ("route", &**route), ("phase", phase)];
                nanos.push((labels.clone(), total(cells, |cells| &cells.nanos[p])));
                calls.push((labels, count));
            }
        }
    }
    page.counters(name::WASM_CALLS, "Calls of plugins by route and phase", calls)?;
    let mut seconds =
        page.0.encode_descriptor(name::WASM_SECONDS, "Time in calls of plugins", None, MetricType::Counter)?;
    for (labels, nanos) in nanos {
        let value = nanos as f64 / 1e9;
        seconds.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
    }
    let answers = uses.iter().filter_map(|(Use { plugin, route }, cells)| {
        let count = total(cells, |cells| &cells.local_replies);
        (count > 0).then(|| (vec![("plugin", &**plugin), ("route", &**route)], count))
    });
    page.counters(name::PLUGIN_LOCAL_REPLIES, "Requests that a plugin answered", answers)?;
    // Of what is called all kinds are there, so that the first failure is seen as one more.
    let failures = uses.iter().flat_map(|(Use { plugin, route }, cells)| {
        CALL_FAILURES.into_iter().enumerate().map(move |(f, kind)| {
            let labels = vec![("plugin", &**plugin), ("route", &**route), ("kind", kind)];
            (labels, total(cells, |cells| &cells.failures[f]))
        })
    });
    page.counters(name::WASM_FAILURES, "Calls of plugins that failed", failures)?;
    let plugins = inner.plugins.all();
    let memory =
        plugins.iter().map(|(plugin, cells)| (vec![("plugin", &**plugin)], total(cells, |cells| &cells.memory)));
    page.gauges(name::WASM_MEMORY, "Linear memory of the instances of plugins", memory)?;
    let instances =
        plugins.iter().map(|(plugin, cells)| (vec![("plugin", &**plugin)], total(cells, |cells| &cells.instances)));
    page.gauges(name::WASM_INSTANCES, "Instances of plugins", instances)?;
    let created =
        plugins.iter().map(|(plugin, cells)| (vec![("plugin", &**plugin)], total(cells, |cells| &cells.created)));
    page.counters(name::WASM_INSTANCES_CREATED, "Instances of plugins ever made", created)?;
    let limit = [(Vec::new(), inner.instance_limit.load(Relaxed))];
    page.gauges(name::WASM_INSTANCE_LIMIT, "Instances that all plugins may have together", limit)?;
    let each = |of: fn(&PluginCells) -> &AtomicU64| {
        plugins.iter().map(move |(plugin, cells)| (vec![("plugin", &**plugin)], total(cells, of)))
    };
    let evicted = each(|cells| &cells.evicted);
    page.counters(name::WASM_INSTANCES_EVICTED, "Idle instances dropped to make room for others", evicted)?;
    let in_progress = each(|cells| &cells.calls_in_progress);
    page.gauges(name::WASM_CALLS_IN_PROGRESS, "Calls of plugins in progress that can wait", in_progress)?;
    let open = each(|cells| &cells.open_circuits);
    page.gauges(name::WASM_CIRCUIT_OPEN, "Workers on which a plugin is not called since it timed out", open)?;
    let opened = each(|cells| &cells.circuits_opened);
    page.counters(name::WASM_CIRCUIT_OPENED, "Circuits of plugins ever opened", opened)?;
    let unlogged = each(|cells| &cells.log_lines_dropped);
    page.counters(name::WASM_LOG_LINES_DROPPED, "Log lines of plugins that were too much", unlogged)?;
    let denied = plugins.iter().flat_map(|(plugin, cells)| {
        let kinds = Data::ALL.into_iter().flat_map(|data| DataAccess::ALL.map(|access| (data, access)));
        let counted = kinds.map(|(data, access)| {
            let labels = vec![("plugin", &**plugin), ("data", data.name()), ("access", access.name())];
            (labels, total(cells, |cells| &cells.data_denied[data as usize][access as usize]))
        });
        // Nearly all plugins have none.
        counted.filter(|(_, count)| *count > 0)
    });
    page.counters(name::WASM_DATA_DENIED, "Reads and writes of data that is not granted to a plugin", denied)?;
    let dropped = inner.series.dropped();
    let dropped = dropped.iter().map(|(plugin, count)| (vec![("plugin", &**plugin)], *count));
    page.counters(name::WASM_METRICS_DROPPED, "Metrics of plugins dropped: invalid, or too many series", dropped)
}

fn state(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let own = inner.own.get().map(|own| own.figures()).unwrap_or_default();
    let one = |number: u64| [(Vec::new(), number)];
    page.gauges(name::STORE_ENTRIES, "What plugins count and remember in memory", one(own.entries))?;
    page.gauges(name::STORE_BYTES, "The memory that takes", one(own.entry_bytes))?;
    let buckets = inner.leases.all();
    let leases = |of: fn(&LeaseMetrics) -> &AtomicU64| {
        buckets.iter().map(move |(bucket, cells)| (vec![("bucket", &**bucket)], total(cells, of)))
    };
    let held = leases(|cells| &cells.held);
    page.gauges(name::STORE_LEASES, "Leases that requests of this gateway hold", held)?;
    let waiting = leases(|cells| &cells.waiting);
    page.gauges(name::STORE_LEASE_WAITERS, "Requests of this gateway that wait for a lease", waiting)?;
    page.gauges(name::CACHE_RESPONSES, "Keys under which responses are kept in memory", one(own.responses))?;
    page.gauges(name::CACHE_BYTES, "The memory that they take", one(own.response_bytes))?;
    page.gauges(
        name::WASM_MEMORY_USED,
        "Memory of all plugin instances that counts against the limit",
        one(own.plugin_memory),
    )?;
    page.gauges(name::WASM_MEMORY_LIMIT, "Memory that all plugin instances may use", one(own.plugin_memory_limit))?;
    remote(inner, page)
}

/// Only where the state is elsewhere.
fn remote(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let figures = inner.remote.get().map(|remote| remote.figures());
    let up = figures.as_ref().map(|figures| (Vec::new(), u64::from(figures.up)));
    page.gauges(name::REDIS_UP, "1 while all of the plugins' state in Redis can be read and written", up)?;
    let nodes = figures.iter().flat_map(|figures| NODES.into_iter().zip(figures.nodes));
    let nodes = nodes.map(|(state, count)| (vec![("state", state)], count));
    page.gauges(name::REDIS_NODES, "Redis servers that hold a part of the plugins' state", nodes)?;
    let requests = figures.iter().flat_map(|figures| RESULTS.into_iter().zip(figures.requests));
    let requests = requests.map(|(result, count)| (vec![("result", result)], count));
    page.counters(name::REDIS_REQUESTS, "Requests to the Redis that holds the plugins' state", requests)?;
    let help = "Duration of requests to Redis with the result ok";
    let mut family = page.0.encode_descriptor(name::REDIS_DURATION, help, None, MetricType::Histogram)?;
    if let Some(RemoteFigures { durations, seconds, .. }) = figures {
        let count = durations.iter().map(|(_, count)| count).sum();
        family.encode_histogram::<NoLabelSet>(seconds, count, &durations, None)?;
    }
    Ok(())
}

fn sinks(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    let sinks = inner.sinks.all();
    let lines = sinks.iter().flat_map(|(sink, cells)| {
        [
            (vec![("sink", &**sink), ("result", "written")], total(cells, |cells| &cells.written)),
            (vec![("sink", &**sink), ("result", "dropped")], total(cells, |cells| &cells.dropped)),
            (vec![("sink", &**sink), ("result", "error")], total(cells, |cells| &cells.failed)),
        ]
    });
    page.counters(name::SINK_LINES, "Lines written to a sink", lines)
}

fn made_by_plugins(inner: &Inner, page: &mut Page<'_>) -> fmt::Result {
    for (name, (kind, samples)) in inner.series.samples() {
        let name = format!("{}{name}", name::PLUGIN_PREFIX);
        let metric_type = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Histogram => MetricType::Histogram,
            MetricKind::Gauge => MetricType::Gauge,
        };
        let mut family = page.0.encode_descriptor(&name, "Made by a plugin", None, metric_type)?;
        for sample in samples {
            match &sample.value {
                Value::Counter(value) => counter(&mut family, &sample.labels, *value)?,
                Value::Histogram(value) => histogram(&mut family, &sample.labels, value)?,
                Value::Gauge(value) => family.encode_family(&sample.labels)?.encode_gauge(value)?,
            }
        }
    }
    Ok(())
}
