//! What a component says about itself, and what its imports say about it.

use std::collections::BTreeMap;

use gateway_core::model::DataUse;
use gateway_pipeline::Phases;

use crate::{bindings::Manifest, waits::Waits};

const NAME_BYTES: usize = 128;
const DESCRIPTION_BYTES: usize = 4096;
const SCHEMA_BYTES: usize = 256 * 1024;

/// A component, as far as it can be known before it runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The name that it gives itself: 1 to 128 bytes without control characters.
    pub name: String,
    /// Any text of at most 128 bytes, also none.
    pub version: String,
    /// For people; at most 4096 bytes.
    pub description: String,
    /// JSON Schema of its configuration; `None` for a plugin that takes none.
    pub config_schema: Option<serde_json::Value>,
    /// The phases that it exports functions for.
    pub phases: Phases,
    /// Which grants it needs.
    pub wants: Wants,
    /// The data of exchanges that its functions read and write.
    pub data: DataUse,
    /// Every function that it imports, by interface.
    pub imports: BTreeMap<String, Vec<String>>,
    /// The exported interfaces by which it gets bodies.
    pub body_exports: Vec<String>,
    /// Whether it can have timers.
    pub timers: bool,
    /// When its calls can wait.
    pub waits: Waits,
    /// Size of the component in bytes.
    pub size: usize,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
}

/// Which imports need a grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// It calls upstreams, fetches documents from them, or chooses where requests go.
    pub upstreams: bool,
    /// It keeps state, or stores responses.
    pub store: bool,
    /// It reads secrets.
    pub secrets: bool,
    /// It writes lines to sinks.
    pub sinks: bool,
    /// It reads files.
    pub files: bool,
}

/// A manifest that is sound, its schema parsed.
pub(crate) struct CheckedManifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) config_schema: Option<serde_json::Value>,
}

pub(crate) fn checked(manifest: Manifest) -> Result<CheckedManifest, String> {
    let Manifest { name, version, description, config_schema } = manifest;
    if name.is_empty() || !is_short(&name, NAME_BYTES) {
        return Err(format!("its name has to be 1 to {NAME_BYTES} bytes without control characters"));
    }
    if !is_short(&version, NAME_BYTES) {
        return Err(format!("its version is over {NAME_BYTES} bytes or has control characters"));
    }
    if description.len() > DESCRIPTION_BYTES {
        return Err(format!("its description is over {DESCRIPTION_BYTES} bytes"));
    }
    if config_schema.len() > SCHEMA_BYTES {
        return Err(format!("its configuration schema is over {SCHEMA_BYTES} bytes"));
    }
    let config_schema = match config_schema.trim() {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|error| format!("its configuration schema: {error}"))?),
    };
    if config_schema.as_ref().is_some_and(|schema: &serde_json::Value| !schema.is_object() && !schema.is_boolean()) {
        return Err("its configuration schema is neither an object nor a boolean".to_owned());
    }
    Ok(CheckedManifest { name, version, description, config_schema })
}

fn is_short(text: &str, limit: usize) -> bool {
    text.len() <= limit && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, schema: &str) -> Result<CheckedManifest, String> {
        checked(Manifest {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            config_schema: schema.to_owned(),
        })
    }

    #[test]
    fn an_empty_schema_means_no_configuration() {
        assert_eq!(manifest("jwt", " ").unwrap().config_schema, None);
        assert!(manifest("jwt", "{}").unwrap().config_schema.is_some());
    }

    #[test]
    fn an_unsound_manifest_is_refused() {
        assert!(manifest("", "").is_err());
        assert!(manifest("a\u{1b}[2J", "").is_err());
        assert!(manifest(&"a".repeat(200), "").is_err());
        assert!(manifest("jwt", "{").is_err());
        assert!(manifest("jwt", "3").is_err());
        assert!(manifest("jwt", &" ".repeat(SCHEMA_BYTES + 1)).is_err());
    }
}
