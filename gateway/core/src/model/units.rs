//! Durations, sizes and percentages as the configuration file writes them, each with its range.
//!
//! [`HumanDuration`] and [`ByteSize`] say how a field is written and what it may be: `#[serde(with = "HumanDuration::<1, DAY>")]`.
//! The JSON Schema has the range as [`RANGE`], which `check` reports with its place; reading such a field fails for a value
//! that is out of range, so there is none in a configuration in force.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use gateway_rules::units::{DURATIONS, parse, write};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// The keyword of the JSON Schema for a range of durations or sizes: `["1ms", "1d"]`, both ends included.
pub const RANGE: &str = "x-range";

/// In milliseconds, as the parameters of [`HumanDuration`] are.
pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
pub const TIB: u64 = 1 << 40;

/// What switches a limit off.
const OFF: &str = "off";

/// From the largest to the smallest, so that the first that divides is the shortest way to write a value.
const SIZES: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// A duration in milliseconds, or a size in bytes. What is more than 64 bits hold becomes the largest, which no range allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    Millis(u64),
    Bytes(u64),
}

impl Quantity {
    /// Reads `10s` or `64KiB`.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text, &DURATIONS).map(Self::Millis).or_else(|| parse(text, &SIZES).map(Self::Bytes))
    }

    fn of(duration: Duration) -> Self {
        Self::Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, units, zero) = match self {
            Self::Millis(millis) => (*millis, &DURATIONS, "0s"),
            Self::Bytes(bytes) => (*bytes, &SIZES, "0B"),
        };
        write(f, value, units, zero)
    }
}

/// A duration of `LEAST` to `MOST` milliseconds, written `500ms`, `10s`, `1m`, `2h`, `1d`.
pub struct HumanDuration<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> HumanDuration<LEAST, MOST> {
    const RANGE: [Quantity; 2] = [Quantity::Millis(LEAST), Quantity::Millis(MOST)];

    /// Writes it in the shortest way.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Quantity::of(*duration))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is no duration, or out of range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let millis = duration(&text, "a duration such as `10s`")?;
        within(Quantity::Millis(millis), &Self::RANGE)?;
        Ok(Duration::from_millis(millis))
    }
}

fn duration<E: de::Error>(text: &str, expected: &str) -> Result<u64, E> {
    parse(text, &DURATIONS).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &expected))
}

fn within<E: de::Error>(value: Quantity, [least, most]: &[Quantity; 2]) -> Result<(), E> {
    if value < *least || value > *most {
        return Err(E::custom(format_args!("expected {least} to {most}, found {value}")));
    }
    Ok(())
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for HumanDuration<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: `500ms`, `10s`, `1m`, `2h`, `1d`.",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "errorMessage": "expected a duration such as `500ms`, `10s` or `1m`",
            RANGE: Self::RANGE.map(|end| end.to_string()),
        })
    }
}

/// A duration as above, or `off` for none.
pub struct DurationOrOff<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> DurationOrOff<LEAST, MOST> {
    /// Writes it in the shortest way.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => HumanDuration::<LEAST, MOST>::serialize(duration, serializer),
            None => serializer.serialize_str(OFF),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is neither a duration nor `off`, or out of range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == OFF {
            return Ok(None);
        }
        let millis = duration(&text, "a duration such as `10s`, or `off`")?;
        within(Quantity::Millis(millis), &HumanDuration::<LEAST, MOST>::RANGE)?;
        Ok(Some(Duration::from_millis(millis)))
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for DurationOrOff<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DurationOrOff".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration such as `500ms`, `10s`, `1m`, `2h` or `1d`, or `off` for no limit.",
            "pattern": "^([0-9]+(ms|s|m|h|d)|off)$",
            "errorMessage": "expected a duration such as `500ms`, `10s` or `1m`, or `off`",
            RANGE: HumanDuration::<LEAST, MOST>::RANGE.map(|end| end.to_string()),
        })
    }
}

/// A size of `LEAST` to `MOST` bytes: `64KiB`, or a plain number.
pub struct ByteSize<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> ByteSize<LEAST, MOST> {
    const RANGE: [Quantity; 2] = [Quantity::Bytes(LEAST), Quantity::Bytes(MOST)];

    /// Writes it in the shortest way.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(size: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Quantity::Bytes((*size).try_into().unwrap_or(u64::MAX)))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is no size, out of range, or larger than this machine can address.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `64KiB`")
            }

            fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
                Ok(value)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                parse(text, &SIZES).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        let bytes = deserializer.deserialize_any(SizeVisitor)?;
        within(Quantity::Bytes(bytes), &Self::RANGE)?;
        T::try_from(bytes).map_err(|_| de::Error::custom("more bytes than this machine can address"))
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for ByteSize<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

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
            RANGE: Self::RANGE.map(|end| end.to_string()),
        })
    }
}

/// The same, for a field that may be left out.
pub struct Optional<T>(PhantomData<T>);

impl<const LEAST: u64, const MOST: u64> Optional<HumanDuration<LEAST, MOST>> {
    /// Writes one that is there.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => HumanDuration::<LEAST, MOST>::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads one that is there.
    ///
    /// # Errors
    ///
    /// Those of the duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        HumanDuration::<LEAST, MOST>::deserialize(deserializer).map(Some)
    }
}

impl<const LEAST: u64, const MOST: u64> Optional<ByteSize<LEAST, MOST>> {
    /// Writes one that is there.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        size: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => ByteSize::<LEAST, MOST>::serialize(size, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads one that is there.
    ///
    /// # Errors
    ///
    /// Those of the size.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        ByteSize::<LEAST, MOST>::deserialize(deserializer).map(Some)
    }
}

impl<T: JsonSchema> JsonSchema for Optional<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// From 0 to 100, written `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl Percent {
    /// Whether `part` of `whole` is such a share or more.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        part * 100 >= u64::from(self.0) * whole
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let percent = parse(&text, &[("%", 1)]).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 100);
        let expected = "a percentage such as `50%`";
        percent.map(Self).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
    }
}

impl JsonSchema for Percent {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    type AnyDuration = HumanDuration<0, { u64::MAX }>;
    type AnySize = ByteSize<0, { u64::MAX }>;

    fn size(value: &Value) -> serde_json::Result<u64> {
        AnySize::deserialize(value)
    }

    fn span(value: &Value) -> serde_json::Result<Duration> {
        AnyDuration::deserialize(value)
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("0B", 0), ("10B", 10), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1 << 30)] {
            assert_eq!(size(&json!(text)).unwrap(), bytes);
            assert_eq!(AnySize::serialize(&bytes, serde_json::value::Serializer).unwrap(), text);
        }
        assert_eq!(size(&json!(1500)).unwrap(), 1500);
        assert_eq!(size(&json!("99999999999999999999GiB")).unwrap(), u64::MAX);
        for wrong in [json!("64KB"), json!("KiB"), json!("-1B"), json!("1.5MiB"), json!(-1), json!(null), json!("5")] {
            assert!(size(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [
            ("1ms", 1),
            ("500ms", 500),
            ("1500ms", 1500),
            ("10s", 10_000),
            ("1m", 60_000),
            ("90m", 5_400_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(span(&json!(text)).unwrap(), Duration::from_millis(millis));
            assert_eq!(Quantity::Millis(millis).to_string(), text);
        }
        for wrong in [
            json!("1"),
            json!(1),
            json!("1m30s"),
            json!("s"),
            json!("1 s"),
            json!("-1s"),
            json!("1w"),
            json!("1.5h"),
            json!(""),
        ] {
            assert!(span(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_out_of_range_cannot_be_read() {
        type Short = HumanDuration<1, { 10 * SECOND }>;
        for (text, expected) in [("1ms", true), ("10s", true), ("0s", false), ("10001ms", false), ("1000h", false)] {
            assert_eq!(Short::deserialize(&json!(text)).is_ok(), expected, "{text}");
            assert_eq!(Optional::<Short>::deserialize(&json!(text)).is_ok(), expected, "{text}");
            assert_eq!(DurationOrOff::<1, { 10 * SECOND }>::deserialize(&json!(text)).is_ok(), expected, "{text}");
        }
        let message = Short::deserialize(&json!("1m")).unwrap_err().to_string();
        assert_eq!(message, "expected 1ms to 10s, found 1m");
        type Small = ByteSize<1, { 4 * KIB }>;
        for (value, expected) in [(json!(1), true), (json!("4KiB"), true), (json!(0), false), (json!("5KiB"), false)] {
            assert_eq!(Small::deserialize::<usize, _>(&value).is_ok(), expected, "{value}");
        }
    }

    #[test]
    fn the_schema_has_the_range() {
        let schema = HumanDuration::<1, { 10 * MINUTE }>::json_schema(&mut SchemaGenerator::default());
        assert_eq!(schema.get(RANGE), Some(&json!(["1ms", "10m"])));
        let schema = ByteSize::<64, 65_534>::json_schema(&mut SchemaGenerator::default());
        assert_eq!(schema.get(RANGE), Some(&json!(["64B", "65534B"])));
    }

    #[test]
    fn percentages_are_read_and_written() {
        for (text, percent) in [("0%", 0), ("7%", 7), ("100%", 100)] {
            assert_eq!(from_value::<Percent>(json!(text)).unwrap(), Percent(percent));
            assert_eq!(to_value(Percent(percent)).unwrap(), json!(text));
        }
        for wrong in [json!("101%"), json!("50"), json!(50), json!("%"), json!("-1%"), json!("1.5%")] {
            assert!(from_value::<Percent>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_can_be_off() {
        type Limit = DurationOrOff<1, DAY>;
        for (text, limit) in [("10s", Some(Duration::from_secs(10))), ("off", None)] {
            assert_eq!(Limit::deserialize(&json!(text)).unwrap(), limit);
            assert_eq!(Limit::serialize(&limit, serde_json::value::Serializer).unwrap(), text);
        }
        for wrong in [json!("none"), json!(false), json!(0), json!("Off")] {
            assert!(Limit::deserialize(&wrong).is_err(), "{wrong}");
        }
    }
}
