//! Spans in OpenTelemetry's format, with the names of its semantic conventions for HTTP (stable since 1.23) and the
//! gateway's own under `gateway.`.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};

use super::{Call, Finished, METHODS, OTHER, Served, Tried, What};

/// Of `Span.flags`: the parent's remoteness is known, and it is remote.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

/// A request to a collector.
pub(super) fn request(spans: Vec<Span>, resource: &[(String, String)]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "gateway".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let attributes = resource.iter().map(|(name, value)| text(name, value.as_str())).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Default::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    }
}

/// The spans of one trace.
pub(super) fn spans(finished: Finished) -> Vec<Span> {
    let Finished { own, parent, state, at, ended, served, spans } = finished;
    let state = state.unwrap_or_default();
    let mut all = Vec::with_capacity(spans.len() + 1);
    let (name, attributes, status) = serving(served);
    all.push(Span {
        trace_id: own.trace.to_be_bytes().to_vec(),
        span_id: own.span.to_be_bytes().to_vec(),
        parent_span_id: parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        trace_state: state.clone(),
        flags: SAMPLED | HAS_IS_REMOTE | if parent.is_some() { IS_REMOTE } else { 0 },
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: at,
        end_time_unix_nano: at.saturating_add(ended),
        attributes,
        status: Some(status),
        ..Default::default()
    });
    all.extend(spans.into_iter().map(|span| {
        let (name, kind, attributes, status) = match span.what {
            What::Call(call) => calling(call),
            What::Try(tried) => trying(tried),
        };
        Span {
            trace_id: own.trace.to_be_bytes().to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            parent_span_id: span.parent.to_be_bytes().to_vec(),
            trace_state: state.clone(),
            flags: SAMPLED | HAS_IS_REMOTE,
            name,
            kind: kind.into(),
            start_time_unix_nano: at.saturating_add(span.began),
            end_time_unix_nano: at.saturating_add(span.ended),
            attributes,
            status: Some(status),
            ..Default::default()
        }
    }));
    all
}

/// The request as a whole. A client's mistake is none of the server's (semantic conventions, "HTTP spans", "Status").
fn serving(served: Served) -> (String, Vec<KeyValue>, Status) {
    let (method, mut attributes) = method(&served.method);
    attributes.extend([
        text("url.scheme", served.scheme),
        text("url.path", served.path),
        text("network.protocol.name", "http"),
        text("network.protocol.version", served.protocol),
        text("client.address", served.client),
        number("http.request.body.size", served.request_bytes),
        number("http.response.body.size", served.response_bytes),
        text("gateway.request_id", served.request_id),
    ]);
    let name = match served.route {
        Some((route, pattern)) => {
            let name = format!("{method} {pattern}");
            attributes.push(text("http.route", pattern));
            attributes.push(text("gateway.route", &*route));
            name
        }
        // A path that no route has can be anything.
        None => method.to_owned(),
    };
    attributes.extend(address(&served.authority));
    attributes.extend(served.user_agent.map(|agent| text("user_agent.original", agent)));
    attributes.extend(served.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(served.failure.map(|failure| text("gateway.failure", failure)));
    if served.failed {
        let kind = served.failure.map_or_else(|| status_text(served.status), str::to_owned);
        attributes.push(text("error.type", kind));
    }
    (name, attributes, status(served.failed))
}

fn calling(call: Call) -> (String, SpanKind, Vec<KeyValue>, Status) {
    let name = format!("plugin {}", call.plugin);
    let mut attributes = vec![text("gateway.plugin", &*call.plugin), text("gateway.phase", call.phase)];
    if call.answered {
        attributes.push(bool("gateway.answered", true));
    }
    attributes.extend(call.failure.map(|failure| text("error.type", failure)));
    (name, SpanKind::Internal, attributes, status(call.failure.is_some()))
}

fn trying(tried: Tried) -> (String, SpanKind, Vec<KeyValue>, Status) {
    let (name, mut attributes) = match tried.method.as_str() {
        "" => ("upstream", Vec::new()),
        of_the_request => method(of_the_request),
    };
    if !tried.upstream.is_empty() {
        attributes.push(text("gateway.upstream", &*tried.upstream));
    }
    if let Some((authority, peer)) = &tried.endpoint {
        attributes.extend(address(authority));
        attributes.push(text("network.peer.address", peer.ip().to_string()));
        attributes.push(number("network.peer.port", peer.port().into()));
    }
    attributes.extend(tried.status.map(|status| number("http.response.status_code", status.into())));
    if tried.again > 0 {
        attributes.push(number("http.request.resend_count", tried.again.into()));
    }
    // Of a client's span every status from 400 on is an error.
    let failed = tried.failure.is_some() || tried.status.is_some_and(|status| status >= 400);
    let kind = tried.failure.map(str::to_owned).or_else(|| failed.then(|| status_text(tried.status)));
    attributes.extend(kind.map(|kind| text("error.type", kind)));
    (name.to_owned(), SpanKind::Client, attributes, status(failed))
}

/// What a method is in a span's name, and its attributes. Clients make methods up: one that is not known is in no name, so that
/// names stay few (semantic conventions, "HTTP spans", "Name" and `http.request.method`).
fn method(method: &str) -> (&str, Vec<KeyValue>) {
    if METHODS.contains(&method) {
        return (method, vec![text("http.request.method", method)]);
    }
    ("HTTP", vec![text("http.request.method", OTHER), text("http.request.method_original", method)])
}

/// `server.address` and `server.port`, as far as there are such.
fn address(authority: &str) -> Vec<KeyValue> {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return Vec::new() };
    let port = authority.port_u16().map(|port| number("server.port", port.into()));
    std::iter::once(text("server.address", authority.host())).chain(port).collect()
}

fn status(failed: bool) -> Status {
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Status { message: String::new(), code: code.into() }
}

fn status_text(status: Option<u16>) -> String {
    status.map_or_else(|| OTHER.to_owned(), |status| status.to_string())
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    pair(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn bool(key: &str, value: bool) -> KeyValue {
    pair(key, Value::BoolValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
