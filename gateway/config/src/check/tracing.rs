//! Traces: who collects them can be reached in the way that is said.

use std::{collections::BTreeMap, sync::Arc};

use gateway_core::model::{OtlpProtocol, Protocol, Sampling, SecretSource, Tracing, Upstream, field_of_secret};
use gateway_pipeline::is_owned_by_the_gateway;
use http::{HeaderName, uri::PathAndQuery};

use super::{
    names::{cut, hint},
    report::Report,
};
use crate::{
    file::{File, Otlp},
    secret,
    yaml::join,
};

const PLACE: &str = "/tracing";
/// The method of the service (opentelemetry/proto/collector/trace/v1/trace_service.proto).
const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// OTLP, "OTLP/HTTP Request".
const HTTP: &str = "/v1/traces";
/// What every span would carry.
const ATTRIBUTES: usize = 64;

pub(super) fn tracing(
    file: &File,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    secrets: &BTreeMap<String, SecretSource>,
    report: &mut Report<'_>,
) -> Option<Tracing> {
    let typed = report.part(file.tracing.as_ref()?, PLACE)?;
    let sampling = report.part(&typed.sampling, "/tracing/sampling");
    let sampling = sampling.map(|typed| Sampling { ratio: typed.ratio, parent: typed.parent });
    if typed.attributes.len() > ATTRIBUTES {
        report.value("/tracing/attributes", format!("are more than {ATTRIBUTES}"));
    }
    if typed.attributes.contains_key("service.name") {
        report.key("/tracing/attributes/service.name", "is what `service` says: say it there".to_owned());
    }
    let own = ("service.name".to_owned(), typed.service.clone());
    let further = typed.attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
    let resource = std::iter::once(own).chain(further).collect();
    let otlp = report.part(&typed.otlp, "/tracing/otlp")?;
    let headers = headers(otlp, (file, secrets), report);
    let target = target(otlp, report);
    let collector = collector(otlp, file, upstreams, report);
    Some(Tracing {
        collector: collector?,
        protocol: otlp.protocol,
        target: target?,
        headers,
        sampling: sampling?,
        resource,
    })
}

fn collector(
    otlp: &Otlp,
    file: &File,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    report: &mut Report<'_>,
) -> Option<Arc<Upstream>> {
    let place = "/tracing/otlp/upstream";
    let name = report.part(&otlp.upstream, place)?;
    let Some(upstream) = upstreams.get(name) else {
        // One that is broken has been reported by itself.
        if !file.upstreams.contains_key(name) {
            let hint = hint(name, file.upstreams.keys().map(String::as_str));
            report.value(place, format!("there is no upstream `{}`{hint}", cut(name)));
        }
        return None;
    };
    match (upstream.protocol, otlp.protocol) {
        (Protocol::Tcp, _) => {
            report.value(place, format!("`{name}` has endpoints of TCP, where OTLP is spoken over HTTP"));
            None
        }
        (Protocol::Http1, OtlpProtocol::Grpc) => {
            let cure = "give it `protocol: http2`, or say `protocol: http` here";
            report.value(place, format!("`{name}` speaks HTTP/1.1, where gRPC needs HTTP/2: {cure}"));
            None
        }
        _ => Some(upstream.clone()),
    }
}

fn target(otlp: &Otlp, report: &mut Report<'_>) -> Option<PathAndQuery> {
    let place = "/tracing/otlp/path";
    match (&otlp.path, otlp.protocol) {
        (None, OtlpProtocol::Grpc) => Some(PathAndQuery::from_static(GRPC)),
        (None, OtlpProtocol::Http) => Some(PathAndQuery::from_static(HTTP)),
        (Some(_), OtlpProtocol::Grpc) => {
            report.key(place, "is for `protocol: http`: gRPC has a path of its own".to_owned());
            None
        }
        (Some(path), OtlpProtocol::Http) => {
            let is_path = path.starts_with('/') && path.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'#');
            let target = is_path.then(|| PathAndQuery::try_from(path.as_str()).ok()).flatten();
            if target.is_none() {
                report.value(place, format!("expected a path such as `{HTTP}`, found `{}`", cut(path)));
            }
            target
        }
    }
}

fn headers(
    otlp: &Otlp,
    (file, secrets): (&File, &BTreeMap<String, SecretSource>),
    report: &mut Report<'_>,
) -> Vec<(HeaderName, String)> {
    let mut headers = Vec::new();
    for (name, secret) in &otlp.headers {
        let place = join("/tracing/otlp/headers", name);
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(known) if known == http::header::HOST || is_owned_by_the_gateway(&known) => {
                report.key(&place, format!("`{known}` is set by the gateway"));
            }
            Ok(header) => {
                // A secret that cannot be read has been reported where it is defined.
                let value = secrets.get(secret).and_then(|source| secret::read(source).ok());
                if let Some(Err(error)) = value.map(|value| field_of_secret(&header, secret, &value)) {
                    report.value(&place, error.to_string());
                }
                headers.push((header, secret.clone()));
            }
            Err(_) => report.key(&place, format!("`{}` is no name of a field", cut(name))),
        }
        if !file.secrets.contains_key(secret) {
            let hint = hint(secret, file.secrets.keys().map(String::as_str));
            report.value(&place, format!("expected the name of one of `secrets`{hint}"));
        }
    }
    headers
}
