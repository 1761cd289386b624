//! What the benches have in common: an exchange, a configuration, and a future that does not wait.

use std::{
    future::Future,
    path::Path,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use gateway_config as config;
use gateway_config::{Catalog, CatalogError, PluginFacts, PluginProblem};
use gateway_core::model::{ComponentSource, Config, Plugin};
use gateway_http::{
    body::{Body, Traffic},
    deadline::Deadline,
};
use gateway_pipeline::{Bounds, Exchange, ExchangeOutcome, ExchangeSlot, Phase, RequestHead, ResponseHead, Start};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

/// HS256 for the secret of `benches/five-plugins.yaml`: issuer, audience, a subject, and an end in 2100.
pub const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJiZW5jaCIsImF1ZCI6ImFwaSIsInN1YiI6\
    ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.-OzBNezypPYwV7mv3W_yHBknJXsljevT-Ii3YN5wyf4";

/// The headers of an ordinary request of a browser or a client library.
pub fn headers(host: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let lines = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en-GB,en;q=0.8,de;q=0.5"),
        ("x-in", "some value"),
        ("authorization", TOKEN),
    ];
    for (name, value) in lines.into_iter().skip(usize::from(!host)) {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// An exchange that has just been admitted.
pub fn slot() -> ExchangeSlot {
    ExchangeSlot::new(Exchange::new(Start {
        id: HeaderValue::from_static("0197f2c1-5b7e-7c3a-9d51-6f0b1a2c3d4e"),
        client: [192, 0, 2, 7].into(),
        secured: None,
        protocol: Version::HTTP_11,
        route: "everything".into(),
        parameters: Default::default(),
        request: RequestHead {
            method: Method::GET,
            scheme: "http",
            authority: HeaderValue::from_static("api.example.com"),
            target: "/orders/17?expand=lines".parse().expect("a target"),
            headers: headers(false).into(),
        },
        request_body: Body::Empty,
        bounds: Rc::new(Bounds {
            added_bytes: 128 << 10,
            added_fields: 356,
            added_uri_bytes: 24 << 10,
            buffer_bytes: 1 << 20,
        }),
        traffic: Rc::new(Traffic::default()),
        started: Instant::now(),
    }))
}

/// The exchange when its response is there.
pub fn answered(mut slot: ExchangeSlot) -> ExchangeSlot {
    let mut headers = HeaderMap::new();
    for (name, value) in [("server", "upstream/1.0"), ("content-type", "application/json"), ("content-length", "1024")]
    {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    slot.phase = Phase::Response;
    slot.response = Some(ResponseHead { status: StatusCode::OK, headers });
    slot
}

pub fn outcome() -> ExchangeOutcome {
    ExchangeOutcome {
        status: Some(200),
        failure: None,
        upstream: Some("service".into()),
        request_bytes: 0,
        response_bytes: 1024,
        duration_us: 1234,
        upstream_us: Some(1003),
        plugins_us: 21,
    }
}

/// A moment that no bench reaches.
pub fn later() -> Deadline {
    Deadline::new(Instant::now(), Some(Duration::from_secs(3600)))
}

/// What a future that never waits comes to.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// A configuration without plugins, checked.
pub fn config(yaml: &str) -> Config {
    let checked = config::check(yaml, Path::new("bench.yaml"), &mut NoPlugins);
    checked.unwrap_or_else(|problems| panic!("{problems}")).config
}

pub struct NoPlugins;

impl Catalog for NoPlugins {
    fn open(&mut self, _: &ComponentSource) -> Result<Arc<PluginFacts>, CatalogError> {
        Err(CatalogError::component("no plugins here"))
    }

    fn configure(&mut self, _: &Plugin, _: &serde_json::Value) -> Result<(), Vec<PluginProblem>> {
        Ok(())
    }

    fn builtins(&self) -> Vec<String> {
        Vec::new()
    }
}
