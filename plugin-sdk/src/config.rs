//! From the YAML's JSON to the author's type, with every problem at its place.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;

use crate::Plugin;

/// The configuration of a plugin that has nothing to configure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Deserializes an option that was given, for `#[serde(default, deserialize_with = "plugin_sdk::given")]`. Refuses
/// `null`, which YAML makes of a key without a value: a check must not be lost by a slip.
///
/// # Errors
///
/// Those of the value.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is wrong with one value of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// JSON Pointer (RFC 6901) to the value; empty for the whole configuration.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything that is wrong with a configuration: an operator wants to see it all at once.
///
/// ```
/// use plugin_sdk::{Pointer, Problems};
///
/// fn check(limits: &[(&str, u32)]) -> Result<(), Problems> {
///     let mut problems = Problems::default();
///     for (name, limit) in limits {
///         if *limit == 0 {
///             problems.add(Pointer::root().then("limits").then(name), "must be at least 1");
///         }
///     }
///     problems.or(())
/// }
///
/// let problems = check(&[("a/b", 0), ("c", 1), ("d", 0)]).unwrap_err();
/// assert_eq!(problems.to_string(), "/limits/a~1b: must be at least 1\n/limits/d: must be at least 1");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<ConfigProblem>);

impl Problems {
    /// One problem.
    pub fn one(at: impl Into<Pointer>, message: impl Display) -> Self {
        let mut problems = Self::default();
        problems.add(at, message);
        problems
    }

    /// Notes a problem; a pointer may be given as text, such as `"/keys/0"`.
    pub fn add(&mut self, at: impl Into<Pointer>, message: impl Display) {
        self.0.push(ConfigProblem { pointer: at.into().0, message: message.to_string() });
    }

    /// The value of a result, or else a note of its error, so that checking can go on.
    pub fn note<T, E: Display>(&mut self, at: impl Into<Pointer>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(at, error)).ok()
    }

    /// The value if nothing was noted.
    ///
    /// # Errors
    ///
    /// The problems, if there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order in which they were noted.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigProblem> {
        self.0.iter()
    }
}

impl Extend<ConfigProblem> for Problems {
    fn extend<I: IntoIterator<Item = ConfigProblem>>(&mut self, problems: I) {
        self.0.extend(problems);
    }
}

impl IntoIterator for Problems {
    type Item = ConfigProblem;
    type IntoIter = std::vec::IntoIter<ConfigProblem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ConfigProblem { pointer, message }) in self.0.iter().enumerate() {
            let line_end = if i > 0 { "\n" } else { "" };
            let colon = if pointer.is_empty() { "" } else { ": " };
            write!(f, "{line_end}{pointer}{colon}{message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A JSON Pointer (RFC 6901) under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// The whole configuration.
    pub fn root() -> Self {
        Self::default()
    }

    /// The value under a key, or at a position counted from 0.
    #[must_use]
    pub fn then(&self, segment: impl Display) -> Self {
        Self(format!("{}/{}", self.0, segment.to_string().replace('~', "~0").replace('/', "~1")))
    }
}

impl From<&str> for Pointer {
    fn from(pointer: &str) -> Self {
        Self(pointer.to_owned())
    }
}

impl From<&Pointer> for Pointer {
    fn from(pointer: &Pointer) -> Self {
        pointer.clone()
    }
}

impl Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a configuration and makes the plugin.
pub(crate) fn configure<P: Plugin>(json: &str) -> Result<P, Problems> {
    // The host passes `{}` for a configuration that was left out; a host that passes nothing means the same.
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = error.path().iter().fold(Pointer::root(), |pointer, segment| match segment {
            Segment::Seq { index } => pointer.then(index),
            Segment::Map { key } => pointer.then(key),
            Segment::Enum { variant } => pointer.then(variant),
            Segment::Unknown => pointer,
        });
        let error = error.into_inner();
        // The position in the JSON means nothing to the operator, who wrote YAML.
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        Problems::one(pointer, message.strip_suffix(&position).unwrap_or(&message))
    })?;
    P::new(config)
}

/// The JSON Schema (2020-12) of a plugin's configuration.
pub(crate) fn schema<P: Plugin>() -> String {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.into_generator().into_root_schema_for::<P::Config>().as_value().to_string()
}
