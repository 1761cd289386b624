//! The options of plugins that pass claims on.

use std::collections::BTreeMap;

use plugin_sdk::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Names of headers or attributes, and the claims that they get.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ClaimNames(pub BTreeMap<String, String>);

impl JsonSchema for ClaimNames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimNames".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
