//! The keyword of the JSON Schema for ranges of durations and sizes, which no keyword of the standard can express: `["1ms", "1d"]`.

use std::mem::discriminant;

use gateway_core::model::units::{Quantity, RANGE};
use jsonschema::{Draft, Keyword, ValidationError, Validator};
use serde_json::Value;

/// Compiles a schema with this keyword.
///
/// # Errors
///
/// The schema is not valid.
pub(super) fn validator(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_keyword(RANGE, |parent, _, _| Ok(Box::new(Range(Value::Object(parent.clone())))))
        .build(schema)
}

/// The schema with the keyword.
struct Range(Value);

impl<'i> Keyword<'i> for Range {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        match outside(&self.0, instance) {
            None => Ok(()),
            Some(outside) => Err(ValidationError::custom(outside.message)),
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        outside(&self.0, instance).is_none()
    }
}

/// A value that is out of its range.
pub(super) struct Outside {
    pub(super) message: String,
    /// The end of the range that is nearest to it.
    pub(super) nearest: String,
}

/// Compares a value with the range of its schema. What is no duration or size at all is said by other keywords.
pub(super) fn outside(schema: &Value, value: &Value) -> Option<Outside> {
    let end = |index: usize| Quantity::parse(schema.get(RANGE)?.get(index)?.as_str()?);
    let (least, most) = (end(0)?, end(1)?);
    let found = match value {
        Value::String(text) => Quantity::parse(text)?,
        Value::Number(number) => Quantity::Bytes(number.as_u64()?),
        _ => return None,
    };
    if discriminant(&found) != discriminant(&least) || (least..=most).contains(&found) {
        return None;
    }
    let nearest = if found < least { least } else { most };
    let message = format!("must be between {least} and {most}, found {found}");
    Some(Outside { message, nearest: nearest.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_within_its_range_or_the_nearest_end_is_known() {
        let nearest = |schema: &Value, value: Value| outside(schema, &value).map(|outside| outside.nearest);
        let time = json!({ "type": "string", RANGE: ["1ms", "10m"] });
        for (value, expected) in [
            (json!("1ms"), None),
            (json!("600s"), None),
            (json!("0s"), Some("1ms")),
            (json!("1000h"), Some("10m")),
            (json!("99999999999999999999d"), Some("10m")),
            (json!("off"), None),
            (json!("1KiB"), None),
            (json!("soon"), None),
            (json!(null), None),
        ] {
            assert_eq!(nearest(&time, value.clone()).as_deref(), expected, "{value}");
            assert_eq!(validator(&time).unwrap().is_valid(&value), expected.is_none() && value.is_string(), "{value}");
        }
        let size = json!({ RANGE: ["64B", "1KiB"] });
        for (value, expected) in [(json!(64), None), (json!(63), Some("64B")), (json!("1MiB"), Some("1KiB"))] {
            assert_eq!(nearest(&size, value.clone()).as_deref(), expected, "{value}");
        }
    }
}
