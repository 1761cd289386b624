//! What can be configured.

use plugin_sdk::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// JSON for a gRPC service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(example = serde_json::json!({ "descriptors": "bookstore" }))]
pub(crate) struct Config {
    /// The names of files with descriptors, as under `files` of the gateway's configuration: what `protoc --descriptor_set_out`
    /// writes, with `--include_imports`.
    pub(crate) descriptors: OneOrMany,
    /// The services that can be called, as `package.Service`; all of the files if left out.
    #[serde(default)]
    pub(crate) services: Vec<String>,
    /// Methods without a `google.api.http` rule are mapped to `POST /package.Service/Method`.
    #[serde(default = "yes")]
    pub(crate) auto_mapping: bool,
    /// How long the service may take for a call, unless the client says so itself in `grpc-timeout`.
    #[serde(default)]
    pub(crate) deadline: Option<Span>,
    /// Handling of unknown members of a body.
    #[serde(default)]
    pub(crate) unknown_fields: Treatment,
    /// Handling of unknown query parameters.
    #[serde(default)]
    pub(crate) unknown_parameters: Treatment,
    /// How fields are called in answers: as `lowerCamelCase`, or as the descriptors do. In requests both are understood.
    #[serde(default)]
    pub(crate) field_names: FieldNames,
    /// How values of enumerations are written in answers.
    #[serde(default)]
    pub(crate) enums: Enums,
    /// Whether answers have fields with their default values (0, `false`, empty).
    #[serde(default)]
    pub(crate) defaults: Defaults,
}

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
pub(crate) enum Treatment {
    /// The request is refused.
    #[default]
    Reject,
    Ignore,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FieldNames {
    #[default]
    Json,
    Proto,
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
pub(crate) enum Defaults {
    #[default]
    Omit,
    Include,
}

/// Handling of unknown fields and parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) fields: Treatment,
    pub(crate) parameters: Treatment,
}

fn yes() -> bool {
    true
}
