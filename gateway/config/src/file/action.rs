//! What becomes of a route's requests, as it is typed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::part::Part;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Split {
    /// One of `upstreams`.
    pub upstream: String,
    /// Its share of the requests, relative to the others; none for 0.
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
}

/// Omitted parts and the query are taken from the request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct Redirect {
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// A host, with a port if it is not the scheme's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Part<String>>,
    /// A port. If left out: the one in `host`, if that is there; else the request's, if the scheme stays the same; else
    /// the scheme's.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The whole path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Part<String>>,
    /// 301, 302, 303, 307 or 308.
    pub status: Part<u16>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RedirectScheme {
    Http,
    Https,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Respond {
    /// Of the answer.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Names and values.
    pub headers: BTreeMap<String, Part<String>>,
    /// Text; none if left out.
    pub body: String,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { scheme: None, host: None, port: None, path: None, status: Part(Ok(302)) }
    }
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, headers: BTreeMap::new(), body: String::new() }
    }
}
