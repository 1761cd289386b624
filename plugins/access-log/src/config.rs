//! The configuration as it is typed.

use std::{collections::BTreeMap, num::NonZeroU32};

use plugin_sdk::serde_json::Value;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where to write a line for each exchange, and what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The name of a sink in the gateway's configuration.
    #[schemars(length(min = 1))]
    pub sink: String,
    /// How a line is written.
    #[serde(default)]
    pub format: Format,
    /// What is written, in this order; with `format: json` only. A value that is missing leaves its member out.
    /// There is a default list.
    #[serde(default)]
    #[schemars(schema_with = "fields")]
    pub fields: Option<Vec<String>>,
    /// Field and the name that it gets in JSON, instead of the field with `_` for `.` and `-`.
    #[serde(default)]
    #[schemars(schema_with = "renames")]
    pub rename: BTreeMap<String, String>,
    /// Members that are the same on every line, before the others; with `format: json` only.
    #[serde(default, rename = "static")]
    #[schemars(schema_with = "constants")]
    pub constants: BTreeMap<String, Value>,
    /// Who the user is, in `common` and `combined`: a field such as `attribute.jwt.sub`.
    #[serde(default)]
    #[schemars(schema_with = "user")]
    pub user: Option<String>,
    /// Maximum size of values from requests and responses, such as `2KiB`; longer ones are truncated.
    #[serde(default)]
    pub max_value: Size,
    /// Of the exchanges that went well, one in so many is written; those that did not (status 400 and up, or a failure)
    /// all are.
    #[serde(default = "every_one")]
    pub sample: NonZeroU32,
    /// Names of query parameters whose values are written as `***`, wherever a query is written.
    #[serde(default = "secret_parameters")]
    pub redact_query: Vec<String>,
}

fn every_one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn secret_parameters() -> Vec<String> {
    ["access_token", "id_token", "api_key", "password"].map(str::to_owned).to_vec()
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// Common Log Format, as web servers write it.
    Common,
    /// Common Log Format with `Referer` and `User-Agent`.
    Combined,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub usize);

impl Default for Size {
    fn default() -> Self {
        Self(4096)
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match &text[digits.len()..] {
            "B" => 1,
            "KiB" => 1024,
            _ => 0,
        };
        let size = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
        match size {
            Some(size @ 1..=65536) => Ok(Self(size)),
            _ => Err(format!("`{text}` is not a size from 1B to 64KiB, such as 512B or 4KiB")),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[1-9][0-9]*(B|KiB)$",
            "description": "A number of bytes from 1B to 64KiB, such as 512B or 4KiB.",
        })
    }
}

fn field_pattern() -> String {
    let plain: Vec<String> = crate::source::PLAIN.iter().map(|(name, _)| name.replace('.', r"\.")).collect();
    format!(
        "^({}|(header|response\\.header)\\.[!#$%&'*+.^_`|~0-9A-Za-z-]+|(attribute|path)\\.[^\\x00-\\x20\\x7f]+)$",
        plain.join("|"),
    )
}

fn fields(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": ["array", "null"],
        "minItems": 1,
        "uniqueItems": true,
        "items": { "type": "string", "pattern": field_pattern() },
    })
}

fn user(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "null"], "pattern": field_pattern() })
}

fn renames(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": { "pattern": field_pattern() },
        "additionalProperties": { "type": "string", "minLength": 1 },
    })
}

fn constants(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
    })
}
