//! Durations as people write them in configurations.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A duration in a configuration, written `500ms`, `10s`, `1m`, `2h` or `1d`, in whole milliseconds.
///
/// ```
/// use std::time::Duration;
/// use plugin_sdk::{Span, serde_json};
///
/// let span: Span = serde_json::from_str("\"90s\"").unwrap();
/// assert_eq!(span, Span(Duration::from_secs(90)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// The largest first, so that the first that divides is the shortest way to write a value.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// Its whole seconds.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (digits, unit) = text.split_at(end);
        let millis = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        Some(Self(Duration::from_millis(digits.parse::<u64>().ok()?.checked_mul(millis)?)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match UNITS.iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", millis / unit),
            None => f.write_str("0s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a duration such as `1m`"))
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
            "errorMessage": "expected a duration such as `10s`, `1m` or `1d`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [("1ms", 1), ("1500ms", 1500), ("1s", 1000), ("90s", 90_000), ("2h", 7_200_000)] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span, Span(Duration::from_millis(millis)));
            assert_eq!(span.to_string(), text);
        }
        assert_eq!(Span::parse("24h").unwrap().to_string(), "1d");
        for wrong in ["", "1", "s", "-1s", "1.5s", "1m30s", "1 s", "99999999999999999999s", "99999999999999999d"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }
}
