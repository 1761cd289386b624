//! Which data of an exchange a plugin may read and write.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::part::Part;

/// What may be read and written, by name. What is not listed is denied.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct NamedAccess {
    /// Names that it may read; one with `*` at its end stands for all that begin so. Anything else is absent for the plugin.
    #[schemars(extend("examples" = [["content-type", "x-acme-*"]]))]
    pub read: Vec<Part<String>>,
    /// Names that it may set, add to and remove. Other edits are refused.
    #[schemars(extend("examples" = [["x-acme-user"]]))]
    pub write: Vec<Part<String>>,
}

/// Which bodies may be read and replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct BodyAccess {
    /// Bodies that it may read, whole or as they pass. Messages of WebSockets are granted as `request` if clients send them, and as
    /// `response` if upstreams send them, as events do.
    pub read: Vec<Part<Message>>,
    /// Bodies that it may replace, or change as they pass, and messages; with `response` also the bodies of its own responses.
    pub write: Vec<Part<Message>>,
}

/// A message of an exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The request.
    #[default]
    Request,
    /// The response.
    Response,
}
