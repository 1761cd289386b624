//! Durations as people write them in configurations.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// The gateway's grammar.
#[path = "../../gateway/rules/src/units.rs"]
mod units;

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

impl Span {
    /// Its whole seconds.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    fn parse(text: &str) -> Option<Self> {
        // What is more than 64 bits hold is nothing that a plugin can wait for.
        let millis = units::parse(text, &units::DURATIONS).filter(|millis| *millis != u64::MAX)?;
        Some(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        units::write(f, millis, &units::DURATIONS, "0s")
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
