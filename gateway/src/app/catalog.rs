//! The plugins that configurations can name, as the configuration room asks about them.

use std::{
    collections::{
        BTreeMap, HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    sync::Arc,
};

use bytes::Bytes;
use gateway_config as config;
use gateway_config::{
    Catalog, CatalogError, PluginEndpoint, PluginFacts, PluginProblem, Redaction,
    lock::{Entry, Lock, LockError},
};
use gateway_core::model::{ComponentSource, Dns, FileSource, Plugin, PluginUse, SecretSource};
use gateway_standard as standard;
use gateway_wasm as plugin;
use gateway_wasm::{
    Examined, Loaded, Prepared, Runtime, Settings, TimerSettings,
    services::{Named, Shared},
};
use thiserror::Error;

use super::{
    reflected::{Reflected, Told},
    secrets,
};

use crate::fetch::{Digest, FetchError, Fetched, Kept, Tag, Wanted, fetch};

/// Loads what a configuration names and remembers it for when the configuration comes into force.
pub(super) struct Components<'a> {
    runtime: &'a Runtime,
    /// What plugins find while they are configured: no state, sinks that lead nowhere, secrets and files.
    shared: Arc<Shared>,
    /// What was read or fetched. What was approved is what runs, whatever becomes of the file meanwhile.
    bytes: HashMap<ComponentSource, Component>,
    loaded: HashMap<ComponentSource, Arc<Loaded>>,
    /// Plugins with a configuration, by name and text of that. What was tried is what serves: it knows its active phases.
    prepared: HashMap<(Arc<str>, String), Arc<Prepared>>,
    reflected: &'a Reflected,
    /// What upstreams have told of themselves.
    told: Told,
    approval: Approval,
}

struct Component {
    bytes: Bytes,
    sha256: String,
    /// About how it was had.
    warning: Option<String>,
    tag: Option<Tag>,
}

/// What has to be approved before it runs.
enum Approval {
    /// What the operator's list has, if there is one; or why it cannot be read.
    Lock(Result<Option<Lock>, Arc<LockError>>),
    /// Nothing runs: what there is to approve is collected.
    Collect(BTreeMap<String, Entry>),
}

impl<'a> Components<'a> {
    fn new(runtime: &'a Runtime, reflected: &'a Reflected, approval: Approval) -> Self {
        let (bytes, loaded, prepared) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (shared, told) = (Arc::default(), Told::new());
        Self { runtime, shared, bytes, loaded, prepared, reflected, told, approval }
    }

    /// The standard plugins, which need no approval.
    pub(super) fn standard(runtime: &'a Runtime, reflected: &'a Reflected) -> Self {
        Self::new(runtime, reflected, Approval::Lock(Ok(None)))
    }

    /// Where there is a lock, only what it has runs.
    pub(super) fn locked(
        runtime: &'a Runtime,
        reflected: &'a Reflected,
        lock: Result<Option<Lock>, LockError>,
    ) -> Self {
        Self::new(runtime, reflected, Approval::Lock(lock.map_err(Arc::new)))
    }

    /// Components are looked at, and do not run.
    pub(super) fn to_approve(runtime: &'a Runtime, reflected: &'a Reflected) -> Self {
        Self::new(runtime, reflected, Approval::Collect(BTreeMap::new()))
    }

    /// What was looked at and is no standard plugin.
    pub(super) fn collected(self) -> BTreeMap<String, Entry> {
        match self.approval {
            Approval::Collect(found) => found,
            Approval::Lock(_) => BTreeMap::new(),
        }
    }

    /// The files that plugins may read, as they were when they were tried.
    pub(super) fn files(&self) -> &Named {
        &self.shared.files
    }

    /// The secrets that plugins may read, as they were when they were tried.
    pub(super) fn secrets(&self) -> &Named {
        &self.shared.secrets
    }

    /// A plugin as it was tried with this configuration.
    pub(super) fn tried(&self, used: &PluginUse) -> Option<&Arc<Prepared>> {
        self.prepared.get(&(used.plugin.name.clone(), used.config.to_string()))
    }

    /// The timers of the plugins that are used, by the plugins' names: one entry for each configuration that has any.
    pub(super) fn timers(&self) -> Vec<(Arc<str>, Vec<TimerSettings>)> {
        let mut used: Vec<_> = self.prepared.iter().filter(|(_, prepared)| !prepared.timers().is_empty()).collect();
        used.sort_by_key(|(key, _)| *key);
        used.into_iter().map(|((name, _), prepared)| (name.clone(), prepared.timers().to_vec())).collect()
    }

    /// What the process shall remember when the configuration is installed: tags, and what upstreams have told.
    pub(super) fn remembered(self) -> (Vec<Tag>, Told) {
        (self.bytes.into_values().filter_map(|component| component.tag).collect(), self.told)
    }

    /// One for each plugin and configuration.
    fn prepare(&mut self, plugin: &Plugin, config: &serde_json::Value) -> Result<Arc<Prepared>, CatalogError> {
        let loaded = self.load(&plugin.component)?;
        let key = (plugin.name.clone(), config.to_string());
        let prepared = self.prepared.entry(key).or_insert_with(|| Prepared::new(loaded, settings(plugin, config)));
        Ok(prepared.clone())
    }

    /// What a plugin has to say about what it has an answer for, in OpenAPI.
    pub(super) fn openapi(
        &mut self,
        plugin: &Plugin,
        config: &serde_json::Value,
    ) -> Result<Option<String>, CatalogError> {
        self.prepare(plugin, config)?.openapi(&self.shared).map_err(CatalogError::component)
    }

    fn load(&mut self, source: &ComponentSource) -> Result<Arc<Loaded>, CatalogError> {
        if let Some(loaded) = self.loaded.get(source) {
            return Ok(loaded.clone());
        }
        let loaded = match source {
            ComponentSource::Builtin(name) => match standard::component(name).map_err(CatalogError::component)? {
                Some(bytes) => self.runtime.load(bytes),
                None => return Err(CatalogError::component(format!("there is no standard plugin `{name}`"))),
            },
            ComponentSource::File(_) | ComponentSource::Http { .. } | ComponentSource::Oci(_) => {
                let bytes = self.component(source)?.bytes.clone();
                self.runtime.load(&bytes)
            }
        };
        let loaded = loaded.map_err(CatalogError::component)?;
        self.loaded.insert(source.clone(), loaded.clone());
        Ok(loaded)
    }

    /// The bytes of a component that is no standard one: read or fetched once.
    fn component(&mut self, source: &ComponentSource) -> Result<&Component, CatalogError> {
        match self.bytes.entry(source.clone()) {
            Occupied(entry) => Ok(entry.into_mut()),
            Vacant(entry) => {
                let Fetched { bytes, warning, tag } = match source {
                    ComponentSource::Builtin(name) => {
                        return Err(CatalogError::component(format!("`{name}` is a standard plugin")));
                    }
                    ComponentSource::File(path) => {
                        Bytes::from(plugin::read(path).map_err(CatalogError::component)?).into()
                    }
                    ComponentSource::Http { url, sha256 } => {
                        let url = url.clone();
                        let digest =
                            Digest::parse(sha256).ok_or_else(|| CatalogError::component("it needs a SHA-256"))?;
                        fetched(Wanted::Http { url, digest })?
                    }
                    ComponentSource::Oci(reference) => fetched(Wanted::Oci(reference.clone()))?,
                };
                Ok(entry.insert(Component { sha256: plugin::sha256(&bytes), bytes, warning, tag }))
            }
        }
    }

    /// What a component is, without running it.
    fn examine(&mut self, source: &ComponentSource) -> Result<Examined, CatalogError> {
        let bytes = self.component(source)?.bytes.clone();
        self.runtime.examine(&bytes).map_err(CatalogError::component)
    }
}

#[derive(Debug, Error)]
#[error("the component cannot be had: {0}")]
struct NotFetched(#[source] FetchError);

/// A component from elsewhere, before anything that names it is in force.
fn fetched(wanted: Wanted) -> Result<Fetched, CatalogError> {
    fetch(wanted, &Kept::usual()).map_err(|error| CatalogError::component(NotFetched(error)))
}

impl Catalog for Components<'_> {
    fn admit(&mut self, plugin: &Plugin) -> Result<(), CatalogError> {
        let source = &plugin.component;
        if matches!(source, ComponentSource::Builtin(_)) {
            return Ok(());
        }
        match &self.approval {
            Approval::Lock(Err(error)) => return Err(Arc::clone(error).into()),
            Approval::Lock(Ok(None)) => return Ok(()),
            // What is not approved is not even fetched.
            Approval::Lock(Ok(Some(lock))) => match source {
                ComponentSource::Http { sha256, .. } => lock.allows_component(plugin, sha256)?,
                _ => lock.allows_grants(plugin)?,
            },
            Approval::Collect(_) => {}
        }
        let examined = match &self.approval {
            Approval::Collect(_) => Some(self.examine(source)?),
            Approval::Lock(_) => None,
        };
        let sha256 = self.component(source)?.sha256.clone();
        match &mut self.approval {
            Approval::Lock(Ok(Some(lock))) => lock.allows_component(plugin, &sha256)?,
            Approval::Lock(_) => {}
            Approval::Collect(found) => {
                let interfaces = examined.iter().flat_map(Examined::interfaces);
                found.extend(Entry::of(plugin, &sha256, interfaces).map(|entry| (plugin.name.to_string(), entry)));
            }
        }
        Ok(())
    }

    fn open(&mut self, source: &ComponentSource) -> Result<Arc<PluginFacts>, CatalogError> {
        if let (Approval::Collect(_), false) = (&self.approval, matches!(source, ComponentSource::Builtin(_))) {
            let Examined { phases, wants: wanted, data, body_exports, .. } = self.examine(source)?;
            return Ok(Arc::new(PluginFacts {
                name: String::new(),
                version: String::new(),
                description: String::new(),
                config_schema: serde_json::Value::Bool(true),
                phases,
                wants: wants(wanted),
                data,
                body_exports,
                warning: None,
            }));
        }
        let loaded = self.load(source)?;
        let facts = loaded.facts();
        Ok(Arc::new(PluginFacts {
            name: facts.name.clone(),
            version: facts.version.clone(),
            description: facts.description.clone(),
            config_schema: facts.config_schema.clone().unwrap_or_default(),
            phases: facts.phases,
            wants: wants(facts.wants),
            data: facts.data,
            body_exports: facts.body_exports.clone(),
            warning: self.bytes.get(source).and_then(|component| component.warning.clone()),
        }))
    }

    fn configure(&mut self, plugin: &Plugin, config: &serde_json::Value) -> Result<(), Vec<PluginProblem>> {
        let whole = |error: CatalogError| vec![PluginProblem { pointer: String::new(), message: error.to_string() }];
        let prepared = self.prepare(plugin, config).map_err(whole)?;
        prepared.try_configure(&self.shared).map_err(|problems| {
            // A plugin that prints invalid input prints it into the log.
            let granted = self.shared.secrets.iter().filter(|(name, _)| plugin.grants.allows_use(name));
            let redaction =
                Redaction::of(granted.filter_map(|(_, value)| str::from_utf8(value).ok().map(str::to_owned)));
            let told = |plugin::Problem { pointer, message }| PluginProblem {
                pointer: redaction.apply(&pointer),
                message: redaction.apply(&message),
            };
            problems.into_iter().map(told).collect()
        })
    }

    fn endpoints(
        &mut self,
        plugin: &Plugin,
        config: &serde_json::Value,
    ) -> Result<Option<Vec<PluginEndpoint>>, CatalogError> {
        let endpoints = self.prepare(plugin, config)?.endpoints(&self.shared).map_err(CatalogError::component)?;
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
                    Ok(bytes) => {
                        self.told.insert(upstream.name.to_string(), bytes.clone());
                        found.insert(name.clone(), bytes);
                    }
                    Err(why) => missing.push((name.clone(), why.to_string())),
                },
            }
        }
        self.shared = Arc::new(Shared { secrets: secrets.collect(), files: found, ..Shared::default() });
        missing
    }

    fn builtins(&self) -> Vec<String> {
        standard::names().iter().map(|name| (*name).to_owned()).collect()
    }
}

/// A plugin's terms.
fn settings<'a>(plugin: &Plugin, config: &'a serde_json::Value) -> Settings<'a> {
    Settings {
        name: plugin.name.clone(),
        config,
        grants: plugin.grants.clone(),
        limits: plugin.limits.clone(),
        isolation: plugin.isolation,
        standard: matches!(plugin.component, ComponentSource::Builtin(_)),
    }
}

fn wants(wants: plugin::Wants) -> config::Wants {
    let plugin::Wants { upstreams, store, secrets, sinks, files } = wants;
    config::Wants { upstreams, store, secrets, sinks, files }
}
