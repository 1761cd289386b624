//! The file as it was typed. The doc comments here are what editors show: they become the descriptions of
//! the JSON Schema.

mod action;
mod admin;
mod data_grants;
mod listeners;
mod state;
mod tracing;
mod upstream;

use std::{collections::BTreeMap, time::Duration};

use gateway_core::model::{
    BodyBytes, BufferBytes, EncodedSlashes, Isolation, Limits, Log, MatrixParameters, OnError, PathRule, PluginLimits,
    RequestTimeout, Timeouts, Upgrade, Wait,
    units::{ByteSize, KIB, Optional, TIB},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::part::{Anything, Name, Part};

pub(super) use action::*;
pub(super) use admin::*;
pub(super) use data_grants::*;
pub(super) use listeners::*;
pub(super) use state::*;
pub(super) use tracing::*;
pub(super) use upstream::*;

/// The configuration of the gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(title = "Gateway configuration", extend("required" = ["listeners", "routes"]))]
pub(super) struct File {
    /// Number of worker threads; the number of cores by default.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<usize>,
    /// Where clients connect.
    #[schemars(length(min = 1))]
    pub listeners: Vec<Part<Listener>>,
    /// The admin listener: `/healthz`, `/readyz`, `/metrics`, and the admin API under `/api/v1`.
    pub admin: Option<Part<Admin>>,
    /// The gateway's own log.
    pub log: Part<Log>,
    /// OpenTelemetry traces. By default no traces are made and `traceparent` is forwarded unchanged.
    pub tracing: Option<Part<Tracing>>,
    /// Networks or addresses of proxies in front of the gateway whose `Forwarded`, `X-Forwarded-*` and
    /// request identifiers are trusted.
    pub trusted_proxies: Vec<Part<String>>,
    /// How to handle paths that services interpret differently; a route can override it.
    pub paths: Part<PathRule>,
    /// Limits on sizes and numbers.
    pub limits: Part<Limits>,
    /// Timeouts.
    pub timeouts: Part<Timeouts>,
    /// Secret values outside of this file, which plugins are granted by name.
    #[schemars(extend("propertyNames" = Name::schema()))]
    pub secrets: BTreeMap<String, Part<Secret>>,
    /// Files that plugins read, by name: descriptions of services, tables, lists. They are watched for
    /// changes like this file.
    #[schemars(extend("propertyNames" = Name::schema()))]
    pub files: BTreeMap<String, Part<FileSource>>,
    /// Where plugins write lines, by name: `stdout`, `stderr` or a file.
    #[schemars(extend("propertyNames" = Name::schema()))]
    pub sinks: BTreeMap<String, Part<Sink>>,
    /// The state backend of plugins: counters of `rate-limit` and others.
    pub state: Part<State>,
    /// DNS resolution of endpoints.
    pub dns: Part<Dns>,
    /// The services behind the gateway, by name.
    #[schemars(extend("propertyNames" = Name::schema()))]
    pub upstreams: BTreeMap<String, Part<Upstream>>,
    /// Components beside the standard plugins, by name; or a standard plugin's name, to change its grants,
    /// limits or isolation.
    #[schemars(extend("propertyNames" = Name::schema()))]
    pub plugins: BTreeMap<String, Part<Plugin>>,
    /// Plugins that run before each route's own, on every route.
    pub global_plugins: Vec<Part<PluginUse>>,
    /// Routes. The most specific matching route wins, regardless of their order.
    pub routes: Vec<Part<Route>>,
}

/// Omitted options are inherited from the global `paths`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RoutePaths {
    /// Handling of paths with `%2F` or `%5C`.
    pub encoded_slashes: Option<EncodedSlashes>,
    /// Merge consecutive slashes.
    pub merge_slashes: Option<bool>,
    /// Handling of paths with `;name=value` in a segment.
    pub matrix_parameters: Option<MatrixParameters>,
}

/// Exactly one of `env` and `file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[schemars(extend("errorMessage" = "expected either `env: VARIABLE` or `file: PATH`"))]
pub(super) struct Secret {
    /// The name of an environment variable.
    pub env: Option<String>,
    /// A file; one line end at its end is not part of the secret.
    pub file: Option<String>,
}

/// `stdout`, `stderr`, or a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Sink {
    Standard(StandardSink),
    File(FileSink),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StandardSink {
    Stdout,
    Stderr,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileSink {
    /// The file to append to; reopened on reload and on SIGUSR1.
    pub file: String,
    /// Log rotation; disabled by default.
    #[schemars(extend("examples" = [{ "size": "100MiB", "keep": 5 }]))]
    pub rotate: Option<Rotate>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rotate {
    /// Maximum size of a file.
    #[serde(with = "ByteSize::<{ 4 * KIB }, TIB>")]
    pub size: u64,
    /// Number of rotated files to keep: `FILE.1`, the newest, to `FILE.5`.
    #[serde(default = "kept_files")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
}

fn kept_files() -> u32 {
    5
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Plugin {
    /// A WebAssembly component: a file, a URL with `https://` or `http://`, `oci://REGISTRY/REPOSITORY:TAG`, or `builtin:NAME` for
    /// a standard plugin.
    pub component: Option<Part<String>>,
    /// The SHA-256 of a component by its URL, in hexadecimal.
    pub sha256: Option<Part<String>>,
    /// Resources that the plugin can use.
    pub grants: Part<Grants>,
    pub limits: Part<PluginLimits>,
    pub isolation: Part<Isolation>,
}

/// A plugin that needs a grant which it does not have is not loaded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Grants {
    /// Upstreams that it may call.
    pub upstreams: Option<Vec<Part<String>>>,
    /// Buckets of the store.
    #[schemars(with = "Option<Vec<Name>>")]
    pub store: Option<Vec<Part<String>>>,
    /// Secrets, as a list of those that it may read, or as a mapping that says what it may do with each: `read`, or `use` for one
    /// that is only a key for the gateway's cryptography.
    pub secrets: Option<SecretGrants>,
    /// Sinks that it may write to.
    pub sinks: Option<Vec<Part<String>>>,
    /// Files that it may read.
    pub files: Option<Vec<Part<String>>>,
    /// Request headers and trailers that it may read and write, with `host` and `:path` (path and query), and `:method` to write;
    /// everything if left out.
    pub request_headers: Option<Part<NamedAccess>>,
    /// Response headers and trailers that it may read and write, and `:status` to write; everything if left out. What it may write
    /// applies to its own responses too.
    pub response_headers: Option<Part<NamedAccess>>,
    /// Bodies that it may read and write; all if left out.
    pub body: Option<Part<BodyAccess>>,
    /// Attributes that it may read and write; all if left out.
    pub attributes: Option<Part<NamedAccess>>,
}

/// Secrets that a plugin may read, or what it may do with each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SecretGrants {
    Names(Vec<Part<String>>),
    Access(BTreeMap<String, Part<SecretAccess>>),
}

/// What a plugin may do with a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SecretAccess {
    /// Read it, and use it as a key.
    #[default]
    Read,
    /// Use it as a key for signatures, encryption and derived keys, without reading it.
    Use,
}

/// A plugin's name, or its name and configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PluginUse {
    Name(String),
    Configured(ConfiguredUse),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(super) struct ConfiguredUse {
    /// A standard plugin, or one of `plugins`.
    pub name: Part<String>,
    /// The configuration of the plugin; see its documentation.
    #[schemars(with = "Anything")]
    pub config: Option<Value>,
    /// When the plugin itself fails: `fail` answers with 500, `skip` goes on without it and without the headers that it sets or
    /// removes. A request that is too large for the plugin's edits is never skipped past it.
    pub on_error: Part<OnError>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"], "anyOf" = [
    { "required": ["upstream"] }, { "required": ["split"] }, { "required": ["redirect"] }, { "required": ["respond"] }
]))]
pub(super) struct Route {
    /// In logs, metrics and messages.
    #[schemars(with = "Name")]
    pub name: Part<String>,
    /// All conditions must hold; every request matches if left out.
    #[serde(rename = "match")]
    pub matches: Part<Match>,
    /// Called in this order for requests, in reverse order for responses.
    pub plugins: Vec<Part<PluginUse>>,
    /// One of `upstreams`. A route has this, or `split`, or `redirect`, or `respond`.
    pub upstream: Option<Part<String>>,
    /// Several upstreams that share the requests by weight, for example for a canary deployment.
    #[schemars(length(min = 2))]
    pub split: Option<Vec<Part<Split>>>,
    /// A redirect.
    pub redirect: Option<Part<Redirect>>,
    /// A fixed response.
    pub respond: Option<Part<Respond>>,
    /// Protocols that clients may switch to in the middle of an HTTP/1.1 connection; none if left out.
    pub upgrades: Part<Vec<Upgrade>>,
    /// How to handle paths that services interpret differently.
    pub paths: Part<RoutePaths>,
    pub limits: Part<RouteLimits>,
    pub timeouts: Part<RouteTimeouts>,
}

/// A path, or another source of the contents.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum FileSource {
    Path(String),
    Reflected(ReflectedFile),
}

/// Descriptors of gRPC services by server reflection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ReflectedFile {
    /// The upstream to query by gRPC server reflection, at startup and at each reload.
    pub reflection: Part<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Match {
    /// Names or addresses of `listeners`. On these listeners, such a route goes before all routes without this condition.
    #[schemars(length(min = 1))]
    pub listeners: Option<Vec<Part<String>>>,
    /// `api.example.com`, or `*.example.com` for every name below; every host if left out.
    pub host: Option<Part<String>>,
    /// Several of them; any may match.
    #[schemars(length(min = 1))]
    pub hosts: Option<Vec<Part<String>>>,
    /// `/users/{id}`: `{name}` matches one segment, `{*name}` at the end all remaining segments.
    #[schemars(extend("default" = EVERY_PATH))]
    pub path: Option<Part<String>>,
    /// Instead of `path`: the endpoints that a plugin of this route declares for its configuration, such as
    /// the methods of a gRPC service. `methods` are then further ones, such as `OPTIONS` for `cors`.
    pub from_plugin: Option<Part<String>>,
    /// Any of them; every method if left out.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<Part<String>>>,
    /// Names and values that the request must have.
    pub headers: BTreeMap<String, Part<String>>,
    /// Names and values that the query must have.
    pub query: BTreeMap<String, Part<String>>,
}

/// What a route's `match.path` is if left out.
pub(super) const EVERY_PATH: &str = "/{*rest}";

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RouteLimits {
    /// A request's body.
    #[serde(with = "Optional::<BodyBytes>")]
    pub body_bytes: Option<u64>,
    /// A body that a plugin reads.
    #[serde(with = "Optional::<BufferBytes>")]
    pub buffer_bytes: Option<usize>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RouteTimeouts {
    /// As the general `request`.
    pub request: Option<RequestTimeout>,
    /// From the request's header section to the last byte of the response; no limit by default.
    #[serde(with = "Optional::<Wait>")]
    pub total: Option<Duration>,
    /// Idle time of an upgraded connection.
    #[serde(with = "Optional::<Wait>")]
    pub upgrade_idle: Option<Duration>,
}
