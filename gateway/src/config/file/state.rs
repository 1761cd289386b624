//! Where the plugins' state is, as it was typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{part::Part, units::Span};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct State {
    /// `memory`: of this process, forgotten at its end. `{ redis: { url: … } }`: of a server that several gateways share.
    pub backend: Part<Backend>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("errorMessage" = "expected `memory` or `{ redis: { url: redis://HOST:PORT } }`"))]
pub(in crate::config) enum Backend {
    /// The memory of this process.
    #[default]
    Memory,
    /// A Redis server or cluster.
    Redis(Redis),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(in crate::config) struct Redis {
    /// `redis://HOST:PORT`, or `rediss://HOST:PORT` over TLS; a database may follow as a path: `redis://HOST:PORT/2`.
    pub url: Option<String>,
    /// Some nodes of a cluster, instead of `url`; the others are found through them.
    pub cluster: Vec<String>,
    /// Who the gateway is to the server's access control.
    pub username: Option<String>,
    /// The name of the secret with the password.
    pub password: Option<String>,
    /// A file of authorities in PEM that are believed instead of the system's.
    pub ca: Option<String>,
    /// Before the name of every key.
    pub prefix: String,
    /// For each answer. Whoever asked goes on without one then.
    pub timeout: Span,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            cluster: Vec::new(),
            username: None,
            password: None,
            ca: None,
            prefix: "gateway:".to_owned(),
            timeout: Span::millis(50),
        }
    }
}
