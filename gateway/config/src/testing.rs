//! A catalog of plugins that do not exist, for tests of this room.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use gateway_core::model::{ComponentSource, Data, DataAccess, DataUse, Plugin};
use gateway_pipeline::Phases;
use serde_json::{Value, json};

use crate::catalog::{Catalog, CatalogError, PluginEndpoint, PluginFacts, PluginProblem, Wants};

#[derive(Default)]
pub(super) struct Fake {
    builtins: BTreeMap<String, Arc<PluginFacts>>,
    /// By file name.
    files: BTreeMap<String, Arc<PluginFacts>>,
    /// How often a plugin was asked about a configuration.
    pub(super) asked: usize,
}

impl Fake {
    /// The standard plugins' names with small schemas, and a few components.
    pub(super) fn standard() -> Self {
        let jwt = json!({
            "type": "object",
            "properties": {
                "issuer": { "type": "string" },
                "leeway-seconds": { "type": "integer", "minimum": 0, "maximum": 300 },
                "keys": { "oneOf": [
                    { "type": "object", "properties": { "jwks": { "type": "object" } }, "required": ["jwks"],
                      "additionalProperties": false },
                    { "type": "array", "items": { "$ref": "#/$defs/Key" } },
                ] },
            },
            "required": ["issuer"],
            "additionalProperties": false,
            "$defs": { "Key": { "type": "object", "properties": { "alg": { "enum": ["HS256", "RS256"] } } } },
        });
        let rate_limit = json!({
            "type": "object",
            "properties": { "limit": { "type": "integer", "minimum": 1 }, "per": { "type": "string" } },
            "required": ["limit", "per"],
            "additionalProperties": false,
        });
        let everything = Wants { upstreams: true, store: true, secrets: true, sinks: true, files: true };
        Self::default()
            .builtin("jwt", PluginFacts { wants: everything, ..plugin(jwt) })
            .builtin("rate-limit", plugin(rate_limit))
            .builtin("access-log", plugin(json!(true)))
            .builtin("transform", plugin(Value::Null))
            .file(
                "geo.wasm",
                PluginFacts { wants: everything, ..plugin(json!({ "properties": { "deny": { "type": "array" } } })) },
            )
            .file("bodies.wasm", PluginFacts { data: uses(), body_exports: body_exports(), ..plugin(Value::Null) })
            .file("plain.wasm", plugin(Value::Null))
            .file("odd.wasm", plugin(json!({ "type": "strnig" })))
    }

    /// The same, and plugins whose order matters.
    pub(super) fn ordered() -> Self {
        let names = ["acl", "basic-auth", "cache", "cors", "transform"];
        names.into_iter().fold(Self::standard(), |fake, name| fake.builtin(name, plugin(json!(true))))
    }

    pub(super) fn builtin(mut self, name: &str, facts: PluginFacts) -> Self {
        self.builtins.insert(name.to_owned(), Arc::new(facts));
        self
    }

    pub(super) fn file(mut self, name: &str, facts: PluginFacts) -> Self {
        self.files.insert(name.to_owned(), Arc::new(facts));
        self
    }
}

pub(super) fn plugin(config_schema: Value) -> PluginFacts {
    PluginFacts {
        name: "fake".to_owned(),
        version: "1.0.0".to_owned(),
        description: "A plugin that does nothing.".to_owned(),
        config_schema,
        phases: Phases { request: true, ..Phases::default() },
        wants: Wants::default(),
        data: DataUse::default(),
        body_exports: Vec::new(),
        warning: None,
    }
}

/// What a component uses that reads headers of requests, writes those of responses, and exports two body filters.
fn uses() -> DataUse {
    let mut uses = DataUse::default();
    uses.add(Data::RequestHeaders, DataAccess::Read);
    uses.add(Data::ResponseHeaders, DataAccess::Write);
    uses.add(Data::RequestBody, DataAccess::Read);
    for access in DataAccess::ALL {
        uses.add(Data::ResponseBody, access);
    }
    uses
}

fn body_exports() -> Vec<String> {
    ["gateway:plugin/request-body-filter@0.2.0", "gateway:plugin/response-stream@0.2.0"].map(str::to_owned).to_vec()
}

impl Catalog for Fake {
    fn open(&mut self, source: &ComponentSource) -> Result<Arc<PluginFacts>, CatalogError> {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match source {
            ComponentSource::Builtin(name) => {
                self.builtins.get(name).cloned().ok_or_else(|| CatalogError::component("no such builtin"))
            }
            ComponentSource::File(path) => {
                let missing = || {
                    let path = path.display();
                    CatalogError::component(format!("cannot read component `{path}`: there is no such file"))
                };
                self.files.get(&name(path)).cloned().ok_or_else(missing)
            }
            ComponentSource::Http { .. } | ComponentSource::Oci(_) => {
                Err(CatalogError::component("no component is available here"))
            }
        }
    }

    /// Refuses every text `refuse-me` under the configuration's first level.
    fn configure(&mut self, _: &Plugin, config: &Value) -> Result<(), Vec<PluginProblem>> {
        self.asked += 1;
        let refused = config.as_object().into_iter().flatten().filter(|(_, value)| *value == "refuse-me");
        let problem = |(key, _): (&String, _)| PluginProblem {
            pointer: format!("/{key}"),
            message: "is not to my taste".to_owned(),
        };
        let problems: Vec<_> = refused.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Has what is in `endpoints`, each as `METHOD PATH ABOUT`.
    fn endpoints(&mut self, _: &Plugin, config: &Value) -> Result<Option<Vec<PluginEndpoint>>, CatalogError> {
        let Some(list) = config["endpoints"].as_array() else { return Ok(None) };
        let endpoint = |line: &Value| {
            let mut words = line.as_str().unwrap_or_default().splitn(3, ' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            PluginEndpoint { method: next(), path: next(), about: next() }
        };
        Ok(Some(list.iter().map(endpoint).collect()))
    }

    fn builtins(&self) -> Vec<String> {
        self.builtins.keys().cloned().collect()
    }
}
