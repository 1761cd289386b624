//! What can be logged.

use std::time::Duration;

use crate::{
    Facts,
    digits::{number, padded},
    time,
};

/// One thing about an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Time,
    RequestId,
    ClientAddress,
    Route,
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    OriginalTarget,
    Protocol,
    Status,
    Failure,
    Upstream,
    RequestBytes,
    ResponseBytes,
    DurationMs,
    UpstreamMs,
    PluginsMs,
    Header(String),
    ResponseHeader(String),
    Attribute(String),
    PathParameter(String),
}

/// Sources without a name of the operator's choosing.
pub const PLAIN: [(&str, Source); 19] = [
    ("time", Source::Time),
    ("request.id", Source::RequestId),
    ("client.address", Source::ClientAddress),
    ("route", Source::Route),
    ("method", Source::Method),
    ("scheme", Source::Scheme),
    ("authority", Source::Authority),
    ("path", Source::Path),
    ("query", Source::Query),
    ("original-target", Source::OriginalTarget),
    ("protocol", Source::Protocol),
    ("status", Source::Status),
    ("failure", Source::Failure),
    ("upstream", Source::Upstream),
    ("request.bytes", Source::RequestBytes),
    ("response.bytes", Source::ResponseBytes),
    ("duration-ms", Source::DurationMs),
    ("upstream-ms", Source::UpstreamMs),
    ("plugins-ms", Source::PluginsMs),
];

/// Logged unless the configuration says otherwise. Neither query nor headers are among them: they carry secrets.
pub const DEFAULT: [&str; 15] = [
    "time",
    "request.id",
    "client.address",
    "route",
    "method",
    "authority",
    "path",
    "protocol",
    "status",
    "failure",
    "upstream",
    "request.bytes",
    "response.bytes",
    "duration-ms",
    "upstream-ms",
];

/// A value as it is, before anything is escaped.
pub enum Value {
    /// Of the gateway's making: a number, or a time between quotation marks.
    Verbatim,
    /// Of somebody else's choosing.
    Bytes(Vec<u8>),
    Missing,
}

impl Source {
    /// Reads the name that YAML gives it.
    pub fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, plain)) = PLAIN.into_iter().find(|(known, _)| *known == name) {
            return Ok(plain);
        }
        let named = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(key) = named("attribute.") {
            return Ok(Self::Attribute(key.to_owned()));
        }
        if let Some(name) = named("path.") {
            return Ok(Self::PathParameter(name.to_owned()));
        }
        let (header, of_response) = match named("header.") {
            Some(name) => (Some(name), false),
            None => (named("response.header."), true),
        };
        let Some(header) = header else {
            let plain: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "unknown field `{name}`; there are header.NAME, response.header.NAME, attribute.KEY, path.NAME, {}",
                plain.join(", "),
            ));
        };
        if !header.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err(format!("`{header}` is not a header name"));
        }
        let header = header.to_ascii_lowercase();
        Ok(if of_response { Self::ResponseHeader(header) } else { Self::Header(header) })
    }

    /// The value, which is written at once if it is the gateway's own.
    pub fn value(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> Value {
        let Facts { request, response, outcome } = facts;
        let number = |out: &mut Vec<u8>, value: u64| {
            number(value, out);
            Value::Verbatim
        };
        let text = match self {
            Self::Time => {
                out.push(b'"');
                time::rfc3339(request.received_at(), out);
                out.push(b'"');
                return Value::Verbatim;
            }
            Self::Status => return number(out, facts.status().into()),
            Self::RequestBytes => return number(out, outcome.request_bytes),
            Self::ResponseBytes => return number(out, outcome.response_bytes),
            Self::DurationMs => return millis(outcome.duration, out),
            Self::UpstreamMs => return outcome.upstream_duration.map_or(Value::Missing, |time| millis(time, out)),
            Self::PluginsMs => return millis(outcome.plugins_duration, out),
            Self::Header(name) => return bytes(request.header_bytes(name)),
            Self::ResponseHeader(name) => return bytes(response.and_then(|response| response.header_bytes(name))),
            Self::Attribute(key) => request.attribute(key),
            Self::PathParameter(name) => request.path_parameter(name),
            Self::RequestId => Some(request.id()),
            Self::ClientAddress => Some(request.client_address()),
            Self::Route => Some(request.route()).filter(|route| !route.is_empty()),
            Self::Method => Some(request.method()),
            Self::Scheme => Some(request.scheme()),
            Self::Authority => Some(request.authority()),
            Self::Path => Some(request.path()),
            Self::Query => request.query(),
            Self::OriginalTarget => Some(request.original_target()),
            Self::Protocol => Some(request.protocol()),
            Self::Failure => outcome.failure.clone(),
            Self::Upstream => outcome.upstream.clone(),
        };
        bytes(text.map(String::into_bytes))
    }
}

fn bytes(value: Option<Vec<u8>>) -> Value {
    value.map_or(Value::Missing, Value::Bytes)
}

/// Milliseconds with the microseconds behind the point.
fn millis(duration: Duration, out: &mut Vec<u8>) -> Value {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push(b'.');
    padded(micros % 1000, 3, out);
    Value::Verbatim
}
