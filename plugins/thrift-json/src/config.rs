//! What can be configured.

use std::{collections::BTreeMap, time::Duration};

use plugin_sdk::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// JSON for a Thrift service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(example = serde_json::json!({ "idl": "calculator", "upstream": "calculator" }))]
pub(crate) struct Config {
    /// The names of files with the service's IDL, as under `files` of the gateway's configuration. What they include is found
    /// there too, by its file name without folder and ending: `include "base/shared.thrift"` is the file `shared`.
    pub(crate) idl: OneOrMany,
    /// The upstream with the service, of which the endpoints are `tcp://HOST:PORT` or `tls://HOST:PORT`; the plugin has to be
    /// granted it. Not for the transport `http`, which goes to the route's upstream.
    #[serde(default)]
    pub(crate) upstream: Option<String>,
    /// How messages are told apart.
    #[serde(default)]
    pub(crate) transport: Transport,
    /// How messages are encoded.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// The services that can be called; all of the files if left out.
    #[serde(default)]
    pub(crate) services: Vec<String>,
    /// The service's server has several services, told apart as Thrift's multiplexed protocol does.
    #[serde(default)]
    pub(crate) multiplexed: bool,
    /// What the paths of calls begin with: `/api` for `POST /api/Service/method`.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Other ways to make calls than `POST /Service/method`.
    #[serde(default)]
    pub(crate) bindings: Vec<Binding>,
    /// The status of an answer for each declared exception, `"*"` for all others. An exception can also say
    /// so itself in the IDL, as in `exception NotFound { … } (http.status = "404")`; 500 for all others.
    #[serde(default)]
    pub(crate) exceptions: BTreeMap<String, Status>,
    /// How long a call over TCP may take.
    #[serde(default = "five_seconds")]
    pub(crate) timeout: Span,
    /// The path to which the transport `http` posts messages.
    #[serde(default = "root")]
    pub(crate) http_path: String,
    /// Handling of unknown members of a body.
    #[serde(default)]
    pub(crate) unknown_fields: Treatment,
    /// Handling of unknown query parameters.
    #[serde(default)]
    pub(crate) unknown_parameters: Treatment,
    /// How values of enumerations are written in answers.
    #[serde(default)]
    pub(crate) enums: Enums,
    /// How an `i64` is written in answers: JavaScript keeps no more than 53 bits of a number.
    #[serde(default)]
    pub(crate) i64: Wide,
}

/// A further way to make a call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Binding {
    /// The call, as `Service/method`.
    pub(crate) call: String,
    /// The method of the request.
    #[serde(default = "post")]
    pub(crate) method: String,
    /// The path of the request, in which `{argument}` stands for one segment. An argument that is a struct has fields:
    /// `{order.id}`.
    pub(crate) path: String,
    /// Query parameters that are not called like the argument that they are: parameter and argument. Those that are need not
    /// be named.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// The argument that the body is; an object of arguments if left out.
    #[serde(default)]
    pub(crate) body: Option<String>,
}

/// A status of HTTP for what went wrong.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(crate) struct Status(#[schemars(range(min = 400, max = 599))] pub(crate) u16);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    /// A message follows its length.
    #[default]
    Framed,
    /// Messages follow one another, as they are.
    Buffered,
    /// A message is the body of a request, or of its response.
    Http,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    #[default]
    Binary,
    Compact,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Treatment {
    /// The request is refused.
    #[default]
    Reject,
    Ignore,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Enums {
    #[default]
    Names,
    Numbers,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wide {
    #[default]
    Number,
    String,
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn root() -> String {
    "/".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}
