//! The room as a whole, with the guests of `tests/guests`.

mod bodies;
mod body_filter;
mod calling;
mod failing;
mod frozen;
mod grants;
mod loading;
mod speed;
mod upstreams;
mod waiting;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use gateway_core::model::{Grants, Isolation, Names, PluginLimits};
use gateway_http::{
    body::{Body, Traffic},
    deadline::Deadline,
};
use gateway_pipeline::{
    Alone, Bounds, Decision, Exchange, ExchangeSlot, Phase, RequestHead, ResponseHead, Scope, Stage, StageFailure,
    Start,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use serde_json::json;

use super::{
    CodeCache, Loaded, Pools, Prepared, Runtime, Settings,
    services::{NoUpstreams, Services, Shared, Upstreams},
};

/// Compiled once for all tests.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(&CodeCache::Off).unwrap())
}

fn loaded(guest: &[u8]) -> Arc<Loaded> {
    static KEPT: Mutex<Vec<Arc<Loaded>>> = Mutex::new(Vec::new());
    let loaded = runtime().load(guest).unwrap();
    KEPT.lock().unwrap().push(Arc::clone(&loaded));
    loaded
}

fn standard(name: &str) -> &'static [u8] {
    let component = gateway_standard::component(name).unwrap_or_else(|error| panic!("{error}"));
    component.expect("a standard plugin")
}

/// A plugin on a worker of its own.
struct World {
    pools: Pools,
    services: Rc<Services>,
    prepared: Arc<Prepared>,
}

/// How a plugin is used, unless a test says otherwise: everything granted, and time enough.
struct Use {
    guest: &'static [u8],
    config: serde_json::Value,
    grants: Grants,
    limits: PluginLimits,
    isolation: Isolation,
    upstreams: Rc<dyn Upstreams>,
    shared: Shared,
}

/// The guest that does what it is told, doing this.
fn naughty(deed: &str) -> Use {
    naughty_with(json!({ "do": deed }))
}

fn naughty_with(config: serde_json::Value) -> Use {
    Use::of(test_guests::naughty(), config)
}

impl Use {
    fn of(guest: &'static [u8], config: serde_json::Value) -> Self {
        let all = || Names::All;
        Self {
            guest,
            config,
            grants: Grants {
                upstreams: all(),
                store: all(),
                secrets: all(),
                secrets_to_use: Names::default(),
                sinks: all(),
                files: all(),
                data: None,
            },
            limits: PluginLimits { memory: 64 << 20, time: Duration::from_secs(10), instances: Some(4), max_calls: 0 },
            isolation: Isolation::Shared,
            upstreams: Rc::new(NoUpstreams),
            shared: Shared::default(),
        }
    }

    fn time(mut self, millis: u64) -> Self {
        self.limits.time = Duration::from_millis(millis);
        self
    }

    fn prepare(&self) -> Arc<Prepared> {
        Prepared::new(
            loaded(self.guest),
            Settings {
                name: "tested".into(),
                config: &self.config,
                grants: self.grants.clone(),
                limits: self.limits.clone(),
                isolation: self.isolation,
                standard: false,
            },
        )
    }

    fn world(self) -> World {
        let prepared = self.prepare();
        let (pools, shared) = (Pools::default(), Arc::new(self.shared));
        let services = Services { worker: 0, shared, upstreams: self.upstreams, leases: pools.leases() };
        World { pools, services: Rc::new(services), prepared }
    }

    fn stage(self) -> Alone {
        self.world().stage()
    }

    /// For a pipeline.
    fn in_pipeline(self) -> Rc<dyn Stage> {
        self.world().in_pipeline()
    }
}

impl World {
    fn stage(&self) -> Alone {
        let scope = Scope { metrics: self.services.shared.metrics.clone(), worker: 0, route: "test".into() };
        Alone::new(self.in_pipeline(), scope)
    }

    fn in_pipeline(&self) -> Rc<dyn Stage> {
        self.prepared.stage(&self.pools, &self.services)
    }

    /// The value of a sample in the metrics.
    fn metric(&self, sample: &str) -> String {
        let text = self.services.shared.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        line.unwrap_or_else(|| panic!("no {sample} in {text}")).trim().to_owned()
    }
}

pub(super) fn slot() -> ExchangeSlot {
    slot_with(Body::Empty)
}

fn slot_with(request_body: Body) -> ExchangeSlot {
    ExchangeSlot::new(Exchange::new(Start {
        id: HeaderValue::from_static("id-1"),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secured: None,
        protocol: Version::HTTP_11,
        route: "tested".into(),
        parameters: Default::default(),
        request: RequestHead {
            method: Method::GET,
            scheme: "http",
            authority: HeaderValue::from_static("example.com"),
            target: "/path?query".parse().unwrap(),
            headers: HeaderMap::from_iter([("x-in".parse().unwrap(), HeaderValue::from_static("in"))]).into(),
        },
        request_body,
        bounds: Rc::new(Bounds {
            added_bytes: 16 << 10,
            added_fields: 100,
            added_uri_bytes: 8 << 10,
            buffer_bytes: 1 << 20,
        }),
        traffic: Rc::new(Traffic::default()),
        started: Instant::now(),
    }))
}

/// The exchange in its response phase.
fn answered(mut slot: ExchangeSlot, body: Body) -> ExchangeSlot {
    slot.phase = Phase::Response;
    slot.response = Some(ResponseHead { status: http::StatusCode::OK, headers: HeaderMap::new() });
    slot.response_body = body;
    slot
}

/// The request phase of a plugin that must not make anyone wait.
fn at_once(stage: &Alone, slot: &mut ExchangeSlot) -> Result<Decision, StageFailure> {
    stage.request(slot).now_or_never().expect("called on a fiber")
}

/// The request phase, whether it waits or not.
async fn in_time(stage: &Alone, slot: &mut ExchangeSlot) -> Result<Decision, StageFailure> {
    stage.request(slot).await
}

/// The request phase of a plugin that may have to wait: it has begun.
fn begun<'a>(stage: &'a Alone, slot: &'a mut ExchangeSlot) -> LocalBoxFuture<'a, Result<Decision, StageFailure>> {
    let mut request = stage.request(slot).boxed_local();
    match (&mut request).now_or_never() {
        // What it asked for came at once.
        Some(ended) => std::future::ready(ended).boxed_local(),
        None => request,
    }
}

/// A deadline that no test reaches.
fn later() -> Deadline {
    Deadline::new(Instant::now(), Some(Duration::from_secs(60)))
}

fn header<'a>(slot: &'a ExchangeSlot, name: &str) -> &'a str {
    slot.request.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// What is logged on this thread while the closure runs.
fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(std::mem::take(&mut *buffer.0.lock().unwrap())).unwrap()
}

fn full(text: &'static str) -> Body {
    Body::Full(Bytes::from_static(text.as_bytes()))
}
