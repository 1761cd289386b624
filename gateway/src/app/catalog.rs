//! The plugins that configurations can name, as the configuration room asks about them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use super::{reflected::Reflected, secrets};

use crate::{
    config::{
        self, Catalog, PluginEndpoint, PluginFacts, PluginProblem,
        lock::{Entry, Lock},
        model::{ComponentSource, Dns, FileSource, Plugin, SecretSource},
    },
    fetch::{Digest, Kept, Wanted, fetch},
    plugin::{
        self, Loaded, Prepared, Runtime, Settings, builtin,
        services::{Named, Shared},
    },
};

/// Loads what a configuration names and remembers it for when the configuration comes into force.
pub(super) struct Components<'a> {
    runtime: &'a Runtime,
    /// What plugins find while they are configured: no state, sinks that lead nowhere, secrets and files.
    shared: Arc<Shared>,
    loaded: HashMap<ComponentSource, Arc<Loaded>>,
    reflected: &'a Reflected,
    /// About what was fetched.
    warnings: HashMap<ComponentSource, String>,
    /// What the operator has approved of, if there is a list, or why it cannot be read.
    lock: Result<Option<Lock>, String>,
    /// What there is to be approved.
    found: BTreeMap<String, Entry>,
}

impl<'a> Components<'a> {
    pub(super) fn new(runtime: &'a Runtime, reflected: &'a Reflected) -> Self {
        Self {
            runtime,
            shared: Arc::default(),
            loaded: HashMap::new(),
            reflected,
            warnings: HashMap::new(),
            lock: Ok(None),
            found: BTreeMap::new(),
        }
    }

    /// Only what was approved is let in from here on.
    pub(super) fn locked(mut self, lock: Result<Option<Lock>, String>) -> Self {
        self.lock = lock;
        self
    }

    /// What was looked at and is no standard plugin.
    pub(super) fn found(self) -> BTreeMap<String, Entry> {
        self.found
    }

    /// The files that plugins may read, as they were when they were tried.
    pub(super) fn files(&self) -> &Named {
        &self.shared.files
    }

    /// What one of the sources that were opened has become.
    pub(super) fn get(&self, source: &ComponentSource) -> Option<&Arc<Loaded>> {
        self.loaded.get(source)
    }

    /// What a plugin has to say about what it has an answer for, in OpenAPI.
    pub(super) fn openapi(&mut self, plugin: &Plugin, config: &serde_json::Value) -> Result<Option<String>, String> {
        let prepared = Prepared::new(self.load(&plugin.component)?, settings(plugin, config, 1));
        prepared.openapi(&self.shared)
    }

    fn load(&mut self, source: &ComponentSource) -> Result<Arc<Loaded>, String> {
        if let Some(loaded) = self.loaded.get(source) {
            return Ok(loaded.clone());
        }
        let loaded = match source {
            ComponentSource::Builtin(name) => match builtin::builtin(name) {
                Some(bytes) => self.runtime.load(bytes),
                None => return Err(format!("there is no standard plugin `{name}`")),
            },
            ComponentSource::File(path) => self.runtime.load_file(path),
            ComponentSource::Http { url, sha256 } => {
                let url = url.clone();
                let digest = Digest::parse(sha256).ok_or_else(|| "it needs a SHA-256".to_owned())?;
                let bytes = self.fetched(source, Wanted::Http { url, digest })?;
                self.runtime.load(&bytes)
            }
            ComponentSource::Oci(reference) => {
                let bytes = self.fetched(source, Wanted::Oci(reference.clone()))?;
                self.runtime.load(&bytes)
            }
        };
        let loaded = loaded.map_err(|error| error.to_string())?;
        self.loaded.insert(source.clone(), loaded.clone());
        Ok(loaded)
    }
}

impl Components<'_> {
    /// A component from elsewhere, before anything that names it is in force.
    fn fetched(&mut self, source: &ComponentSource, wanted: Wanted) -> Result<Bytes, String> {
        let fetched = fetch(wanted, &Kept::usual()).map_err(|why| format!("the component cannot be had: {why}"))?;
        if let Some(warning) = fetched.warning {
            self.warnings.insert(source.clone(), warning);
        }
        Ok(fetched.bytes)
    }
}

impl Catalog for Components<'_> {
    fn open(&mut self, source: &ComponentSource) -> Result<Arc<PluginFacts>, String> {
        let loaded = self.load(source)?;
        let facts = loaded.facts();
        Ok(Arc::new(PluginFacts {
            name: facts.name.clone(),
            version: facts.version.clone(),
            description: facts.description.clone(),
            config_schema: facts.config_schema.clone().unwrap_or_default(),
            phases: facts.phases,
            wants: wants(facts.wants),
            warning: self.warnings.get(source).cloned(),
            digest: facts.digest.clone(),
            imports: facts.imports.keys().cloned().collect(),
        }))
    }

    fn approved(&mut self, plugin: &Plugin, facts: &PluginFacts) -> Result<Option<String>, String> {
        let Some(entry) = Entry::of(plugin, facts) else { return Ok(None) };
        self.found.insert(plugin.name.to_string(), entry);
        match &self.lock {
            Ok(Some(lock)) => lock.allows(plugin, facts),
            Ok(None) => Ok(None),
            Err(why) => Err(why.clone()),
        }
    }

    fn configure(&mut self, plugin: &Plugin, config: &serde_json::Value) -> Result<(), Vec<PluginProblem>> {
        let whole = |message| vec![PluginProblem { pointer: String::new(), message }];
        let loaded = self.load(&plugin.component).map_err(whole)?;
        let prepared = Prepared::new(loaded, settings(plugin, config, 1));
        prepared.try_configure(&self.shared).map_err(|problems| {
            let told = |plugin::Problem { pointer, message }| PluginProblem { pointer, message };
            problems.into_iter().map(told).collect()
        })
    }

    fn endpoints(
        &mut self,
        plugin: &Plugin,
        config: &serde_json::Value,
    ) -> Result<Option<Vec<PluginEndpoint>>, String> {
        let prepared = Prepared::new(self.load(&plugin.component)?, settings(plugin, config, 1));
        let endpoints = prepared.endpoints(&self.shared)?;
        let told = |plugin::Endpoint { method, path, about }| PluginEndpoint { method, path, about };
        Ok(endpoints.map(|endpoints| endpoints.into_iter().map(told).collect()))
    }

    fn may_read(
        &mut self,
        secrets: &BTreeMap<String, SecretSource>,
        files: &BTreeMap<String, FileSource>,
        dns: &Dns,
    ) -> Vec<(String, String)> {
        // What cannot be read is a problem of its own, which has its place in the file.
        let secrets = secrets.iter().filter_map(|(name, source)| Some((name.clone(), secrets::read(source).ok()?)));
        let mut found = Named::new();
        let mut missing = Vec::new();
        for (name, file) in files {
            match file {
                FileSource::Path(path) => {
                    found.extend(secrets::read_file(path).ok().map(|bytes| (name.clone(), bytes)))
                }
                FileSource::Reflection(upstream) => match self.reflected.ask(upstream, dns) {
                    Ok(bytes) => drop(found.insert(name.clone(), bytes)),
                    Err(why) => missing.push((name.clone(), why)),
                },
            }
        }
        self.shared = Arc::new(Shared { secrets: secrets.collect(), files: found, ..Shared::default() });
        missing
    }

    fn builtins(&self) -> Vec<String> {
        builtin::builtins().iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// A plugin's terms, for a gateway of so many workers.
pub(super) fn settings<'a>(plugin: &Plugin, config: &'a serde_json::Value, workers: usize) -> Settings<'a> {
    Settings {
        name: plugin.name.clone(),
        config,
        grants: plugin.grants.clone(),
        limits: plugin.limits.clone(),
        isolation: plugin.isolation,
        workers,
    }
}

fn wants(wants: plugin::Wants) -> config::Wants {
    let plugin::Wants { upstreams, store, secrets, sinks, files } = wants;
    config::Wants { upstreams, store, secrets, sinks, files }
}
