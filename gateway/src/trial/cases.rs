//! The file of cases, as it is typed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TrialError;

/// What a plugin is asked, and what it is expected to do.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Cases {
    /// The component, from the file's folder.
    pub component: Option<PathBuf>,
    /// The plugin's configuration, where a case has none of its own.
    pub(super) config: Option<Value>,
    /// Granted for reading: values by name.
    pub(super) secrets: BTreeMap<String, String>,
    /// Granted as keys that cannot be read: values by name.
    pub(super) secrets_to_use: BTreeMap<String, String>,
    /// Granted: contents by name.
    pub(super) files: BTreeMap<String, String>,
    /// Granted buckets of the store.
    pub(super) store: Vec<String>,
    /// Granted sinks; what is written to them goes to standard error.
    pub(super) sinks: Vec<String>,
    /// Data of requests and responses that is granted, as in a configuration; all of it if left out.
    pub(super) grants: BTreeMap<DataGrant, Value>,
    /// Granted services beside the one behind the route, which is called `service`, with what they answer.
    pub(super) services: BTreeMap<String, ServiceResponse>,
    pub cases: Vec<Case>,
}

/// A key of `grants` that is about data. What it has is checked with the configuration that it becomes a part of.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DataGrant {
    RequestHeaders,
    ResponseHeaders,
    Body,
    Attributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "Typed")]
pub(crate) struct Case {
    pub name: String,
    pub(super) config: Option<Value>,
    /// At least one.
    pub(super) steps: Vec<Step>,
}

/// Either `steps`, or what one step has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Typed {
    name: String,
    config: Option<Value>,
    steps: Option<Vec<Step>>,
    request: Option<Asked>,
    service: Option<ServiceResponse>,
    expect: Option<Expect>,
}

impl TryFrom<Typed> for Case {
    type Error = String;

    fn try_from(typed: Typed) -> Result<Self, String> {
        let Typed { name, config, steps, request, service, expect } = typed;
        let steps = match (steps, request) {
            (Some(steps), None) if !steps.is_empty() && service.is_none() && expect.is_none() => steps,
            (None, Some(request)) => vec![Step { request, service, expect: expect.unwrap_or_default() }],
            _ => {
                return Err(format!(
                    "case `{name}`: give either `request`, with `service` and `expect`, or `steps` of these"
                ));
            }
        };
        Ok(Self { name, config, steps })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Step {
    pub(super) request: Asked,
    /// What the service behind the route answers.
    pub(super) service: Option<ServiceResponse>,
    #[serde(default)]
    pub(super) expect: Expect,
}

/// What the client sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Fields,
    body: Option<String>,
    json: Option<Value>,
    /// Its address.
    pub(super) client: Option<String>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: Fields::default(),
            body: None,
            json: None,
            client: None,
        }
    }
}

impl Case {
    /// A request that says nothing.
    pub(super) fn of(name: &str) -> Self {
        let step = Step { request: Asked::default(), service: None, expect: Expect::default() };
        Self { name: name.to_owned(), config: None, steps: vec![step] }
    }
}

/// What a service answers: 200 without a body, if nothing is said.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct ServiceResponse {
    pub(super) status: u16,
    pub(super) headers: Fields,
    body: Option<String>,
    json: Option<Value>,
}

impl Default for ServiceResponse {
    fn default() -> Self {
        Self { status: 200, headers: Fields::default(), body: None, json: None }
    }
}

impl Asked {
    pub(super) fn content(&self) -> Content {
        Content::of(self.body.as_deref(), self.json.as_ref())
    }
}

impl ServiceResponse {
    pub(super) fn content(&self) -> Content {
        Content::of(self.body.as_deref(), self.json.as_ref())
    }
}

/// A body: `body: text`, or `json: value`.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) is_json: bool,
}

impl Content {
    fn of(text: Option<&str>, json: Option<&Value>) -> Self {
        match (text, json) {
            (Some(text), _) => Self { bytes: text.to_owned().into(), is_json: false },
            (None, Some(value)) => Self { bytes: value.to_string().into(), is_json: true },
            (None, None) => Self { bytes: Bytes::new(), is_json: false },
        }
    }
}

/// Names with a value, or several.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Fields(BTreeMap<String, OneOrMany>);

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

/// A number is as good as text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

impl Fields {
    /// A line for each value.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().flat_map(|(name, values)| {
            let values = match values {
                OneOrMany::One(value) => vec![value.text()],
                OneOrMany::Many(values) => values.iter().map(Scalar::text).collect(),
            };
            values.into_iter().map(move |value| (name.as_str(), value))
        })
    }
}

/// Expectations; omitted ones are not checked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Expect {
    /// Whether the plugin answers, and the service is not asked.
    pub(super) answered: Option<bool>,
    /// What the service sees.
    pub(super) request: Option<ExpectRequest>,
    /// What the client gets.
    pub(super) response: Option<ExpectResponse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct ExpectRequest {
    pub(super) method: Option<String>,
    /// With its query.
    pub(super) path: Option<String>,
    /// Null for a field that must not be there.
    pub(super) headers: ExpectFields,
    pub(super) body: Option<String>,
    pub(super) json: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct ExpectResponse {
    pub(super) status: Option<u16>,
    /// Null for a field that must not be there.
    pub(super) headers: ExpectFields,
    pub(super) body: Option<String>,
    /// A part of the body.
    pub(super) contains: Option<String>,
    /// The body as JSON; of an object only what is named is looked at.
    pub(super) json: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ExpectFields(BTreeMap<String, Option<OneOrMany>>);

impl ExpectFields {
    /// Each field with the values that it must have: none for one that must not be there.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.0.iter().map(|(name, values)| {
            let values = match values {
                None => Vec::new(),
                Some(OneOrMany::One(value)) => vec![value.text()],
                Some(OneOrMany::Many(values)) => values.iter().map(Scalar::text).collect(),
            };
            (name.as_str(), values)
        })
    }
}

impl Cases {
    /// A request that says nothing, to a plugin with this configuration.
    pub(crate) fn bare(config: Option<Value>) -> Self {
        Self { config, cases: vec![Case::of("GET /")], ..Self::default() }
    }

    /// Reads a file of cases.
    ///
    /// # Errors
    ///
    /// It cannot be read, or not understood; with its name, and the place where there is one.
    pub(crate) fn read(file: &Path) -> Result<Self, TrialError> {
        let text = fs::read_to_string(file).map_err(|error| TrialError::Unreadable(file.to_owned(), error))?;
        let cases: Self =
            serde_yaml::from_str(&text).map_err(|error| TrialError::Malformed(file.to_owned(), error.into()))?;
        if cases.cases.is_empty() {
            return Err(TrialError::NoCases(file.to_owned()));
        }
        Ok(cases)
    }
}
