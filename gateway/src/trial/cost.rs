//! What a component costs: to be compiled, to be made ready, to be called, and in memory. Calls are made as a worker makes
//! them, without sockets and without a service behind: what is measured is the plugin.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_core::model::{Isolation, PluginLimits, SinkTarget};
use gateway_http::body::{Body, Traffic};
use gateway_pipeline::{
    Alone, Bounds, Decision, Exchange, ExchangeOutcome, ExchangeSlot, Phase, Phases, RequestHead, ResponseHead, Scope,
    StageFailure, Start,
};
use gateway_telemetry::{metrics::Metrics, sinks::Sinks};
use gateway_wasm::{
    CodeCache, Loaded, Pools, Prepared, Runtime, Settings, TimerSettings,
    services::{Named, NoUpstreams, Services, Shared},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::{
    answers::ServiceAnswer,
    cases::{Asked, Case, Cases},
    error::{MessageError, TrialError},
    grants,
};

/// For one phase of one step.
const ENOUGH: Duration = Duration::from_millis(400);
const MOST_CALLS: usize = 20_000;
/// Instances made to see what one costs.
const INSTANCES: usize = 16;

/// A component's costs.
#[derive(Debug)]
pub(crate) struct Cost {
    /// To compile it, or to find it compiled.
    pub compiled: Duration,
    /// To make and configure an instance, the median.
    pub started: Duration,
    /// Of an instance: what it could touch, and what it has touched; the second where the system tells.
    pub memory: u64,
    pub resident: Option<u64>,
    pub calls: Vec<Call>,
    /// With the configuration of the first case.
    pub timers: Vec<TimerSettings>,
    /// A call of a plugin that does nothing, the median.
    pub nothing: Duration,
}

/// What a phase costs in a step of a case.
#[derive(Debug)]
pub(crate) struct Call {
    pub name: String,
    pub phase: &'static str,
    pub median: Duration,
    pub fastest: Duration,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Measures a component with what the cases say.
///
/// # Errors
///
/// It is no plugin, or refuses its configuration.
pub(crate) fn cost(
    component: &[u8],
    cases: &Cases,
    wanted: impl Fn(&str) -> bool,
    cache: &CodeCache,
) -> Result<Cost, TrialError> {
    let runtime = Runtime::new(cache).map_err(|error| TrialError::Engine(error.into()))?;
    let began = Instant::now();
    let loaded = runtime.load(component)?;
    let compiled = began.elapsed();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tokio = tokio?;
    LocalSet::new().block_on(&tokio, async {
        let first = cases.cases.first();
        let config = first.and_then(|case| case.config.clone()).or_else(|| cases.config.clone()).unwrap_or(json!({}));
        let (Instances { started, memory, resident }, timers) = instances(&loaded, &config, cases).await?;
        let mut calls = Vec::new();
        for case in cases.cases.iter().filter(|case| wanted(&case.name)) {
            calls.extend(measured(&loaded, case, cases).await?);
        }
        let nothing = nothing(&runtime).await?;
        Ok(Cost { compiled, started, memory, resident, calls, timers, nothing })
    })
}

/// A worker with the component on a route.
struct World {
    stage: Alone,
    phases: Phases,
    timers: Vec<TimerSettings>,
    services: Rc<Services>,
    /// Stages do not keep them.
    _pools: Pools,
}

impl World {
    fn new(
        loaded: &Arc<Loaded>,
        config: &Value,
        cases: &Cases,
        case: Option<&Case>,
        isolation: Isolation,
    ) -> Result<Self, TrialError> {
        let named = |values: &BTreeMap<String, String>| -> Named {
            values.iter().map(|(name, text)| (name.clone(), Bytes::from(text.clone()))).collect()
        };
        let metrics = Metrics::default();
        // Where it costs what a file costs, and leaves nothing behind.
        let nowhere = || SinkTarget::File { path: "/dev/null".into(), rotate: None };
        let targets = cases.sinks.iter().map(|name| (name.clone(), nowhere())).collect();
        let sinks = Sinks::open(&targets, &metrics)?;
        let (mut secrets, files) = (named(&cases.secrets), named(&cases.files));
        secrets.extend(named(&cases.secrets_to_use));
        let shared = Arc::new(Shared { sinks: Arc::new(sinks), metrics, secrets, files, ..Shared::default() });
        let settings = Settings {
            name: super::PLUGIN.into(),
            config,
            grants: grants::granted(cases, case)?,
            limits: PluginLimits {
                memory: 256 << 20,
                time: Duration::from_secs(10),
                instances: Some(64),
                max_calls: 0,
            },
            isolation,
            standard: false,
        };
        let prepared = Prepared::new(Arc::clone(loaded), settings);
        prepared.try_configure(&shared).map_err(|problems| {
            let told = problems.iter().map(|problem| format!("config{}: {}", problem.pointer, problem.message));
            TrialError::Configuration(told.collect::<Vec<_>>().join("\n"))
        })?;
        let pools = Pools::default();
        let upstreams = Rc::new(NoUpstreams);
        let services = Rc::new(Services { worker: 0, shared, upstreams, leases: pools.leases() });
        let stage = prepared.stage(&pools, &services);
        let scope = Scope { metrics: services.shared.metrics.clone(), worker: 0, route: super::PLUGIN.into() };
        let phases = stage.phases();
        let timers = prepared.timers().to_vec();
        Ok(Self { stage: Alone::new(stage, scope), phases, timers, services, _pools: pools })
    }

    /// The value of a sample in the metrics, whatever its labels.
    fn sample(&self, name: &str) -> Option<u64> {
        let page = self.services.shared.metrics.render();
        let line = page.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with('{'))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

/// How long an instance takes to be ready, and what memory it has after a call.
struct Instances {
    started: Duration,
    memory: u64,
    resident: Option<u64>,
}

/// Makes instances and calls each once.
async fn instances(
    loaded: &Arc<Loaded>,
    config: &Value,
    cases: &Cases,
) -> Result<(Instances, Vec<TimerSettings>), TrialError> {
    let world = World::new(loaded, config, cases, cases.cases.first(), Isolation::Request)?;
    let asked = cases.cases.first().and_then(|case| case.steps.first()).and_then(|step| step.request.as_ref());
    let default = Asked::default();
    let asked = asked.unwrap_or(&default);
    let before = resident();
    let mut slots = Vec::new();
    let mut times = Vec::new();
    for _ in 0..INSTANCES {
        let mut slot = slot(asked)?;
        let began = Instant::now();
        // Its result is checked elsewhere.
        let _ = world.stage.request(&mut slot).await;
        times.push(began.elapsed());
        slots.push(slot);
    }
    let grown = resident().zip(before).map(|(after, before)| after.saturating_sub(before) / INSTANCES as u64);
    let memory = world.sample("gateway_wasm_memory_bytes").unwrap_or_default() / INSTANCES as u64;
    drop(slots);
    times.sort();
    let started = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((Instances { started, memory, resident: grown }, world.timers))
}

/// Resident memory of the process in bytes, where the system tells.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

async fn measured(loaded: &Arc<Loaded>, case: &Case, cases: &Cases) -> Result<Vec<Call>, TrialError> {
    let config = case.config.as_ref().or(cases.config.as_ref()).cloned().unwrap_or(json!({}));
    let world = World::new(loaded, &config, cases, Some(case), Isolation::Shared)?;
    let phases = world.phases;
    let mut calls = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        let Some(request) = &step.request else { continue };
        let name = if case.steps.len() > 1 { format!("{}, step {}", case.name, number + 1) } else { case.name.clone() };
        let answer = step.service.clone().unwrap_or_default();
        let mut requests = Times::default();
        let mut response = Times::default();
        let mut complete = Times::default();
        let began = Instant::now();
        for _ in 0..MOST_CALLS {
            if began.elapsed() > ENOUGH {
                break;
            }
            let mut slot = slot(request)?;
            let mut goes_on = true;
            if phases.request {
                let began = Instant::now();
                let decided = world.stage.request(&mut slot).await;
                goes_on = matches!(requests.add(began, decided), Some(Decision::Next));
            }
            if phases.response && goes_on {
                respond(&mut slot, &answer)?;
                let began = Instant::now();
                let done = world.stage.response(&mut slot).await;
                response.add(began, done);
            }
            if phases.complete {
                let outcome = outcome(answer.status);
                let began = Instant::now();
                let done = world.stage.complete(&mut slot, &outcome).await;
                complete.add(began, done);
            }
        }
        for (phase, times) in [("on-request", requests), ("on-response", response), ("on-complete", complete)] {
            calls.extend(times.call(&name, phase));
        }
    }
    Ok(calls)
}

async fn nothing(runtime: &Runtime) -> Result<Duration, TrialError> {
    let module = include_bytes!(concat!(env!("OUT_DIR"), "/noop.wasm"));
    let component = gateway_component::component_of(module, &["request-filter".to_owned()], false)?;
    let loaded = runtime.load(&component)?;
    let case = Case::of("nothing");
    let calls = measured(&loaded, &case, &Cases::default()).await?;
    Ok(calls.first().map(|call| call.median).unwrap_or_default())
}

#[derive(Default)]
struct Times {
    all: Vec<Duration>,
    failure: Option<String>,
}

impl Times {
    fn add<T>(&mut self, began: Instant, result: Result<T, StageFailure>) -> Option<T> {
        self.all.push(began.elapsed());
        match result {
            Ok(value) => Some(value),
            Err(failure) => {
                self.failure.get_or_insert(failure.detail);
                None
            }
        }
    }

    fn call(mut self, name: &str, phase: &'static str) -> Option<Call> {
        self.all.sort();
        let fastest = *self.all.first()?;
        let median = self.all.get(self.all.len() / 2).copied()?;
        Some(Call { name: name.to_owned(), phase, median, fastest, failure: self.failure })
    }
}

fn outcome(status: u16) -> ExchangeOutcome {
    ExchangeOutcome {
        status: Some(status),
        failure: None,
        upstream: Some(super::SERVICE.into()),
        request_bytes: 0,
        response_bytes: 0,
        duration_us: 1000,
        upstream_us: Some(900),
        plugins_us: 10,
    }
}

/// An exchange with the request of a step, as the pipeline would have it.
fn slot(asked: &Asked) -> Result<ExchangeSlot, MessageError> {
    let content = asked.content();
    let (mut head, ()) = super::request_head(asked)?.into_parts();
    let authority = HeaderValue::from_static("gateway.test");
    if content.is_json {
        head.headers.entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    let client = match &asked.client {
        Some(client) => client.parse().map_err(|_| MessageError::Client(client.clone()))?,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let target = head.uri.into_parts().path_and_query.ok_or_else(|| MessageError::NoPath(asked.path.clone()))?;
    Ok(ExchangeSlot::new(Exchange::new(Start {
        id: HeaderValue::from_static("00000000000000000000000000000000"),
        client,
        secured: None,
        protocol: Version::HTTP_11,
        route: super::PLUGIN.into(),
        parameters: Default::default(),
        request: RequestHead { method: head.method, scheme: "http", authority, target, headers: head.headers.into() },
        request_body: body(content.bytes),
        bounds: Rc::new(Bounds {
            added_bytes: 128 << 10,
            added_fields: 356,
            added_uri_bytes: 24 << 10,
            buffer_bytes: super::BODY,
        }),
        traffic: Rc::new(Traffic::default()),
        started: Instant::now(),
    })))
}

fn body(bytes: Bytes) -> Body {
    if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
}

/// The service's answer, for the response phase.
fn respond(slot: &mut ExchangeSlot, answer: &ServiceAnswer) -> Result<(), MessageError> {
    let status = StatusCode::from_u16(answer.status)?;
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers.lines() {
        let field: HeaderName = name.parse().map_err(|_| MessageError::FieldName(name.to_owned()))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| MessageError::FieldValue(name.to_owned()))?;
        headers.try_append(field, value)?;
    }
    slot.phase = Phase::Response;
    slot.response = Some(ResponseHead { status, headers });
    slot.response_body = body(answer.content().bytes);
    Ok(())
}
