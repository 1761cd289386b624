//! What a plugin's JSON Schema says about secrets in its configuration: `writeOnly` (JSON Schema validation §9.4), and
//! `format: password` (OpenAPI).

use serde_json::Value;

/// Schemas that hold for one value at the same time. More are not followed.
const MAX_SCHEMAS: usize = 64;

/// The schemas that may hold for a value, references and alternatives resolved.
#[derive(Clone, Default)]
pub(super) struct Schemas<'s> {
    root: Option<&'s Value>,
    all: Vec<&'s Value>,
}

/// Whether a schema says anything about secrets, anywhere.
pub(super) fn has_secrets(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => is_secret(schema) || map.values().any(has_secrets),
        Value::Array(items) => items.iter().any(has_secrets),
        _ => false,
    }
}

fn is_secret(schema: &Value) -> bool {
    schema["writeOnly"] == true || schema["format"] == "password"
}

impl<'s> Schemas<'s> {
    pub(super) fn root(schema: &'s Value) -> Self {
        let mut schemas = Self { root: Some(schema), all: Vec::new() };
        schemas.add(schema);
        schemas
    }

    pub(super) fn are_secret(&self) -> bool {
        self.all.iter().any(|schema| is_secret(schema))
    }

    /// Those of the value of a key.
    pub(super) fn key(&self, key: &str) -> Self {
        self.next(|schema| match schema["properties"].get(key) {
            Some(own) => vec![own],
            None => {
                let patterns = schema["patternProperties"].as_object().into_iter().flatten().map(|(_, schema)| schema);
                patterns.chain(schema.get("additionalProperties")).collect()
            }
        })
    }

    /// Those of an item of a list.
    pub(super) fn item(&self, index: usize) -> Self {
        self.next(|schema| match schema["prefixItems"].get(index) {
            Some(own) => vec![own],
            None => schema.get("items").into_iter().collect(),
        })
    }

    fn next(&self, step: impl Fn(&'s Value) -> Vec<&'s Value>) -> Self {
        let mut next = Self { root: self.root, all: Vec::new() };
        self.all.iter().flat_map(|schema| step(schema)).for_each(|schema| next.add(schema));
        next
    }

    fn add(&mut self, schema: &'s Value) {
        if self.all.len() >= MAX_SCHEMAS || self.all.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        self.all.push(schema);
        let referred = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        if let (Some(pointer), Some(root)) = (referred, self.root)
            && let Some(schema) = root.pointer(pointer)
        {
            self.add(schema);
        }
        for several in ["anyOf", "oneOf", "allOf"] {
            schema[several].as_array().into_iter().flatten().for_each(|schema| self.add(schema));
        }
        for one in ["then", "else"] {
            schema.get(one).into_iter().for_each(|schema| self.add(schema));
        }
    }
}
