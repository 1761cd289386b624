//! Secrets that are typed into a configuration, wherever its text is shown: to operators, in diffs, in messages and excerpts.
//!
//! Secrets belong into `secrets`, where a configuration only names them. What is typed all the same is found in the parsed
//! document: as the value of a key, a header field or a parameter of a URL that says what it is, by what a plugin's schema
//! says, or by how it looks.

mod document;
mod find;
mod masked;
mod names;
mod placeholder;
mod redact;
mod rules;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use masked::{Masked, Unmaskable};
pub use names::is_secret_field;
pub use redact::{Redaction, without_credentials};

/// What of a configuration is known that tells its secrets from other values.
#[derive(Debug, Clone, Default)]
pub struct Sensitive {
    /// The names of its `secrets`: such a value is a name, and no secret.
    names: BTreeSet<String>,
    /// Of plugins, by name: those schemas that speak of secrets.
    schemas: BTreeMap<String, Value>,
}

impl Sensitive {
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        Self { names: names.collect(), schemas: BTreeMap::new() }
    }

    /// Learns the schema of a plugin's configuration.
    pub(super) fn learn(&mut self, plugin: &str, schema: &Value) {
        if schema::has_secrets(schema) {
            self.schemas.insert(plugin.to_owned(), schema.clone());
        }
    }
}

#[cfg(test)]
mod tests;
