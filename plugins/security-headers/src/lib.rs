//! Tells browsers to be careful with what they get: security headers on every response.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use plugin_sdk::{
    Edit, Edits, Error, Plugin, Pointer, Problems, Request, Response, ResponseDecision, ResponseFilter, export_plugin,
    names,
    schemars::{Schema, SchemaGenerator, json_schema},
    serde_json::{self, Value},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What OWASP's secure headers project advises for any service, less what cannot be known here: a policy for
/// content must be made for the content, and whether every subdomain has TLS is for the operator to say.
const DEFAULTS: [(&str, &str); 7] = [
    (HSTS, "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-permitted-cross-domain-policies", "none"),
];

const HSTS: &str = "strict-transport-security";

/// Which headers responses get and lose. Without any option, sensible ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({
    "set": { "content-security-policy": "default-src 'self'", "x-frame-options": "SAMEORIGIN", "referrer-policy": false },
}))]
struct Config {
    /// Header and value, beside the defaults or in their place; `false` for a default that responses do not get.
    #[schemars(schema_with = "values")]
    set: BTreeMap<String, Value>,
    /// Headers that responses lose: what they say helps attackers only.
    remove: Vec<String>,
    /// Whether the upstream's own value of a header gives way. If not it stays.
    replace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { set: BTreeMap::new(), remove: vec!["server".into(), "x-powered-by".into()], replace: false }
    }
}

struct SecurityHeaders {
    over_https: Edits,
    over_http: Edits,
}

impl Plugin for SecurityHeaders {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut set: BTreeMap<String, String> =
            DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in config.set {
            let at = Pointer::from("/set").then(&name);
            problems.note(&at, names::check_settable_header(&name));
            let name = name.to_ascii_lowercase();
            match value {
                Value::Bool(false) => {
                    if set.remove(&name).is_none() {
                        problems.add(&at, "is no default, and so nothing to turn off; `remove` takes a header away");
                    }
                }
                Value::String(value) if is_value(&value) => {
                    set.insert(name, value);
                }
                _ => problems.add(&at, "must be a header's value in printable ASCII, or `false`"),
            }
        }
        for (i, name) in config.remove.iter().enumerate() {
            let at = Pointer::from("/remove").then(i);
            problems.note(&at, names::check_settable_header(name));
            if set.contains_key(&name.to_ascii_lowercase()) {
                problems.add(&at, "is set too; write `false` in `set` if it is a default that you do not want");
            }
        }
        let over_https = edits(&set, &config.remove, config.replace, true);
        let over_http = edits(&set, &config.remove, config.replace, false);
        problems.note("", Edits::check(&over_https));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { over_https: Edits::new(&over_https), over_http: Edits::new(&over_http) })
    }
}

impl ResponseFilter for SecurityHeaders {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let edits = if request.scheme() == "https" { &self.over_https } else { &self.over_http };
        edits.apply(request, Some(response), [])?;
        Ok(ResponseDecision::Next)
    }
}

export_plugin!(SecurityHeaders: response);

fn edits(set: &BTreeMap<String, String>, remove: &[String], replace: bool, https: bool) -> Vec<Edit> {
    let removed = remove.iter().map(|name| Edit::remove_response_header(name.as_str()));
    let set = set.iter().map(|(name, value)| {
        if name == HSTS && !https {
            // Browsers must ignore it there (RFC 6797 §7.2), and what an upstream says is about its own TLS.
            Edit::remove_response_header(name.as_str())
        } else if replace {
            Edit::set_response_header(name.as_str()).always(value.as_str())
        } else {
            Edit::default_response_header(name.as_str()).always(value.as_str())
        }
    });
    removed.chain(set).collect()
}

fn is_value(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "string" }, { "const": false }] } })
}
