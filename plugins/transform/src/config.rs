//! The configuration as it is typed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// What to change about requests and responses.
///
/// Values are templates: text with placeholders such as `{path.id}` or `{header.user-agent|unknown}`, where what
/// follows `|` stands in for a value that is missing. `{{` and `}}` are braces.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Edits of the request, before the upstream sees it.
    pub request: RequestConfig,
    /// Edits of the response, before the client sees it.
    pub response: ResponseConfig,
}

/// Edits of the request. Headers are removed first, then renamed, set, and appended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestConfig {
    /// Names of headers to remove.
    #[schemars(schema_with = "names")]
    pub remove_headers: Vec<String>,
    /// Old name and new name. The values replace those that the new name had; without the old one nothing happens.
    #[schemars(schema_with = "renames")]
    pub rename_headers: BTreeMap<String, String>,
    /// Name and template. The value replaces those that the header had; where the template's value is missing
    /// the header is removed, so that a client cannot supply it.
    #[schemars(schema_with = "templates_by_header")]
    pub set_headers: BTreeMap<String, String>,
    /// Name and template. The value joins those that the header has; where it is missing nothing happens.
    #[schemars(schema_with = "templates_by_header")]
    pub append_headers: BTreeMap<String, String>,
    /// Edits of the path.
    pub path: PathConfig,
    /// Edits of the query.
    pub query: QueryConfig,
}

/// Edits of the response's headers. They are removed first, then renamed, set, and appended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ResponseConfig {
    /// Names of headers to remove.
    #[schemars(schema_with = "names")]
    pub remove_headers: Vec<String>,
    /// Old name and new name. The values replace those that the new name had; without the old one nothing happens.
    #[schemars(schema_with = "renames")]
    pub rename_headers: BTreeMap<String, String>,
    /// Name and template. The value replaces those that the header had; where it is missing the header is removed.
    #[schemars(schema_with = "templates_by_header")]
    pub set_headers: BTreeMap<String, String>,
    /// Name and template. The value joins those that the header has; where it is missing nothing happens.
    #[schemars(schema_with = "templates_by_header")]
    pub append_headers: BTreeMap<String, String>,
}

/// Edits of the path: a whole new one, or a replacement, or prefixes. The query stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathConfig {
    /// A template of the whole path, from the root. Values are percent-encoded; `{path.*NAME}` keeps the slashes
    /// of what a wildcard captured. Where a value is missing the request is answered with 400.
    #[schemars(schema_with = "path_template")]
    pub rewrite: Option<String>,
    /// What a regular expression matches gets another text.
    pub replace: Option<ReplaceConfig>,
    /// Removed from the front, if whole segments match: `/api` makes `/api/users` to `/users`, and leaves
    /// `/apis` alone.
    #[schemars(schema_with = "prefix")]
    pub strip_prefix: Option<String>,
    /// Put to the front, after `strip-prefix`.
    #[schemars(schema_with = "prefix")]
    pub add_prefix: Option<String>,
}

/// A replacement in the path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplaceConfig {
    /// A regular expression, in the syntax of the Rust crate `regex`. It sees the path as it is: normalised and
    /// percent-encoded.
    pub pattern: String,
    /// What the first match becomes: `$1` and `${name}` are what groups matched, `$$` is a dollar sign.
    pub with: String,
}

/// Edits of the query. Parameters are removed first, then renamed and set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct QueryConfig {
    /// Names of parameters to remove, percent-decoded.
    pub remove: Vec<String>,
    /// Old name and new name.
    pub rename: BTreeMap<String, String>,
    /// Name and template. The value, percent-encoded, replaces those that the parameter had; where it is missing
    /// the parameter is removed.
    #[schemars(schema_with = "templates")]
    pub set: BTreeMap<String, String>,
}

/// The edits of headers, which requests and responses have in common.
pub struct HeadersConfig<'a> {
    pub remove: &'a [String],
    pub rename: &'a BTreeMap<String, String>,
    pub set: &'a BTreeMap<String, String>,
    pub append: &'a BTreeMap<String, String>,
}

impl RequestConfig {
    pub fn headers(&self) -> HeadersConfig<'_> {
        HeadersConfig {
            remove: &self.remove_headers,
            rename: &self.rename_headers,
            set: &self.set_headers,
            append: &self.append_headers,
        }
    }
}

impl ResponseConfig {
    pub fn headers(&self) -> HeadersConfig<'_> {
        HeadersConfig {
            remove: &self.remove_headers,
            rename: &self.rename_headers,
            set: &self.set_headers,
            append: &self.append_headers,
        }
    }
}

/// A token (RFC 9110 §5.6.2).
const NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// Braces in pairs, and nothing that a header cannot carry.
const TEMPLATE: &str = r"^([^{}\x00-\x1f\x7f]|\t|\{\{|\}\}|\{[^{}]+\})*$";

fn names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "array", "items": { "type": "string", "pattern": NAME } })
}

fn renames(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": { "type": "string", "pattern": NAME },
    })
}

fn templates_by_header(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": { "type": "string", "pattern": TEMPLATE },
    })
}

fn templates(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string", "pattern": TEMPLATE },
    })
}

fn path_template(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "pattern": r"^/([^{}?#\x00-\x20\x7f]|\{\{|\}\}|\{[^{}]+\})*$",
    })
}

fn prefix(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "pattern": r"^(/[^/?#{}\x00-\x20\x7f]+)+$" })
}
