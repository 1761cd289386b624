//! Collectors of traces: tonic with OpenTelemetry's own service and messages, hyper for the same over HTTP, and Rotel, a
//! collector that people run (`pip install rotel`), which hands on what it has understood.

use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};

use super::{Upstream, eventually, upstream::full};

/// What a collector has been sent.
#[derive(Clone, Default)]
pub struct Collected(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    requests: Vec<ExportTraceServiceRequest>,
    metadata: Vec<HashMap<String, String>>,
    /// What is answered instead, one after another.
    refusals: Vec<u16>,
    rejects: i64,
}

/// A span that was recorded, in the words of a test.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub span: Span,
    pub resource: HashMap<String, String>,
    attributes: HashMap<String, String>,
}

impl Recorded {
    /// An attribute's value as text; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub fn name(&self) -> &str {
        &self.span.name
    }

    /// Whether it is a direct part of another.
    pub fn is_part_of(&self, parent: &Self) -> bool {
        self.span.parent_span_id == parent.span.span_id && self.span.trace_id == parent.span.trace_id
    }

    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == 2)
    }

    /// What `traceparent` would say of it.
    pub fn parent(&self) -> String {
        format!("00-{}-{}-01", hex(&self.span.trace_id), hex(&self.span.span_id))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Collected {
    fn spans(&self) -> Vec<Recorded> {
        let inner = self.0.lock().expect("no panic");
        let resources = inner.requests.iter().flat_map(|request| &request.resource_spans);
        resources
            .flat_map(|of| {
                let resource = of.resource.as_ref().map(|resource| texts(&resource.attributes)).unwrap_or_default();
                let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
                spans.map(move |span| Recorded {
                    attributes: texts(&span.attributes),
                    span: span.clone(),
                    resource: resource.clone(),
                })
            })
            .collect()
    }

    /// All spans, as soon as there are so many.
    pub async fn wait_for(&self, spans: usize) -> Vec<Recorded> {
        eventually(&format!("{spans} spans"), async || self.spans().len() >= spans).await;
        self.spans()
    }

    /// All spans, as soon as one holds.
    pub async fn wait_until(&self, what: &str, holds: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        eventually(what, async || self.spans().iter().any(&holds)).await;
        self.spans()
    }

    pub fn count(&self) -> usize {
        self.spans().len()
    }

    /// The bytes of the largest request that was taken.
    pub fn largest_request(&self) -> usize {
        let inner = self.0.lock().expect("no panic");
        inner.requests.iter().map(Message::encoded_len).max().unwrap_or_default()
    }

    /// The bytes of all requests that were taken.
    pub fn total_bytes(&self) -> usize {
        self.0.lock().expect("no panic").requests.iter().map(Message::encoded_len).sum()
    }

    /// What came with the requests.
    pub fn metadata(&self) -> Vec<HashMap<String, String>> {
        self.0.lock().expect("no panic").metadata.clone()
    }

    /// What is answered to the next requests, one after another: codes of gRPC or statuses of HTTP.
    pub fn refuse(&self, with: &[u16]) {
        self.0.lock().expect("no panic").refusals = with.iter().rev().copied().collect();
    }

    /// So many spans are rejected of each request.
    pub fn reject(&self, spans: i64) {
        self.0.lock().expect("no panic").rejects = spans;
    }

    fn take(
        &self,
        request: ExportTraceServiceRequest,
        metadata: &http::HeaderMap,
    ) -> Result<ExportTraceServiceResponse, u16> {
        let mut inner = self.0.lock().expect("no panic");
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        inner.metadata.push(metadata.iter().map(|(name, value)| (name.to_string(), text(value))).collect());
        if let Some(refusal) = inner.refusals.pop() {
            return Err(refusal);
        }
        let rejected_spans = inner.rejects;
        inner.requests.push(request);
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() };
        Ok(ExportTraceServiceResponse { partial_success: (rejected_spans > 0).then_some(partial) })
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("no attribute of ours: {other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[tonic::async_trait]
impl TraceService for Collected {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        match self.take(request, &metadata.into_headers()) {
            Ok(response) => Ok(Response::new(response)),
            Err(code) => Err(Status::new(tonic::Code::from(i32::from(code)), "on purpose")),
        }
    }
}

/// A collector that is spoken to by gRPC; ends when dropped.
pub struct GrpcCollector {
    pub address: SocketAddr,
    pub collected: Collected,
    task: JoinHandle<()>,
}

impl GrpcCollector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let collected = Collected::default();
        let server = TraceServiceServer::new(collected.clone()).accept_compressed(CompressionEncoding::Gzip);
        let server = Server::builder().add_service(server);
        let task = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Self { address, collected, task }
    }
}

impl Drop for GrpcCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A collector that is spoken to by HTTP at `/v1/traces`.
pub async fn http_collector() -> (Upstream, Collected) {
    let collected = Collected::default();
    let theirs = collected.clone();
    let upstream = Upstream::serving(move |request| {
        let collected = theirs.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a whole request").to_bytes();
            let is_theirs = head.method == "POST" && head.uri.path() == "/v1/traces";
            let answer = |status: u16, body: Bytes| {
                let mut response = http::Response::new(full(body));
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                response
            };
            match ExportTraceServiceRequest::decode(body) {
                Ok(request) if is_theirs && head.headers["content-type"] == "application/x-protobuf" => {
                    match collected.take(request, &head.headers) {
                        Ok(taken) => answer(200, taken.encode_to_vec().into()),
                        Err(status) => answer(status, Bytes::new()),
                    }
                }
                _ => answer(400, Bytes::new()),
            }
        }
    })
    .await;
    (upstream, collected)
}

/// A running Rotel, which hands on what it is sent. Dropping it kills it.
pub struct Rotel {
    _child: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Rotel {
    pub async fn start(to: SocketAddr) -> Self {
        // Somebody else may have been given the same port in between.
        for _ in 0..5 {
            if let Some(rotel) = Self::try_start(to).await {
                return rotel;
            }
        }
        panic!("Rotel does not stay");
    }

    async fn try_start(to: SocketAddr) -> Option<Self> {
        let (grpc, http) = (free_port().await, free_port().await);
        let mut child = Command::new("rotel-agent")
            .arg("start")
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .args(["--exporter", "otlp", "--otlp-exporter-endpoint", &format!("http://{to}")])
            .args(["--otlp-exporter-protocol", "grpc", "--batch-timeout", "100ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("rotel-agent in PATH: it is in the Python package `rotel` (CONTRIBUTING.md says how)");
        for address in [grpc, http] {
            eventually("Rotel", async || {
                TcpStream::connect(address).await.is_ok() || child.try_wait().expect("a child of ours").is_some()
            })
            .await;
        }
        let is_there = child.try_wait().expect("a child of ours").is_none();
        is_there.then_some(Self { _child: child, grpc, http })
    }
}

/// One that was free a moment ago: Rotel does not tell which one it was given.
async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}
