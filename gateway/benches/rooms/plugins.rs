//! What a plugin costs: a call of a warm instance, each standard plugin in the phases that it has, five of them
//! on one route, and a new instance.

use std::{collections::BTreeMap, hint::black_box, rc::Rc, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group};
use gateway_core::model::{Grants, Isolation, Names, PluginLimits, SinkTarget};
use gateway_pipeline::{Alone, Decision, Entry, ExchangeSlot, Pipeline, Scope, Stage, Verdict};
use gateway_telemetry::{Metrics, Sinks};
use gateway_wasm::{
    CodeCache, Pools, Prepared, Runtime, Settings,
    services::{NoUpstreams, Services, Shared},
};
use serde_json::{Value, json};

use crate::support::{answered, at_once, later, outcome, slot};

criterion_group!(benches, calls, standard_plugins, five_together, instances);

/// A worker's plugins.
struct World {
    runtime: Runtime,
    pools: Pools,
    services: Rc<Services>,
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::default();
        let targets =
            BTreeMap::from([("access".to_owned(), SinkTarget::File { path: "/dev/null".into(), rotate: None })]);
        let sinks = Sinks::open(&targets, &metrics).expect("a file that is always there");
        let shared = Shared { sinks: Arc::new(sinks), metrics, ..Shared::default() };
        let upstreams = Rc::new(NoUpstreams);
        let services = Services { worker: 0, shared: Arc::new(shared), upstreams, leases: Rc::default() };
        let runtime = Runtime::new(&CodeCache::Off).expect("WebAssembly");
        Self { runtime, pools: Pools::default(), services: Rc::new(services) }
    }

    fn stage(&self, component: &[u8], config: &Value, isolation: Isolation) -> Alone {
        let scope = Scope { metrics: self.services.shared.metrics.clone(), worker: 0, route: "bench".into() };
        Alone::new(self.in_pipeline(component, config, isolation), scope)
    }

    fn in_pipeline(&self, component: &[u8], config: &Value, isolation: Isolation) -> Rc<dyn Stage> {
        let loaded = self.runtime.load(component).expect("a plugin");
        let all = || Names::All;
        let settings = Settings {
            name: "benched".into(),
            config,
            // With none, what imports calls to upstreams is called as on a route without such a grant.
            grants: Grants {
                upstreams: Names::default(),
                store: all(),
                secrets: all(),
                secrets_to_use: all(),
                sinks: all(),
                files: all(),
                data: None,
            },
            limits: PluginLimits { memory: 64 << 20, time: Duration::from_secs(1), instances: Some(4), max_calls: 0 },
            isolation,
            standard: true,
        };
        Prepared::new(loaded, settings).stage(&self.pools, &self.services)
    }

    fn standard(&self, name: &str, config: &Value) -> Alone {
        self.stage(standard(name), config, Isolation::Shared)
    }
}

fn standard(name: &str) -> &'static [u8] {
    gateway_standard::component(name).expect("components").expect("a standard plugin")
}

fn on_request(stage: &Alone, slot: &mut ExchangeSlot) {
    let decision = at_once(stage.request(slot)).expect("no failure");
    assert!(matches!(decision, Decision::Next));
}

/// The guest of the tests that does what it is told.
fn calls(c: &mut Criterion) {
    let world = World::new();
    let naughty = |config| world.stage(test_guests::naughty(), &config, Isolation::Shared);
    let mut group = c.benchmark_group("call");

    // Its deed is for another phase.
    let stage = naughty(json!({ "do": "mark", "phase": "response" }));
    let mut lent = slot();
    group.bench_function("does nothing", |b| b.iter(|| on_request(&stage, &mut lent)));
    assert!(!lent.request.headers.contains_key("x-out"));

    let stage = naughty(json!({ "do": "mark" }));
    let mut lent = slot();
    // Also where the bench is filtered out.
    on_request(&stage, &mut lent);
    group.bench_function("reads one header and sets another", |b| b.iter(|| on_request(&stage, &mut lent)));
    assert_eq!(lent.request.headers["x-out"], "some value");
    group.finish();
}

fn jwt() -> Value {
    let secret = "a-secret-for-measuring-and-for-nothing-else";
    json!({ "issuer": "bench", "audience": "api", "keys": [{ "secret": secret }] })
}

fn rate_limit() -> Value {
    json!({ "limit": 1_000_000, "per": "1s", "key": { "attribute": "jwt.sub" } })
}

fn set_user() -> Value {
    json!({ "request": { "set-headers": { "x-user": "{attribute.jwt.sub}" }, "remove-headers": ["x-debug"] } })
}

fn set_server() -> Value {
    json!({ "response": { "set-headers": { "x-served-by": "gateway" }, "remove-headers": ["server"] } })
}

fn cors() -> Value {
    json!({ "allow-origins": ["https://app.example.com"] })
}

fn access_log() -> Value {
    json!({ "sink": "access", "format": "json" })
}

/// Each of the five plugins of `benches/five-plugins.yaml` by itself, on an exchange that has not met it yet.
fn standard_plugins(c: &mut Criterion) {
    let world = World::new();
    let mut group = c.benchmark_group("standard");

    let request = |group: &mut criterion::BenchmarkGroup<'_, _>, name: &str, stage: &Alone, known: bool| {
        let fresh = || {
            let mut slot = slot();
            if known {
                slot.set_attribute("jwt.sub", "alice").expect("there is room");
            }
            slot
        };
        let mut seen = fresh();
        on_request(stage, &mut seen);
        group
            .bench_function(name, |b| b.iter_batched_ref(fresh, |slot| on_request(stage, slot), BatchSize::SmallInput));
        seen
    };
    let response = |group: &mut criterion::BenchmarkGroup<'_, _>, name: &str, stage: &Alone| {
        let fresh = || answered(slot());
        let run = |slot: &mut ExchangeSlot| at_once(stage.response(slot)).expect("no failure");
        let mut seen = fresh();
        run(&mut seen);
        group.bench_function(name, |b| b.iter_batched_ref(fresh, run, BatchSize::SmallInput));
        seen
    };

    let seen = request(&mut group, "jwt, a token that is remembered", &world.standard("jwt", &jwt()), false);
    assert_eq!(seen.attribute("jwt.sub"), Some("alice"));
    let seen = request(&mut group, "rate-limit, request", &world.standard("rate-limit", &rate_limit()), true);
    assert!(seen.attribute("rate-limit.remaining").is_some());
    let seen = request(&mut group, "transform, request", &world.standard("transform", &set_user()), true);
    assert_eq!(seen.request.headers["x-user"], "alice");
    let seen = response(&mut group, "transform, response", &world.standard("transform", &set_server()));
    assert_eq!(seen.response.as_ref().expect("a response").headers["x-served-by"], "gateway");

    let seen = response(&mut group, "security-headers", &world.standard("security-headers", &json!({})));
    assert_eq!(seen.response.as_ref().expect("a response").headers["x-frame-options"], "DENY");
    let seen = request(&mut group, "cors", &world.standard("cors", &cors()), false);
    assert!(seen.attributes().next().is_none());

    let stage = world.standard("access-log", &access_log());
    let outcome = outcome();
    let mut lent = answered(slot());
    let mut log = || at_once(stage.complete(&mut lent, &outcome)).expect("no failure");
    // Also where the bench is filtered out.
    log();
    group.bench_function("access-log", |b| b.iter(&mut log));
    group.finish();
    let metrics = world.services.shared.metrics.render();
    let none = r#"gateway_sink_lines_total{sink="access",result="accepted"} 0"#;
    assert!(metrics.contains("gateway_sink_lines_total") && !metrics.contains(none), "{metrics}");
}

/// All phases of one exchange, as the proxy runs them: with two transforms as `benches/five-plugins.yaml` has them, and with
/// `cors` for a page of another origin.
fn five_together(c: &mut Criterion) {
    let world = World::new();
    let pipeline = |stages: [(&str, Value); 5]| {
        let entry = |(name, config): (&str, Value)| {
            Entry::new(world.in_pipeline(standard(name), &config, Isolation::Shared), false)
        };
        Pipeline::new(Scope::default(), stages.map(entry).into())
    };
    let (until, outcome) = (later(), outcome());
    let run = |pipeline: &Pipeline, mut slot: ExchangeSlot| {
        let passed = at_once(pipeline.request(&mut slot, until));
        assert!(matches!(passed.verdict, Verdict::Forward));
        let mut slot = answered(slot);
        let returned = at_once(pipeline.response(passed.ran, &mut slot, until));
        assert_eq!(returned.failed, None);
        at_once(pipeline.complete(&mut slot, &outcome, until));
        slot
    };

    let two_transforms = pipeline([
        ("access-log", access_log()),
        ("jwt", jwt()),
        ("rate-limit", rate_limit()),
        ("transform", set_user()),
        ("transform", set_server()),
    ]);
    let seen = run(&two_transforms, slot());
    assert_eq!(seen.request.headers["x-user"], "alice");
    assert!(!seen.response.as_ref().expect("a response").headers.contains_key("server"));
    c.bench_function("five standard plugins", |b| {
        b.iter_batched(slot, |slot| run(&two_transforms, slot), BatchSize::SmallInput);
    });

    let with_cors = pipeline([
        ("access-log", access_log()),
        ("cors", cors()),
        ("jwt", jwt()),
        ("rate-limit", rate_limit()),
        ("transform", set_user()),
    ]);
    let from_a_page = || {
        let mut slot = slot();
        slot.set_request_header("origin", b"https://app.example.com").expect("there is room");
        slot
    };
    let seen = run(&with_cors, from_a_page());
    let headers = &seen.response.as_ref().expect("a response").headers;
    assert_eq!(headers["access-control-allow-origin"], "https://app.example.com");
    assert!(headers.contains_key("ratelimit"));
    c.bench_function("five standard plugins, cors among them", |b| {
        b.iter_batched(from_a_page, |slot| run(&with_cors, slot), BatchSize::SmallInput);
    });
}

/// With `isolation: request`: made, configured, and called once.
fn instances(c: &mut Criterion) {
    let world = World::new();
    let mut group = c.benchmark_group("new instance");
    let stages = [
        ("guest of the tests", world.stage(test_guests::naughty(), &json!({ "do": "mark" }), Isolation::Request)),
        ("jwt", world.stage(standard("jwt"), &jwt(), Isolation::Request)),
    ];
    for (name, stage) in &stages {
        let run = |slot: &mut ExchangeSlot| {
            on_request(stage, slot);
            black_box(slot);
        };
        run(&mut slot());
        group.bench_function(*name, |b| b.iter_batched_ref(slot, run, BatchSize::SmallInput));
    }
    group.finish();
}
