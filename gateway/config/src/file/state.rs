//! Where the plugins' state is, as it was typed.

use std::time::Duration;

use gateway_core::model::units::{HumanDuration, SECOND};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::part::Part;

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct State {
    /// `memory`: local to this process, lost when it ends. `{ redis: { url: … } }`: a Redis server shared by
    /// several gateways.
    pub backend: Part<Backend>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("errorMessage" = "expected `memory` or `{ redis: { url: redis://HOST:PORT } }`"))]
pub(crate) enum Backend {
    /// The memory of this process.
    #[default]
    Memory,
    /// A Redis server, one that Sentinels monitor, or a cluster.
    Redis(Box<Redis>),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Redis {
    /// `redis://HOST:PORT`, or `rediss://HOST:PORT` over TLS; a database may follow as a path: `redis://HOST:PORT/2`.
    pub url: Option<String>,
    /// Some nodes of a Redis Cluster, instead of `url`; the others are discovered.
    pub cluster: Vec<String>,
    /// Sentinels, as URLs with their port. The host of `url` is then the name under which they monitor the primary:
    /// `redis://NAME`.
    pub sentinels: Vec<String>,
    /// The user of the server's access control.
    pub username: Option<String>,
    /// The name of a secret with the user, instead of `username`: for users that rotate together with their password.
    pub username_from: Option<String>,
    /// The name of the secret with the password. A secret in a file is read again before each connection.
    pub password: Option<String>,
    /// The user of the Sentinels' access control.
    pub sentinel_username: Option<String>,
    /// The name of the secret with the Sentinels' password.
    pub sentinel_password: Option<String>,
    /// A file of authorities in PEM that are trusted instead of the system's. It is read again before each connection.
    pub ca: Option<String>,
    /// Prefix of all keys.
    pub prefix: String,
    /// Timeout of each request to Redis.
    #[serde(with = "HumanDuration::<1, { 10 * SECOND }>")]
    pub timeout: Duration,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            cluster: Vec::new(),
            sentinels: Vec::new(),
            username: None,
            username_from: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            ca: None,
            prefix: "gateway:".to_owned(),
            timeout: Duration::from_millis(50),
        }
    }
}
