//! Which endpoint gets the next request, as the file writes it and as the gateway uses it.

use std::borrow::Cow;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `round-robin` and `random` respect weights; `least-request` takes, of two endpoints chosen at random, the
/// one with fewer active requests; `hash` is a consistent hash of the request's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastRequest,
    Random,
    /// Requests with the same key go to the same endpoint while it is available.
    Hash(HashKey),
}

/// What a request's key is. One that has none goes anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    ClientAddress,
    #[serde(with = "HeaderNameText")]
    Header(HeaderName),
    #[serde(deserialize_with = "cookie")]
    Cookie(String),
    /// One that a plugin set.
    #[serde(deserialize_with = "attribute")]
    Attribute(String),
}

/// A header's name as text.
struct HeaderNameText;

impl HeaderNameText {
    fn serialize<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &"the name of a header"))
    }
}

fn cookie<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    // RFC 6265 §4.1.1: a cookie's name is a token.
    named(deserializer, "the name of a cookie", |b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
}

fn attribute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    named(deserializer, "the name of an attribute", |b| !b.is_ascii_control() && b != b' ')
}

fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
    is_allowed: impl Fn(u8) -> bool,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || !text.bytes().all(is_allowed) {
        return Err(de::Error::invalid_value(de::Unexpected::Str(&text), &expected));
    }
    Ok(text)
}

impl JsonSchema for HashKey {
    fn schema_name() -> Cow<'static, str> {
        "HashKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`client-address` (as reported by trusted proxies), or one of `header`, `cookie` and `attribute`.",
            "anyOf": [
                { "type": "string", "enum": ["client-address"] },
                {
                    "type": "object",
                    "description": "Exactly one of `header`, `cookie` and `attribute`.",
                    "properties": {
                        "header": {
                            "type": "string",
                            "description": "A header of the request.",
                            "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
                            "errorMessage": "expected the name of a header",
                        },
                        "cookie": {
                            "type": "string",
                            "description": "A cookie of the request.",
                            "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
                            "errorMessage": "expected the name of a cookie",
                        },
                        "attribute": {
                            "type": "string",
                            "description": "An attribute that a plugin set, such as `jwt.sub`.",
                            "pattern": "^[^\\x00-\\x20\\x7f]+$",
                            "errorMessage": "expected the name of an attribute",
                        },
                    },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "errorMessage": "expected one of `header: NAME`, `cookie: NAME` and `attribute: NAME`",
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn balances_are_read_and_written() {
        for (written, balance) in [
            (json!("round-robin"), Balance::RoundRobin),
            (json!("least-request"), Balance::LeastRequest),
            (json!("random"), Balance::Random),
            (json!({ "hash": "client-address" }), Balance::Hash(HashKey::ClientAddress)),
            (json!({ "hash": { "header": "x-user" } }), Balance::Hash(HashKey::Header("x-user".parse().unwrap()))),
            (json!({ "hash": { "cookie": "id" } }), Balance::Hash(HashKey::Cookie("id".to_owned()))),
            (json!({ "hash": { "attribute": "jwt.sub" } }), Balance::Hash(HashKey::Attribute("jwt.sub".to_owned()))),
        ] {
            assert_eq!(from_value::<Balance>(written.clone()).unwrap(), balance);
            assert_eq!(to_value(&balance).unwrap(), written);
        }
        for wrong in [
            json!("hash"),
            json!({ "hash": {} }),
            json!({ "hash": { "header": "a", "cookie": "b" } }),
            json!({ "hash": { "header": "a b" } }),
            json!({ "hash": { "cookie": "a;b" } }),
            json!({ "hash": { "attribute": "" } }),
        ] {
            assert!(from_value::<Balance>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
