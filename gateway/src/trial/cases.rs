//! The file of cases.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answers::{ServiceAnswer, StoreFault},
    error::TrialError,
    expect::Expect,
    messages::MessageStep,
    values::{ByteString, Content, Fields},
};

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
    /// Keeps the buckets of each case in this Redis, in place of the gateway's memory.
    pub(super) redis: Option<String>,
    /// Granted sinks; what is written to them goes to standard error.
    pub(super) sinks: Vec<String>,
    /// Data of requests and responses that is granted, as in a configuration; all of it if left out.
    pub(super) grants: BTreeMap<DataGrant, Value>,
    /// Granted services beside the one behind the route, which is called `service`, with what they answer.
    pub(super) services: BTreeMap<String, ServiceAnswer>,
    /// Everything is granted that has a name: for a component of which no more is known.
    #[serde(skip)]
    pub(super) grants_everything: bool,
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
    /// What is wrong with the store, if something is.
    pub(super) store: Option<StoreFault>,
    /// In place of what the file says about services of these names.
    pub(super) services: BTreeMap<String, ServiceAnswer>,
    /// At least one.
    pub(super) steps: Vec<Step>,
}

/// Either `steps`, or what one step has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Typed {
    name: String,
    config: Option<Value>,
    store: Option<StoreFault>,
    #[serde(default)]
    services: BTreeMap<String, ServiceAnswer>,
    steps: Option<Vec<Step>>,
    request: Option<Asked>,
    timer: Option<String>,
    #[serde(default)]
    messages: Vec<MessageStep>,
    service: Option<ServiceAnswer>,
    expect: Option<Expect>,
}

impl TryFrom<Typed> for Case {
    type Error = String;

    fn try_from(typed: Typed) -> Result<Self, String> {
        let Typed { name, config, store, services, steps, request, timer, messages, service, expect } = typed;
        let is_one = request.is_some() || timer.is_some();
        let steps = match steps {
            Some(steps)
                if !steps.is_empty() && !is_one && messages.is_empty() && service.is_none() && expect.is_none() =>
            {
                steps
            }
            None if is_one => {
                vec![Step {
                    request,
                    timer,
                    messages,
                    service,
                    services: BTreeMap::new(),
                    expect: expect.unwrap_or_default(),
                }]
            }
            _ => {
                return Err(format!(
                    "case `{name}`: give either `request` or `timer`, with `service` and `expect`, or `steps` of these"
                ));
            }
        };
        if steps.iter().any(|step| step.request.is_some() == step.timer.is_some()) {
            return Err(format!("case `{name}`: a step has either `request` or `timer`"));
        }
        for step in &steps {
            if !step.messages.is_empty() && step.request.is_none() {
                return Err(format!("case `{name}`: `messages` need a `request`, which is the handshake"));
            }
            if let Some(problem) = step.messages.iter().find_map(MessageStep::problem) {
                return Err(format!("case `{name}`: {problem}"));
            }
        }
        // A service has one address for the whole case.
        let in_steps = steps.iter().flat_map(|step| step.services.values().chain(&step.service));
        if let Some(word) = in_steps.filter(|_| steps.len() > 1).find_map(|answer| answer.needs_whole_case()) {
            return Err(format!("case `{name}`: `{word}` applies to a whole case: give it in `services` of the case"));
        }
        if steps.iter().filter_map(|step| step.service.as_ref()).any(|answer| answer.is_unknown()) {
            return Err(format!("case `{name}`: the service behind the route cannot be `unknown`"));
        }
        Ok(Self { name, config, store, services, steps })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Step {
    pub(super) request: Option<Asked>,
    /// In place of a request, the timer of this name is called.
    pub(super) timer: Option<String>,
    /// Those of a WebSocket, for which the request is the handshake. The service accepts it.
    #[serde(default)]
    pub(super) messages: Vec<MessageStep>,
    /// What the service behind the route answers.
    pub(super) service: Option<ServiceAnswer>,
    /// What other services answer from this step on.
    #[serde(default)]
    pub(super) services: BTreeMap<String, ServiceAnswer>,
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
    body: Option<ByteString>,
    json: Option<Value>,
    /// Its address.
    pub(super) client: Option<String>,
    /// The client disconnects when the service of this name has received a request.
    pub(super) disconnect_at: Option<String>,
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
            disconnect_at: None,
        }
    }
}

impl Asked {
    pub(super) fn get(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(super) fn content(&self) -> Content {
        Content::of(self.body.as_ref(), self.json.as_ref())
    }
}

impl Case {
    /// A request that says nothing.
    pub(super) fn of(name: &str) -> Self {
        let step = Step {
            request: Some(Asked::default()),
            timer: None,
            messages: Vec::new(),
            service: None,
            services: BTreeMap::new(),
            expect: Expect::default(),
        };
        Self { name: name.to_owned(), config: None, store: None, services: BTreeMap::new(), steps: vec![step] }
    }

    /// What each service beside the one behind the route answers, at first.
    pub(super) fn services<'a>(&'a self, cases: &'a Cases) -> BTreeMap<&'a str, &'a ServiceAnswer> {
        let all = cases.services.iter().chain(&self.services);
        all.map(|(name, answer)| (name.as_str(), answer)).collect()
    }

    /// How long the gateway waits for the store.
    pub(super) fn delay_of_store(&self) -> Duration {
        match self.store {
            Some(StoreFault::Slow(delay)) => delay,
            _ => Duration::ZERO,
        }
    }
}

impl Cases {
    /// A request that says nothing, to a plugin with this configuration.
    pub(crate) fn bare(config: Option<Value>) -> Self {
        Self { config, grants_everything: true, cases: vec![Case::of("GET /")], ..Self::default() }
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

    /// Keeps the buckets in this Redis, whatever the file says.
    pub(crate) fn keep_in_redis(&mut self, url: &str) {
        self.redis = Some(url.to_owned());
    }
}
