//! Active health checks, as the file writes them and as the gateway uses them. The doc comments of the fields are what editors show.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Wait,
    units::{DAY, HumanDuration},
};

/// Exactly one of `path`, `grpc` and `tcp` is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct ActiveHealth {
    /// The path to request with GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<CheckPath>,
    /// The gRPC health protocol instead of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealth>,
    /// The check succeeds if a connection can be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealth>,
    /// Header fields of each check, such as `host` or `authorization`. Without `host` it is the endpoint's own.
    #[serde(skip_serializing_if = "CheckHeaders::is_empty")]
    pub headers: CheckHeaders,
    /// Statuses of a successful check: `[200, 204]` or `["200-299"]`.
    #[schemars(length(min = 1))]
    pub expect: Vec<StatusRange>,
    /// Interval between two checks, with 10 % jitter.
    // So often that a check is no attack.
    #[serde(with = "HumanDuration::<50, DAY>")]
    pub interval: Duration,
    /// Timeout of a check, connecting included.
    #[serde(with = "Wait")]
    pub timeout: Duration,
    /// Consecutive failed checks after which an endpoint is unhealthy.
    #[schemars(range(min = 1, max = 1_000))]
    pub unhealthy_after: u32,
    /// Consecutive successful checks after which an endpoint is healthy.
    #[schemars(range(min = 1, max = 1_000))]
    pub healthy_after: u32,
}

/// `grpc.health.v1.Health/Check`; `SERVING` is a success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct GrpcHealth {
    /// The service to check, such as `orders.v1.Orders`; the server as a whole by default.
    pub service: String,
}

/// It has no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TcpHealth {}

/// What a check does after it has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check<'a> {
    /// It requests this path.
    Path(&'a PathAndQuery),
    /// It calls `grpc.health.v1.Health/Check` for this service; for the server if it is empty.
    Grpc(&'a str),
    /// Nothing.
    Connect,
}

impl ActiveHealth {
    /// What is done after connecting.
    pub fn check(&self) -> Check<'_> {
        match (&self.path, &self.grpc) {
            (Some(CheckPath(path)), _) => Check::Path(path),
            (None, Some(grpc)) => Check::Grpc(&grpc.service),
            (None, None) => Check::Connect,
        }
    }

    /// Whether a check with this status is successful.
    pub fn expects(&self, status: u16) -> bool {
        self.expect.iter().any(|range| (range.first..=range.last).contains(&status))
    }
}

impl Default for ActiveHealth {
    fn default() -> Self {
        Self {
            path: None,
            grpc: None,
            tcp: None,
            headers: CheckHeaders::default(),
            expect: vec![StatusRange { first: 200, last: 299 }],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// A path, perhaps with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPath(pub PathAndQuery);

impl Serialize for CheckPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for CheckPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let path = PathAndQuery::try_from(&*text).ok().filter(|path| text.starts_with('/') && path.as_str() == text);
        path.map(Self).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a path such as `/healthz`"))
    }
}

impl JsonSchema for CheckPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CheckPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^/[^\\x00-\\x20#<>`\\x7f]*$",
            "errorMessage": "expected a path such as `/healthz`",
        })
    }
}

/// Header fields of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckHeaders(pub HeaderMap);

impl CheckHeaders {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for CheckHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.0.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))))
    }
}

impl<'de> Deserialize<'de> for CheckHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let typed = BTreeMap::<String, String>::deserialize(deserializer)?;
        let mut headers = HeaderMap::new();
        for (name, value) in typed {
            let wrong =
                |text: &str, expected: &dyn de::Expected| de::Error::invalid_value(de::Unexpected::Str(text), expected);
            let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(&name, &"the name of a header"))?;
            let value = HeaderValue::from_str(&value).map_err(|_| wrong(&value, &"the value of a header"))?;
            headers.try_append(field, value).map_err(|_| de::Error::custom("there are too many header fields"))?;
        }
        Ok(Self(headers))
    }
}

impl JsonSchema for CheckHeaders {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CheckHeaders".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": {
                "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
                "errorMessage": "expected the name of a header",
            },
            "additionalProperties": {
                "type": "string",
                "pattern": "^[^\\x00-\\x08\\x0a-\\x1f\\x7f]*$",
                "errorMessage": "expected the value of a header",
            },
        })
    }
}

/// Statuses from the first to the last one: written as a status, or as `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    pub first: u16,
    /// Not less than `first`.
    pub last: u16,
}

/// What an item of the list may be written as.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Status(u16),
    Range(String),
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { first, last } = *self;
        let written = if first == last { Written::Status(first) } else { Written::Range(format!("{first}-{last}")) };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed = |text: &str| text.trim().parse::<u16>().ok();
        let (first, last) = match Written::deserialize(deserializer)? {
            Written::Status(status) => (Some(status), Some(status)),
            Written::Range(text) => {
                let (first, last) = text.split_once('-').unwrap_or_default();
                (parsed(first), parsed(last))
            }
        };
        let is_status = |status: &u16| (100..=599).contains(status);
        match (first.filter(is_status), last.filter(is_status)) {
            (Some(first), Some(last)) => Ok(Self { first, last }),
            _ => Err(de::Error::custom("expected a status of 100 to 599, or a range such as `200-299`")),
        }
    }
}

impl JsonSchema for StatusRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A status, or a range of them.",
            "anyOf": [
                { "type": "integer", "format": "uint16", "minimum": 100, "maximum": 599 },
                {
                    "type": "string",
                    "pattern": "^ *[1-5][0-9]{2} *- *[1-5][0-9]{2} *$",
                    "errorMessage": "expected a status or a range such as `200-299`",
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn checks_are_read_and_written() {
        let written = json!({
            "path": "/healthz?deep=1",
            "headers": { "host": "users.example", "x-check": "1" },
            "expect": [200, "300-399"],
            "interval": "2s",
            "timeout": "500ms",
            "unhealthy-after": 1,
            "healthy-after": 4,
        });
        let active: ActiveHealth = from_value(written.clone()).unwrap();
        assert_eq!(active.check(), Check::Path(&"/healthz?deep=1".parse().unwrap()));
        let expected = [199, 200, 201, 300, 399, 400].map(|status| active.expects(status));
        assert_eq!(expected, [false, true, false, true, true, false]);
        assert_eq!(to_value(&active).unwrap(), written);
        let grpc: ActiveHealth = from_value(json!({ "grpc": { "service": "a.B" } })).unwrap();
        assert_eq!((grpc.check(), grpc.expects(204)), (Check::Grpc("a.B"), true));
        assert_eq!(from_value::<ActiveHealth>(json!({ "tcp": {} })).unwrap().check(), Check::Connect);
    }
}
