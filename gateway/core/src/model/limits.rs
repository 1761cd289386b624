//! General limits and timeouts, as the file writes them and as the gateway uses them. The doc comments of the fields are what editors
//! show.

use std::{borrow::Cow, time::Duration};

use gateway_rules::bounds::Received;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::{ByteSize, DAY, DurationOrOff, GIB, HOUR, HumanDuration, KIB, MIB, MINUTE, Optional, SECOND, TIB};

/// What a request's body may have, in general and on a route.
pub type BodyBytes = ByteSize<1, TIB>;

/// What a body that a plugin reads may have, in general and on a route.
pub type BufferBytes = ByteSize<1, GIB>;

/// What all plugins' instances may use together.
pub type PluginMemory = ByteSize<{ 16 * MIB }, TIB>;

/// How long something may be waited for.
pub type Wait = HumanDuration<1, DAY>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Limits {
    /// Request line and headers of a request, as the client sends it. Plugins can add as much again and 64 KiB more.
    #[serde(with = "ByteSize::<KIB, MIB>")]
    pub header_bytes: usize,
    /// Header lines of a request, as the client sends it. Plugins can add as many again and 256 more.
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: usize,
    /// Path and query, as the client sends it. Plugins can add as much again and 8 KiB more.
    // The upper end is the `http` crate's.
    #[serde(with = "ByteSize::<64, 65_534>")]
    pub uri_bytes: usize,
    /// Maximum size of a request body; a route can override it.
    #[serde(with = "BodyBytes")]
    pub body_bytes: u64,
    /// Maximum size of a body that a plugin buffers; a route can override it.
    #[serde(with = "BufferBytes")]
    pub buffer_bytes: usize,
    /// Memory for all cached responses.
    #[serde(with = "ByteSize::<0, TIB>")]
    pub cache_bytes: u64,
    /// Memory for the state of plugins such as `rate-limit`. Each bucket and route has an equal share and can
    /// use memory that others leave free. A single value can take 1/16 of it.
    // With less, a shard has no room for a long key and a value.
    #[serde(with = "ByteSize::<MIB, TIB>")]
    pub store_bytes: usize,
    /// Memory for the instances of all plugins, workers and routes together, as they use it. Idle instances are dropped to stay below
    /// it, and calls wait for an instance until there is room. Without it, half of the memory that the process may use: the limit of
    /// its cgroup, or the memory of the machine if that is less.
    #[serde(with = "Optional::<PluginMemory>", skip_serializing_if = "Option::is_none")]
    pub plugin_memory: Option<usize>,
    /// Plugin instances of all plugins, workers and routes together. Without it, as many as the system has room for: 8,000, or
    /// `vm.max_map_count` ÷ 12 if that is less.
    #[schemars(range(min = 16, max = 8_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_instances: Option<usize>,
    /// Open client connections. Fewer if the file descriptor limit is below twice this number: half of the
    /// descriptors are reserved for upstreams.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: usize,
    /// Concurrent HTTP/2 streams of one connection.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent_streams: u32,
}

impl Limits {
    /// Client connections where nothing is configured and there are enough file descriptors.
    pub const CONNECTIONS: usize = 16_384;
}

impl Default for Limits {
    fn default() -> Self {
        let Received { header_bytes, header_count, uri_bytes, buffer_bytes } = Received::default();
        Self {
            header_bytes,
            header_count,
            uri_bytes,
            body_bytes: 10 * MIB,
            buffer_bytes,
            cache_bytes: 128 * MIB,
            store_bytes: 256 << 20,
            plugin_memory: None,
            plugin_instances: None,
            connections: Self::CONNECTIONS,
            max_concurrent_streams: 128,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Timeouts {
    /// TLS handshake and head of a request.
    #[serde(with = "HumanDuration::<1, { 10 * MINUTE }>")]
    pub header_read: Duration,
    /// Idle time of a keep-alive connection without a request.
    #[serde(with = "Wait")]
    pub idle: Duration,
    /// Time until the response begins: from the last byte of the request, or from its header section while
    /// the service does not read the body; `off` for no limit. While the client sends a body, `body` applies
    /// instead. The `grpc-timeout` of a gRPC client replaces the default and can shorten a configured value.
    /// A route can override it.
    pub request: RequestTimeout,
    /// Time between two chunks of a body.
    #[serde(with = "Wait")]
    pub body: Duration,
    /// Idle time of an upgraded connection; a route can override it.
    #[serde(with = "Wait")]
    pub upgrade_idle: Duration,
    /// At a start or a reload: how long the documents that plugins declare, such as key sets, are awaited before the
    /// configuration becomes active. They are fetched in parallel; when the time is over, the configuration becomes
    /// active without those that are missing. `0s`: they are not awaited.
    #[serde(with = "HumanDuration::<0, MINUTE>")]
    pub initial_fetch: Duration,
    /// On SIGTERM and SIGQUIT: how long connections are still accepted while `/readyz` responds with 503, so
    /// that load balancers stop sending requests; HTTP/1.1 responses carry `Connection: close`, and HTTP/2
    /// clients get a GOAWAY. Then `drain` begins.
    #[serde(with = "HumanDuration::<0, HOUR>")]
    pub drain_delay: Duration,
    /// How long a shutdown waits for active requests.
    #[serde(with = "HumanDuration::<0, HOUR>")]
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            request: RequestTimeout::default(),
            body: Duration::from_secs(60),
            upgrade_idle: Duration::from_secs(300),
            initial_fetch: Duration::from_secs(5),
            drain_delay: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}

/// How long the head of a response is awaited, once the request has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimeout {
    /// `None` for no limit.
    pub limit: Option<Duration>,
    /// Nothing was configured, so that a client that knows better may say so.
    pub is_default: bool,
}

/// As it is written.
type Written = DurationOrOff<1, DAY>;

impl RequestTimeout {
    const DEFAULT: Duration = Duration::from_millis(60 * SECOND);

    /// For calls that no client waits for.
    pub fn bounded(self) -> Duration {
        self.limit.unwrap_or(Self::DEFAULT)
    }
}

impl Default for RequestTimeout {
    fn default() -> Self {
        Self { limit: Some(Self::DEFAULT), is_default: true }
    }
}

impl Serialize for RequestTimeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::serialize(&self.limit, serializer)
    }
}

impl<'de> Deserialize<'de> for RequestTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { limit: Written::deserialize(deserializer)?, is_default: false })
    }
}

impl JsonSchema for RequestTimeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}
