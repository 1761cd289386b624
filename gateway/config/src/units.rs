//! Sizes and durations as people write them.

use std::{borrow::Cow, fmt, time::Duration};

use gateway_core::model::Percent;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// Bytes: `64KiB`, or a plain number. What is more than 64 bits hold becomes the largest, which no range allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub u64);

/// `500ms`, `10s`, `1m`, `2h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub Duration);

/// A duration, or `off` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub Option<Span>);

/// A percentage: `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share(pub Percent);

/// What switches a limit off.
const OFF: &str = "off";

/// From the largest to the smallest, so that the first that divides is the shortest way to write a value.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Size {
    pub(super) const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub(super) const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Saturating: ranges are checked elsewhere.
    pub(super) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    pub(super) const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    pub(super) const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    if digits.is_empty() {
        return None;
    }
    Some(digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => f.write_str(zero),
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZES, "0B")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPANS, "0s")
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `64KiB`")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Size, E> {
                Ok(Size(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                parse(text, &SIZES).map(Size).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let millis = parse(&text, &SPANS);
        let expected = "a duration such as `10s`";
        let millis = millis.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(span) => span.serialize(serializer),
            None => serializer.serialize_str(OFF),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == OFF {
            return Ok(Self(None));
        }
        let millis = parse(&text, &SPANS);
        let expected = "a duration such as `10s`, or `off`";
        let millis = millis.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))?;
        Ok(Self(Some(Span::millis(millis))))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0.0)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let percent = parse(&text, &[("%", 1)]).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 100);
        let expected = "a percentage such as `50%`";
        let percent = percent.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))?;
        Ok(Self(Percent(percent)))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A percentage: `50%`.",
            "pattern": "^(100|[0-9]{1,2})%$",
            "errorMessage": "expected a percentage from `0%` to `100%`",
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "Bytes: `64KiB`, `10MiB`, or a plain number.",
            "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
            "minimum": 0,
            "errorMessage": "expected a size such as `64KiB` or `10MiB`",
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: `500ms`, `10s`, `1m`, `2h`, `1d`.",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "errorMessage": "expected a duration such as `500ms`, `10s` or `1m`",
        })
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration such as `500ms`, `10s`, `1m`, `2h` or `1d`, or `off` for no limit.",
            "pattern": "^([0-9]+(ms|s|m|h|d)|off)$",
            "errorMessage": "expected a duration such as `500ms`, `10s` or `1m`, or `off`",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("0B", 0), ("10B", 10), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1 << 30)] {
            assert_eq!(from_value::<Size>(json!(text)).unwrap(), Size(bytes));
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(from_value::<Size>(json!(1500)).unwrap(), Size(1500));
        assert_eq!(from_value::<Size>(json!("99999999999999999999GiB")).unwrap(), Size(u64::MAX));
        for wrong in [json!("64KB"), json!("KiB"), json!("-1B"), json!("1.5MiB"), json!(-1), json!(null), json!("5")] {
            assert!(from_value::<Size>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_those_of_plugins() {
        for (text, millis) in
            [("500ms", 500), ("10s", 10_000), ("90m", 5_400_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(from_value::<Span>(json!(text)).unwrap(), Span::millis(millis));
            assert_eq!(Span::millis(millis).to_string(), text);
        }
        for wrong in [json!("1w"), json!("1.5h"), json!("-1s"), json!("10"), json!(10), json!("1h30m")] {
            assert!(from_value::<Span>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentages_are_read_and_written() {
        for (text, percent) in [("0%", 0), ("7%", 7), ("100%", 100)] {
            assert_eq!(from_value::<Share>(json!(text)).unwrap(), Share(Percent(percent)));
            assert_eq!(Share(Percent(percent)).to_string(), text);
        }
        for wrong in [json!("101%"), json!("50"), json!(50), json!("%"), json!("-1%"), json!("1.5%")] {
            assert!(from_value::<Share>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_can_be_off() {
        for (text, limit) in [("10s", Some(Span::secs(10))), ("off", None)] {
            assert_eq!(from_value::<Limit>(json!(text)).unwrap(), Limit(limit));
            assert_eq!(serde_json::to_value(Limit(limit)).unwrap(), json!(text));
        }
        for wrong in [json!("none"), json!(false), json!(0), json!("Off")] {
            assert!(from_value::<Limit>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [("1ms", 1), ("1500ms", 1500), ("10s", 10_000), ("1m", 60_000), ("2h", 7_200_000)] {
            assert_eq!(from_value::<Span>(json!(text)).unwrap(), Span::millis(millis));
            assert_eq!(Span::millis(millis).to_string(), text);
        }
        assert_eq!(Span::secs(0).to_string(), "0s");
        for wrong in [json!("1"), json!(1), json!("1m30s"), json!("s"), json!("1 s"), json!("-1s")] {
            assert!(from_value::<Span>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
