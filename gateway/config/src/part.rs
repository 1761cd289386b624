//! What the typed file is made of beside plain types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A part of the file that may be broken without taking the rest along: what is wrong with its shape has
/// been said by then, and everything else can still be checked.
#[derive(Debug)]
pub(super) struct Part<T>(pub Result<T, serde_json::Error>);

impl<T> Part<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }
}

impl<T: Default> Default for Part<T> {
    fn default() -> Self {
        Self(Ok(T::default()))
    }
}

impl<T: Serialize> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value)))
    }
}

impl<T: JsonSchema> JsonSchema for Part<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Any value at all, as editors understand it.
pub(super) struct Anything;

impl JsonSchema for Anything {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

/// Names end up in metrics, logs and buckets: short and plain.
pub(super) struct Name;

impl Name {
    pub(super) fn schema() -> Value {
        serde_json::json!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$",
            "errorMessage": "expected a name of up to 64 letters, digits, `-`, `_` and `.`",
        })
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Self::schema().try_into().expect("a mapping is a schema")
    }
}
