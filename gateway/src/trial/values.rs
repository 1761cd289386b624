//! Bodies and fields, as a file of cases writes them.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use gateway_core::model::units::{MIB, Quantity};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// Bytes of a body that is given by its size.
const MOST_BYTES: u64 = 64 * MIB;

/// Bytes, as text or otherwise: `some text`, `{ base64: 3q2+7w== }`, `{ hex: deadbeef }`, `{ repeat: ab, size: 1MiB }`.
#[derive(Debug, Clone)]
pub(super) struct ByteString(pub(super) Bytes);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
    Base64(InBase64),
    Hex(InHex),
    Repeated(Repeated),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InBase64 {
    base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InHex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeated {
    repeat: String,
    size: Size,
}

/// A number of bytes, or a size such as `1MiB`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "TypedSize")]
pub(super) struct Size(pub(super) u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum TypedSize {
    Number(u64),
    Text(String),
}

impl TryFrom<TypedSize> for Size {
    type Error = String;

    fn try_from(typed: TypedSize) -> Result<Self, String> {
        match typed {
            TypedSize::Number(bytes) => Ok(Self(bytes)),
            TypedSize::Text(text) => match Quantity::parse(&text) {
                Some(Quantity::Bytes(bytes)) => Ok(Self(bytes)),
                _ => Err(format!("`{text}` is not a size such as `1MiB`")),
            },
        }
    }
}

impl ByteString {
    fn read(written: Written) -> Result<Self, String> {
        Ok(Self(match written {
            Written::Text(text) => text.into(),
            Written::Number(number) => number.to_string().into(),
            Written::Truth(truth) => truth.to_string().into(),
            Written::Base64(InBase64 { base64 }) => {
                Base64::decode_vec(&base64).map_err(|_| format!("`{base64}` is not base64"))?.into()
            }
            Written::Hex(InHex { hex }) => from_hex(&hex).ok_or_else(|| format!("`{hex}` is not hexadecimal"))?.into(),
            Written::Repeated(Repeated { repeat, size: Size(size) }) => {
                if repeat.is_empty() || size > MOST_BYTES {
                    return Err(format!("`repeat` needs a text, and `size` is at most {MOST_BYTES} bytes"));
                }
                repeat.bytes().cycle().take(size as usize).collect::<Vec<_>>().into()
            }
        }))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        u8::try_from(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?).ok()
    };
    digits.chunks(2).map(byte).collect()
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("hex").is_some_and(Value::is_number) {
            return Err(D::Error::custom("the digits of `hex` need quotes: without them YAML reads a number"));
        }
        let shown = value.to_string();
        let written = serde_json::from_value(value).map_err(|_| {
            D::Error::custom(format!(
                "{shown}: expected a text, `{{ base64: … }}`, `{{ hex: … }}` or `{{ repeat: TEXT, size: 1MiB }}`"
            ))
        })?;
        Self::read(written).map_err(D::Error::custom)
    }
}

/// A body: `body: text`, or `json: value`.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) is_json: bool,
}

impl Content {
    pub(super) fn of(body: Option<&ByteString>, json: Option<&Value>) -> Self {
        match (body, json) {
            (Some(body), _) => Self { bytes: body.0.clone(), is_json: false },
            (None, Some(value)) => Self { bytes: value.to_string().into(), is_json: true },
            (None, None) => Self { bytes: Bytes::new(), is_json: false },
        }
    }
}

/// Names with a value, or several.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Fields(BTreeMap<String, OneOrMany>);

#[derive(Debug, Clone)]
struct OneOrMany(Vec<ByteString>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        let read = |value| serde_json::from_value(value).map_err(D::Error::custom);
        Ok(Self(values.into_iter().map(read).collect::<Result<_, _>>()?))
    }
}

impl Fields {
    /// A line for each value.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().flat_map(|(name, values)| values.0.iter().map(move |value| (name.as_str(), &*value.0)))
    }
}

/// Fields that are expected; null for one that must not be there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ExpectFields(BTreeMap<String, Option<OneOrMany>>);

impl ExpectFields {
    /// Each field with the values that it must have: none for one that must not be there.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Vec<&[u8]>)> {
        self.0.iter().map(|(name, values)| {
            let values = values.iter().flat_map(|values| values.0.iter().map(|value| &*value.0));
            (name.as_str(), values.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes_of(value: Value) -> Result<Vec<u8>, String> {
        serde_json::from_value::<ByteString>(value).map(|bytes| bytes.0.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_are_written_in_several_ways() {
        assert_eq!(bytes_of(json!("text")).unwrap(), b"text");
        assert_eq!(bytes_of(json!(7)).unwrap(), b"7");
        assert_eq!(bytes_of(json!({ "base64": "/+4=" })).unwrap(), [0xff, 0xee]);
        assert_eq!(bytes_of(json!({ "hex": "ff EE" })).unwrap(), [0xff, 0xee]);
        assert_eq!(bytes_of(json!({ "repeat": "ab", "size": 5 })).unwrap(), b"ababa");
        assert_eq!(bytes_of(json!({ "repeat": "a", "size": "1KiB" })).unwrap().len(), 1024);
    }

    #[test]
    fn what_is_not_bytes_is_an_error_that_shows_it() {
        for (value, expected) in [
            (json!({ "base64": "?" }), "`?` is not base64"),
            (json!({ "hex": "f" }), "`f` is not hexadecimal"),
            (json!({ "hex": "fg" }), "`fg` is not hexadecimal"),
            (json!({ "hex": 12 }), "need quotes"),
            (json!({ "repeat": "", "size": 1 }), "`repeat` needs a text"),
            (json!({ "repeat": "a", "size": "1GiB" }), "at most 67108864 bytes"),
            (json!({ "repeat": "a", "size": "much" }), "expected a text"),
            (json!({ "text": "a" }), "expected a text"),
        ] {
            let error = bytes_of(value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
