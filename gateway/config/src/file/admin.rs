//! The operator's listener, as it was typed.

use gateway_core::model::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerTls;
use crate::part::Part;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Admin {
    /// IP address and port. Whoever reaches it sees health and metrics.
    pub address: String,
    /// Present for HTTPS.
    pub tls: Option<Part<ListenerTls>>,
    /// Who may use the API. Without a list, whoever comes from a loopback address may do everything, and nobody else anything.
    #[serde(default)]
    pub access: Vec<Part<Access>>,
}

/// Somebody, known by a token or by a certificate.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(crate) struct Access {
    /// In the audit log.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The name of the secret that is sent as `Authorization: Bearer …`.
    pub token: Option<String>,
    /// A DNS name in the certificate that the client shows; needs `tls` with `client-certificates`.
    pub certificate: Option<String>,
    /// `read`: may look at everything. `full`: may also check configurations, which reads files and runs plugins, and change things.
    pub role: Part<Role>,
}
