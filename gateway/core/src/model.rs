//! What a configuration means, after every check: types that cannot be wrong. The rest of the gateway sees
//! only these. Where a JSON Schema can say all that is allowed, or nearly all (limits, timeouts, balancing, health checks, retries,
//! paths …), the type here is also the one that is read from the file; everything else has a type of its own in `gateway-config`,
//! which `check` translates.

mod action;
mod admin;
mod balance;
mod health;
mod identity;
mod limits;
mod listeners;
mod resilience;
mod tracing;
pub mod units;
mod upstream;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use action::*;
pub use admin::*;
pub use balance::*;
pub use health::*;
pub use limits::*;
pub use listeners::*;
pub use resilience::*;
pub use tracing::*;
pub use upstream::*;

pub use self::units::Percent;
use self::units::{ByteSize, GIB, HumanDuration, KIB, MINUTE};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Worker threads, each with its own listeners, upstream connections and plugin instances.
    pub workers: usize,
    pub listeners: Vec<Listener>,
    pub admin: Option<Admin>,
    pub log: Log,
    pub tracing: Option<Tracing>,
    /// Peers whose `Forwarded`, `X-Forwarded-*` and request identifiers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub secrets: BTreeMap<String, SecretSource>,
    /// For plugins, by name.
    pub files: BTreeMap<String, FileSource>,
    pub sinks: BTreeMap<String, SinkTarget>,
    pub state: StateBackend,
    pub dns: Dns,
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Every plugin that some route or the global list uses, by the name that YAML gives it.
    pub plugins: BTreeMap<String, Arc<Plugin>>,
    /// Run before each route's own, on every route.
    pub global_plugins: Vec<Arc<PluginUse>>,
    pub routes: Vec<Arc<Route>>,
    /// The files whose contents are part of the configuration: certificates, keys, authorities, secrets, components, what
    /// plugins read, and what was approved.
    pub files_read: Vec<PathBuf>,
}

/// Where the state of plugins is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBackend {
    Memory,
    Redis(Box<RedisServer>),
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    One(String),
    /// Some nodes.
    Cluster(Vec<String>),
    /// The host of the URL is the primary's name.
    Sentinels(String, Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    pub servers: RedisServers,
    pub username: Option<String>,
    /// The names of secrets: this one, and the others below.
    pub username_from: Option<String>,
    pub password: Option<String>,
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<String>,
    pub ca: Option<PathBuf>,
    pub prefix: String,
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; also for parts: `info,gateway::upstream=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

pub use gateway_rules::{
    data_grants::{BodyAccess, Data, DataAccess, DataGrants, DataUse, GrantedNames, NamedAccess},
    path::{EncodedSlashes, MatrixParameters, PathRule},
};

/// Where the contents of a file come from that plugins read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    Path(PathBuf),
    /// The descriptors of an upstream's gRPC services, by its own account.
    Reflection(Arc<Upstream>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Env(String),
    /// The file's bytes, less one trailing line end.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTarget {
    Stdout,
    Stderr,
    /// Appended to; opened anew on reload, for rotation by others.
    File {
        path: PathBuf,
        rotate: Option<Rotation>,
    },
}

/// A file that has `size` bytes is renamed to `FILE.1`, and those before it are counted up to `FILE.{keep}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    pub size: u64,
    pub keep: u32,
}

#[derive(Debug, PartialEq)]
pub struct Plugin {
    pub name: Arc<str>,
    pub component: ComponentSource,
    pub grants: Grants,
    pub limits: PluginLimits,
    pub isolation: Isolation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ComponentSource {
    /// One of the standard plugins in the binary.
    Builtin(String),
    File(PathBuf),
    /// A URL, and the SHA-256 that what it leads to has, in hexadecimal.
    Http {
        url: String,
        sha256: String,
    },
    /// `REGISTRY/REPOSITORY:TAG`, or `@sha256:DIGEST`.
    Oci(String),
}

/// What a plugin may touch. `Names::All` is only for the standard plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    pub upstreams: Names,
    pub store: Names,
    /// Secrets that it can read.
    pub secrets: Names,
    /// Secrets that the gateway uses as keys for it, and that it cannot read.
    pub secrets_to_use: Names,
    pub sinks: Names,
    pub files: Names,
    /// What of an exchange it can read and write; everything if `None`, so that nothing is looked up for it.
    pub data: Option<Box<DataGrants>>,
}

/// The kind under which unlimited access to headers, attributes and bodies is listed.
pub const ALL_DATA: &str = "data";

impl Grants {
    /// The data that is granted, by kind, as `gateway.lock` and the admin API list it.
    pub fn data_by_kind(&self) -> Vec<(&'static str, Vec<String>)> {
        match &self.data {
            None => vec![(ALL_DATA, vec!["*".to_owned()])],
            Some(data) => data.by_kind().into_iter().filter(|(_, names)| !names.is_empty()).collect(),
        }
    }

    /// Whether a secret can be a key. One that can be read is no better kept by denying this.
    pub fn allows_use(&self, secret: &str) -> bool {
        self.secrets_to_use.allows(secret) || self.secrets.allows(secret)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    All,
    Only(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Names {
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|n| n == name),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Memory of one instance.
    #[serde(with = "ByteSize::<{ 64 * KIB }, { 4 * GIB }>")]
    pub memory: usize,
    /// Running time of one call; waiting for the network, or for a processor, does not count.
    #[serde(with = "HumanDuration::<1, MINUTE>")]
    pub time: Duration,
    /// Instances for each configuration of the plugin, and so how many of its calls can wait at a time for an upstream, for Redis or
    /// for a password. As many again wait for an instance. Without it, as many as `limits.plugin-memory` and
    /// `limits.plugin-instances` of the gateway have room for.
    #[schemars(range(min = 1, max = 65_536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Calls after which an instance is replaced; 0 for never.
    pub max_calls: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory: 64 << 20, time: Duration::from_millis(50), instances: None, max_calls: 1_000_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Instances are reused, one call at a time.
    #[default]
    Shared,
    /// Each exchange has an instance of its own.
    Request,
}

/// A plugin in a list, with its configuration there.
#[derive(Debug, PartialEq)]
pub struct PluginUse {
    pub plugin: Arc<Plugin>,
    /// As JSON, `{}` if left out.
    pub config: serde_json::Value,
    pub on_error: OnError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The exchange fails with 500.
    #[default]
    Fail,
    /// The exchange goes on as if the plugin were not there.
    Skip,
}

#[derive(Debug, PartialEq)]
pub struct Route {
    /// Routes that a plugin has made have it in common.
    pub name: Arc<str>,
    /// What the plugin calls it that has made it.
    pub about: Option<Arc<str>>,
    pub matches: Match,
    pub paths: PathRule,
    /// The route's own, after the global ones.
    pub plugins: Vec<Arc<PluginUse>>,
    pub action: Action,
    pub body_bytes: u64,
    pub buffer_bytes: usize,
    pub timeout: RequestTimeout,
    /// From the head of the request to the last byte of the response.
    pub total_timeout: Option<Duration>,
    /// What clients may switch to.
    pub upgrades: Vec<Upgrade>,
    /// How long nothing may move after that.
    pub upgrade_idle: Duration,
}

/// A protocol to which an HTTP/1.1 connection can switch (RFC 9110 §7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Upgrade {
    Websocket,
}

impl Upgrade {
    /// Its name in `Upgrade`, in lower case.
    pub fn token(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
        }
    }
}

/// All conditions must hold. Lists are sorted and without repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Names of any of these; empty for every listener.
    pub listeners: Vec<Arc<str>>,
    /// Any of these; empty for every host.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Any of these; empty for every method.
    pub methods: Vec<Method>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Name and value, percent-decoded.
    pub query: Vec<(String, String)>,
}

/// Lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.com`, kept as `example.com`: one or more labels before it, as in Gateway API.
    Suffix(String),
}

/// A path as segments, in normalised form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// As typed.
    pub text: String,
    /// What stands between the slashes: `/` is one empty literal, `/a/` is `a` and an empty literal.
    pub segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// `{name}`: one segment, not empty.
    Parameter(String),
    /// `{*name}`: all that is left, also nothing; only at the end.
    Rest(String),
}
