//! The operator's listener, as it was typed.

use gateway_core::model::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerTls;
use crate::part::Part;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Admin {
    /// IP address and port. Health and metrics need no authentication.
    pub address: String,
    /// Present for HTTPS.
    pub tls: Option<Part<ListenerTls>>,
    /// Access control of the admin API. By default, loopback clients have full access and all others are
    /// denied.
    #[serde(default)]
    pub access: Vec<Part<Access>>,
}

/// An operator, identified by a token or a certificate.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(crate) struct Access {
    /// The operator's name in the audit log.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The name of the secret that is sent as `Authorization: Bearer …`.
    pub token: Option<String>,
    /// A DNS name in the certificate that the client shows; needs `tls` with `client-certificates`.
    pub certificate: Option<String>,
    /// `read`: read-only access. `full`: also changes, and validating configurations, which reads files and
    /// runs plugins.
    pub role: Part<Role>,
}
