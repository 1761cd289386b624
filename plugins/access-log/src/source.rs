//! What can be logged.

use std::time::Duration;

use plugin_sdk::{Item, Problems, Selection};

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
pub enum Value<'a> {
    /// Of the gateway's making: a number, or a time between quotation marks.
    Verbatim,
    /// Of somebody else's choosing.
    Bytes(&'a [u8]),
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

    /// What is to be read for it, if it is not in the outcome.
    pub fn item(&self) -> Option<Item> {
        Some(match self {
            Self::RequestId => Item::RequestId,
            Self::ClientAddress => Item::ClientAddress,
            Self::Route => Item::Route,
            Self::Method => Item::Method,
            Self::Scheme => Item::Scheme,
            Self::Authority => Item::Authority,
            Self::Path => Item::Path,
            Self::Query => Item::Query,
            Self::OriginalTarget => Item::OriginalTarget,
            Self::Protocol => Item::Protocol,
            Self::Header(name) => Item::Header(name.clone()),
            Self::ResponseHeader(name) => Item::ResponseHeader(name.clone()),
            Self::Attribute(key) => Item::Attribute(key.clone()),
            Self::PathParameter(name) => Item::PathParameter(name.clone()),
            Self::Time
            | Self::Status
            | Self::Failure
            | Self::Upstream
            | Self::RequestBytes
            | Self::ResponseBytes
            | Self::DurationMs
            | Self::UpstreamMs
            | Self::PluginsMs => return None,
        })
    }

    /// The value, which is written at once if it is the gateway's own. `read` are the values of the layout's items,
    /// of which this takes the next if it has one.
    pub fn value<'a>(
        &self,
        facts: &Facts<'a>,
        read: &mut impl Iterator<Item = Option<&'a [u8]>>,
        out: &mut Vec<u8>,
    ) -> Value<'a> {
        let Facts { request, outcome } = facts;
        let number = |out: &mut Vec<u8>, value: u64| {
            number(value, out);
            Value::Verbatim
        };
        match self {
            Self::Time => {
                out.push(b'"');
                time::rfc3339(request.received_at(), out);
                out.push(b'"');
                Value::Verbatim
            }
            Self::Status => number(out, facts.status().into()),
            Self::RequestBytes => number(out, outcome.request_bytes),
            Self::ResponseBytes => number(out, outcome.response_bytes),
            Self::DurationMs => millis(outcome.duration, out),
            Self::UpstreamMs => outcome.upstream_duration.map_or(Value::Missing, |time| millis(time, out)),
            Self::PluginsMs => millis(outcome.plugins_duration, out),
            Self::Failure => bytes(outcome.failure.as_deref().map(str::as_bytes)),
            Self::Upstream => bytes(outcome.upstream.as_deref().map(str::as_bytes)),
            // Empty where no route matched.
            Self::Route => bytes(read.next().flatten().filter(|route| !route.is_empty())),
            _ => bytes(read.next().flatten()),
        }
    }
}

fn bytes(value: Option<&[u8]>) -> Value<'_> {
    value.map_or(Value::Missing, Value::Bytes)
}

/// Milliseconds with the microseconds behind the point.
fn millis(duration: Duration, out: &mut Vec<u8>) -> Value<'static> {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push(b'.');
    padded(micros % 1000, 3, out);
    Value::Verbatim
}

/// What the sources of a layout read.
pub fn select<'a>(sources: impl Iterator<Item = &'a Source>, at: &str, problems: &mut Problems) -> Selection {
    let items: Vec<Item> = sources.filter_map(Source::item).collect();
    let named = |item: &Item| match item {
        Item::Header(name) | Item::ResponseHeader(name) | Item::Attribute(name) | Item::PathParameter(name) => {
            name.len()
        }
        _ => 0,
    };
    let (count, bytes) = (items.len(), items.iter().map(named).sum::<usize>());
    if count <= Selection::MAX_ITEMS && bytes <= Selection::MAX_NAME_BYTES {
        return Selection::new(&items);
    }
    problems.add(
        at,
        format_args!(
            "{count} fields with {bytes} bytes of names are more than {} with {}",
            Selection::MAX_ITEMS,
            Selection::MAX_NAME_BYTES
        ),
    );
    Selection::new(&[])
}
