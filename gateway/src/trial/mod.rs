//! `gateway plugin test`: a plugin in the real sandbox, in a real gateway in this process, between a client and services that
//! do what a file of cases says. Whatever language it was written in, this is how it will be called.

mod answers;
mod cases;
mod cost;
mod error;
mod expect;
mod grants;
mod messages;
mod service;
mod store;
mod values;
mod verdict;

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_wasm::Timers;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) use cases::{Case, Cases};
pub(crate) use cost::{Call, Cost, cost};

use crate::app::{Gateway, Options, Source, StartError};
use cases::{Asked, Step};
use error::MessageError;
use service::{Seen, Service};
use store::Store;

/// For one step.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// For the first connection to Redis, and for the gateway to give up what a client has left.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a response's body.
const BODY: usize = 64 * 1024 * 1024;
/// What the plugin and the service behind it are called.
const PLUGIN: &str = "tested";
const SERVICE: &str = "service";

/// How a case ended.
#[derive(Debug)]
pub(crate) struct CaseResult {
    pub name: String,
    pub took: Duration,
    /// What was not as expected; empty if all was.
    pub misses: Vec<String>,
}

/// The services of a case by their names, without the one behind the route.
type Others<'a> = BTreeMap<&'a str, Service>;

/// Runs a case in a gateway of its own, so that none finds what another has left.
///
/// # Errors
///
/// The gateway does not start with the plugin, or cannot be reached.
pub(crate) fn run(cases: &Cases, case: &Case, component: &Path) -> Result<CaseResult, StartError> {
    let began = Instant::now();
    for request in case.steps.iter().filter_map(|step| step.request.as_ref()) {
        request_head(request).map_err(io::Error::other)?;
    }
    let folder = Folder::new()?;
    let first = case.steps.first().and_then(|step| step.service.clone()).unwrap_or_default();
    let service = Service::start(first)?;
    let others = case.services(cases).into_iter().filter(|(_, answer)| !answer.is_unknown());
    let others = others.map(|(name, answer)| Ok((name, Service::start(answer.clone())?)));
    let others: Others<'_> = others.collect::<io::Result<_>>()?;
    let store = Store::start(cases, case)?;
    let endpoints = others.iter().map(|(name, other)| (*name, other.address())).chain([(SERVICE, service.address())]);
    let configuration = configuration(cases, case, component, &folder, endpoints.collect(), &store)?;
    let timers = Arc::<Timers>::default();
    timers.run_by_hand();
    let gateway = Gateway::start(Options {
        source: Source::Text { text: configuration.to_string(), base: folder.0.clone() },
        signals: false,
        watch: false,
        code_cache: true,
        logging: None,
        timers: timers.clone(),
    })?;
    let address = gateway.addresses().first().copied();
    let address = address.ok_or_else(|| io::Error::other("the gateway does not listen"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(admin) = gateway.admin_address().filter(|_| store.is_reachable) {
        let connected = runtime.block_on(async { tokio::time::timeout(SETTLE_TIMEOUT, is_connected(admin)).await });
        connected.map_err(|_| io::Error::other("the gateway has not connected to Redis; is it running?"))?;
    }
    let mut misses = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        service.answer(step.service.clone().unwrap_or_default());
        for (name, answer) in &step.services {
            if let Some(other) = others.get(name.as_str()) {
                other.answer(answer.clone());
            }
        }
        let found = runtime.block_on(carry_out(step, address, &timers, &service, &others));
        let place = if case.steps.len() > 1 { format!("step {}: ", number + 1) } else { String::new() };
        misses.extend(found.into_iter().map(|miss| format!("{place}{miss}")));
    }
    drop(gateway);
    Ok(CaseResult { name: case.name.clone(), took: began.elapsed(), misses })
}

/// Waits until the gateway can use its state backend.
async fn is_connected(admin: SocketAddr) {
    let asked = Asked::get("/readyz/state");
    while !ask(admin, &asked).await.is_ok_and(|got| got.head.status.is_success()) {
        // The gateway is asked over HTTP, which has nothing to wait for.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What was not as expected in a step.
async fn carry_out(
    step: &Step,
    address: SocketAddr,
    timers: &Timers,
    service: &Service,
    others: &Others<'_>,
) -> Vec<String> {
    if let Some(timer) = &step.timer {
        let called = tokio::time::timeout(REQUEST_TIMEOUT, timers.fire(PLUGIN, timer)).await;
        let called = called.unwrap_or_else(|_| Err(format!("it did not return within {REQUEST_TIMEOUT:?}")));
        let mut misses = verdict::timer_misses(step.expect.timer_fails.as_deref(), called);
        misses.extend(verdict_of(step, service, others, None));
        return misses;
    }
    if !step.messages.is_empty() {
        return converse(step, address, service, others).await;
    }
    let default = Asked::default();
    let asked = step.request.as_ref().unwrap_or(&default);
    let response = async {
        let exchange = tokio::time::timeout(REQUEST_TIMEOUT, ask(address, asked)).await;
        exchange.unwrap_or_else(|_| Err(io::Error::other(format!("no whole response within {REQUEST_TIMEOUT:?}"))))
    };
    let got = match &asked.disconnect_at {
        None => response.await.map(Some),
        Some(name) => {
            let at = if name == SERVICE { Some(service) } else { others.get(name.as_str()) };
            match at {
                None => Err(io::Error::other(format!("disconnect-at: there is no service `{name}`"))),
                Some(at) => tokio::select! {
                    // Dropping the exchange closes the connection.
                    () = at.asked() => Ok(None),
                    got = response => got.and_then(|_| {
                        Err(io::Error::other(format!("disconnect-at: there was a response before `{name}` was asked")))
                    }),
                },
            }
        }
    };
    if let Ok(None) = got {
        // The gateway closes its calls when it has noticed; a service that answers meanwhile is as good.
        let idle = async {
            service.is_idle().await;
            for other in others.values() {
                other.is_idle().await;
            }
        };
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, idle).await;
    }
    match got {
        Ok(got) => verdict_of(step, service, others, got.as_ref()),
        Err(error) => vec![format!("the request failed: {}", gateway_core::error::chain(&error))],
    }
}

/// What was not as expected in a step with messages.
async fn converse(step: &Step, address: SocketAddr, service: &Service, others: &Others<'_>) -> Vec<String> {
    service.accept(true);
    let default = Asked::default();
    let asked = step.request.as_ref().unwrap_or(&default);
    let conversation = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection.with_upgrades());
        let mut request = request(asked, address).map_err(io::Error::other)?;
        messages::add_handshake(request.headers_mut());
        let mut response: Response<_> = sender.send_request(request).await.map_err(io::Error::other)?;
        let client = hyper::upgrade::on(&mut response);
        let (head, body) = response.into_parts();
        let misses = match service.switched() {
            Some(switched) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                messages::misses(&step.messages, client, switched).await?
            }
            _ => vec![format!("messages: the handshake was answered with {}", head.status)],
        };
        let body = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => Bytes::new(),
            _ => Limited::new(body, BODY).collect().await.map_err(io::Error::other)?.to_bytes(),
        };
        connection.abort();
        Ok::<_, io::Error>((Got { head, body }, misses))
    };
    let ended = tokio::time::timeout(REQUEST_TIMEOUT, conversation).await;
    service.accept(false);
    match ended.unwrap_or_else(|_| Err(io::Error::other(format!("it did not end within {REQUEST_TIMEOUT:?}")))) {
        Ok((got, mut misses)) => {
            misses.extend(verdict_of(step, service, others, Some(&got)));
            misses
        }
        Err(error) => vec![format!("messages: {}", gateway_core::error::chain(&error))],
    }
}

/// Compares what the services were asked, and what the client got, with what was expected.
fn verdict_of(step: &Step, service: &Service, others: &Others<'_>, got: Option<&Got>) -> Vec<String> {
    let seen = service.take();
    let calls: BTreeMap<&str, Vec<Seen>> = others.iter().map(|(name, other)| (*name, other.take())).collect();
    let happened = verdict::Happened { seen: &seen, others: &calls, got };
    verdict::misses(&step.expect, &happened)
}

/// One route with the plugin on it.
fn configuration(
    cases: &Cases,
    case: &Case,
    component: &Path,
    folder: &Folder,
    endpoints: BTreeMap<&str, SocketAddr>,
    store: &Store,
) -> io::Result<Value> {
    let stored = |kind: &str, values: &BTreeMap<String, String>| -> io::Result<BTreeMap<String, PathBuf>> {
        let store = |(name, text): (&String, &String)| {
            let file = folder.0.join(format!("{kind}-{name}"));
            fs::write(&file, text)?;
            Ok((name.clone(), file))
        };
        values.iter().map(store).collect()
    };
    let (read, to_use) = (stored("secret", &cases.secrets)?, stored("key", &cases.secrets_to_use)?);
    let secrets = read.iter().chain(&to_use).map(|(name, file)| (name, json!({ "file": file })));
    let secrets: BTreeMap<_, _> = secrets.collect();
    let access = read.keys().map(|name| (name, "read")).chain(to_use.keys().map(|name| (name, "use")));
    let files = stored("file", &cases.files)?;
    let sinks: BTreeMap<_, _> = cases.sinks.iter().map(|name| (name, "stderr")).collect();
    let endpoint = |address| json!({ "endpoints": [format!("http://{address}")] });
    let upstreams: BTreeMap<&str, Value> =
        endpoints.into_iter().map(|(name, address)| (name, endpoint(address))).collect();
    let component = component.canonicalize()?;
    let mut granted = json!({
        "upstreams": upstreams.keys().collect::<Vec<_>>(),
        "store": cases.store,
        "secrets": access.collect::<BTreeMap<_, _>>(),
        "files": files.keys().collect::<Vec<_>>(),
        "sinks": sinks.keys().collect::<Vec<_>>(),
    });
    let data = serde_json::to_value(&cases.grants)?;
    if let (Some(granted), Value::Object(data)) = (granted.as_object_mut(), data) {
        granted.extend(data);
    }
    let config = case.config.as_ref().or(cases.config.as_ref());
    let mut used = json!({ "name": PLUGIN });
    if let (Some(config), Some(used)) = (config, used.as_object_mut()) {
        used.insert("config".to_owned(), config.clone());
    }
    let mut configuration = json!({
        "workers": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        // So that a case can say where its client is.
        "trusted-proxies": ["127.0.0.0/8"],
        "secrets": secrets,
        "files": files,
        "sinks": sinks,
        "upstreams": upstreams,
        "plugins": { PLUGIN: { "component": component, "grants": granted } },
        "routes": [{ "name": PLUGIN, "match": { "path": "/{*rest}" }, "plugins": [used], "upstream": SERVICE }],
    });
    if case.steps.iter().any(|step| !step.messages.is_empty())
        && let Some(route) = configuration["routes"][0].as_object_mut()
    {
        route.insert("upgrades".to_owned(), json!(["websocket"]));
    }
    if let (Some(state), Some(configuration)) = (&store.backend, configuration.as_object_mut()) {
        configuration.insert("state".to_owned(), state.clone());
        configuration.insert("admin".to_owned(), json!({ "address": "127.0.0.1:0" }));
    }
    Ok(configuration)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
}

async fn ask(address: SocketAddr, asked: &Asked) -> io::Result<Got> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let exchange = async move {
        let request = request(asked, address).map_err(io::Error::other)?;
        let response: Response<_> = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY).collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Got { head, body })
    };
    tokio::select! {
        got = exchange => got,
        ended = async { connection.await.map_err(io::Error::other) } => {
            Err(ended.err().unwrap_or_else(|| io::Error::other("the connection ended")))
        }
    }
}

/// Method, target and fields, as they are typed.
fn request_head(asked: &Asked) -> Result<Request<()>, MessageError> {
    let method: Method = asked.method.parse().map_err(|_| MessageError::Method(asked.method.clone()))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = asked.path.parse().map_err(|error| MessageError::Path(asked.path.clone(), error))?;
    let headers = request.headers_mut();
    for (name, value) in asked.headers.lines() {
        let field: HeaderName = name.parse().map_err(|_| MessageError::FieldName(name.to_owned()))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| MessageError::FieldValue(name.to_owned()))?;
        headers.try_append(field, value)?;
    }
    Ok(request)
}

fn request(asked: &Asked, address: SocketAddr) -> Result<Request<Full<Bytes>>, MessageError> {
    let content = asked.content();
    let mut request = request_head(asked)?.map(|()| Full::new(content.bytes));
    let headers = request.headers_mut();
    if let Some(client) = &asked.client {
        let value = client.parse().map_err(|_| MessageError::Client(client.clone()))?;
        headers.insert("x-forwarded-for", value);
    }
    if content.is_json && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let host = HeaderValue::from_str(&address.to_string())?;
    headers.entry(header::HOST).or_insert(host);
    Ok(request)
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let name = format!("gateway-trial-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}
