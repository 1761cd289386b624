//! Which traces are made and where they go, as it was typed.

use std::collections::BTreeMap;

use gateway_core::model::{OtlpProtocol, ParentRule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::part::Part;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Tracing {
    /// Export of spans by OTLP.
    pub otlp: Part<Otlp>,
    /// Which requests are traced.
    #[serde(default)]
    pub sampling: Part<Sampling>,
    /// The `service.name` of all spans.
    #[serde(default = "service")]
    #[schemars(length(min = 1, max = 256))]
    pub service: String,
    /// Further attributes of the resource: `{ deployment.environment.name: production }`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

fn service() -> String {
    "gateway".to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Otlp {
    /// One of `upstreams`: the collector. Its timeouts, TLS settings, limits and circuit breaker apply.
    pub upstream: Part<String>,
    /// `grpc` (the upstream then needs `protocol: http2`), or `http` with binary Protobuf.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Of `protocol: http`; `/v1/traces` if left out.
    pub path: Option<String>,
    /// Headers of each request, with the names of secrets as values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Sampling {
    /// The sampled share of traces that begin at this gateway, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub ratio: f64,
    /// Whose `traceparent` is accepted: from `any` client, only from `trusted` proxies, or from `none`, so
    /// that every trace begins here.
    pub parent: ParentRule,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: 1.0, parent: ParentRule::default() }
    }
}
