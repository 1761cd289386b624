//! `gateway plugin test`: a plugin in the real sandbox, in a real gateway in this process, between a client and a service that
//! do what a file of cases says. Whatever language it was written in, this is how it will be called.

mod cases;
mod cost;
mod error;
mod service;
mod verdict;

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) use cases::{Case, Cases};
pub(crate) use cost::{Call, Cost, cost};

use crate::app::{Gateway, LogOverrides, Options, Source, StartError};
use cases::Asked;
use error::MessageError;
use service::Service;

/// For one step.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
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

/// Runs a case in a gateway of its own, so that none finds what another has left.
///
/// # Errors
///
/// The gateway does not start with the plugin, or cannot be reached.
pub(crate) fn run(
    cases: &Cases,
    case: &Case,
    component: &Path,
    log: Option<LogOverrides>,
) -> Result<CaseResult, StartError> {
    let began = Instant::now();
    let folder = Folder::new()?;
    let first = case.steps.first().and_then(|step| step.service.clone()).unwrap_or_default();
    let service = Service::start(first)?;
    let others = cases.services.iter().map(|(name, answer)| Ok((name.clone(), Service::start(answer.clone())?)));
    let others: BTreeMap<String, Service> = others.collect::<io::Result<_>>()?;
    let configuration = configuration(cases, case, component, &folder, &service, &others)?;
    let gateway = Gateway::start(Options {
        source: Source::Text { text: configuration.to_string(), base: folder.0.clone() },
        signals: false,
        watch: false,
        code_cache: true,
        logging: log,
    })?;
    let address = gateway.addresses().first().copied();
    let address = address.ok_or_else(|| io::Error::other("the gateway does not listen"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut misses = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        service.answer(step.service.clone().unwrap_or_default());
        let response = runtime.block_on(async {
            let asked = tokio::time::timeout(REQUEST_TIMEOUT, ask(address, &step.request)).await;
            asked.unwrap_or_else(|_| Err(io::Error::other(format!("no whole response within {REQUEST_TIMEOUT:?}"))))
        })?;
        let found = verdict::misses(&step.expect, service.take().as_ref(), &response);
        let place = if case.steps.len() > 1 { format!("step {}: ", number + 1) } else { String::new() };
        misses.extend(found.into_iter().map(|miss| format!("{place}{miss}")));
    }
    drop(gateway);
    Ok(CaseResult { name: case.name.clone(), took: began.elapsed(), misses })
}

/// One route with the plugin on it.
fn configuration(
    cases: &Cases,
    case: &Case,
    component: &Path,
    folder: &Folder,
    service: &Service,
    others: &BTreeMap<String, Service>,
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
    let endpoint = |service: &Service| json!({ "endpoints": [format!("http://{}", service.address())] });
    let mut upstreams: BTreeMap<&str, Value> =
        others.iter().map(|(name, other)| (name.as_str(), endpoint(other))).collect();
    upstreams.insert(SERVICE, endpoint(service));
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
    Ok(json!({
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
    }))
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
        let value: HeaderValue = value.parse().map_err(|_| MessageError::FieldValue(name.to_owned()))?;
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
