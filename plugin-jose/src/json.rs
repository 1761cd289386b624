//! JSON in which every name occurs once and nothing is nested without end.
//!
//! Two parsers may read `{"sub":"a","sub":"b"}` in two ways, and the gateway must not let in one user
//! whom the upstream takes for another (RFC 7519 §4, RFC 8725 §2.4).

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Deeper than claims ever are.
const MAX_DEPTH: usize = 16;

/// Reads an object.
pub fn object(json: &[u8]) -> Option<Map<String, Value>> {
    // As text, like the configuration: for bytes the parser would be in the component a second time.
    let json = with_long_integers_as_text(std::str::from_utf8(json).ok()?);
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Puts integers that 64 bits do not hold between quotation marks. As floats, many of them would be one number, and so many users
/// one user; as text each is itself, and is passed on with the digits that it has in the token.
fn with_long_integers_as_text(json: &str) -> Cow<'_, str> {
    const LONGEST: usize = 19;
    let bytes = json.as_bytes();
    let mut quoted = String::new();
    let (mut at, mut copied, mut in_string) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'-' | b'0'..=b'9' if !in_string => {
                let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = bytes[at..].iter().take_while(is_part).count();
                let number = &json[at..at + length];
                let digits = number.strip_prefix('-').unwrap_or(number);
                // What JSON does not allow stays, and is refused: leading zeros, and a number as a name.
                let is_integer = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
                let is_name = bytes[at + length..].trim_ascii_start().starts_with(b":");
                let is_long =
                    digits.len() >= LONGEST && number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
                if is_long && is_integer && !is_name {
                    quoted.push_str(&json[copied..at]);
                    quoted.extend(["\"", number, "\""]);
                    copied = at + length;
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    quoted.push_str(&json[copied..]);
    Cow::Owned(quoted)
}

/// A value inside so many others.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH { Ok(Self { depth: self.depth + 1 }) } else { Err(E::custom("nested too deeply")) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{MAX_DEPTH, object};

    #[test]
    fn every_kind_of_value_is_read() {
        let read = object(br#" {"a": [null, true, -1, 18446744073709551615, 1.5, "x\u0041"], "b": {}} "#);
        let expected = json!({ "a": [null, true, -1, u64::MAX, 1.5, "xA"], "b": {} });
        assert_eq!(read.as_ref(), expected.as_object());
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_at_any_depth_and_in_any_spelling() {
        assert_eq!(object(br#"{"a":1,"a":1}"#), None);
        assert_eq!(object(br#"{"a":[{"b":1,"\u0062":2}]}"#), None);
    }

    #[test]
    fn integers_of_any_length_stay_what_they_are() {
        let read = |text: &str| object(format!("{{\"a\":{text}}}").as_bytes()).map(|object| object["a"].clone());
        for (text, expected) in [
            ("18446744073709551616", json!("18446744073709551616")),
            ("-9223372036854775809", json!("-9223372036854775809")),
            ("-9223372036854775808", json!(i64::MIN)),
            ("[184467440737095516160 , 1]", json!(["184467440737095516160", 1])),
            (r#""\"184467440737095516160""#, json!("\"184467440737095516160")),
            ("1e2", json!(100.0)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["00000000000000000000001", "{184467440737095516160: 1}", "184467440737095516160-1", "-"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_some());
        assert!(object(nested(MAX_DEPTH + 1).as_bytes()).is_none());
    }

    #[test]
    fn what_is_not_exactly_one_object_is_refused() {
        for text in [&b""[..], b"[]", b"1", b"{} {}", b"{}x", b"{\"a\":1e999}", b"{'a':1}", b"{\"a\":\"\xff\"}"] {
            assert_eq!(object(text), None, "{text:?}");
        }
    }
}
