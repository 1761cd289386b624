//! What this room asks about plugins, so that it need not know how they run.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use gateway_core::model::{ComponentSource, DataUse, Dns, FileSource, Plugin, SecretSource};
use gateway_pipeline::Phases;
use serde_json::Value;
use thiserror::Error;

use crate::lock::LockError;

/// The plugins that a configuration can name.
pub trait Catalog {
    /// Whether the operator has approved a plugin's component and its grants, where there is a list of those. Asked before
    /// `open` and everything else: nothing of the component has run until then. The error says how to approve it.
    fn admit(&mut self, _plugin: &Plugin) -> Result<(), CatalogError> {
        Ok(())
    }

    /// Loads a component and reads what it says about itself. The error says what is wrong and how to cure it.
    fn open(&mut self, source: &ComponentSource) -> Result<Arc<PluginFacts>, CatalogError>;

    /// Told before any plugin is asked: what a plugin may read while it is configured. Returns the files that cannot be had from
    /// the services that have them, and why.
    fn may_read(
        &mut self,
        _secrets: &BTreeMap<String, SecretSource>,
        _files: &BTreeMap<String, FileSource>,
        _dns: &Dns,
    ) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Asks the plugin itself about a configuration that has passed its JSON Schema.
    fn configure(&mut self, plugin: &Plugin, config: &Value) -> Result<(), Vec<PluginProblem>>;

    /// Asks the plugin what it has an answer for with a configuration that it accepts; none if it does not say.
    fn endpoints(&mut self, _plugin: &Plugin, _config: &Value) -> Result<Option<Vec<PluginEndpoint>>, CatalogError> {
        Ok(None)
    }

    /// The names of the standard plugins.
    fn builtins(&self) -> Vec<String>;
}

/// Why a plugin cannot be used.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// It is not approved, or what is approved cannot be read.
    #[error(transparent)]
    Lock(#[from] Arc<LockError>),
    /// Its component cannot be had, loaded or asked.
    #[error(transparent)]
    Component(Box<dyn Error + Send + Sync>),
}

impl CatalogError {
    /// Its component cannot be had, loaded or asked.
    pub fn component(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Component(error.into())
    }
}

impl From<LockError> for CatalogError {
    fn from(error: LockError) -> Self {
        Self::Lock(Arc::new(error))
    }
}

#[derive(Debug, Clone)]
pub struct PluginFacts {
    pub name: String,
    pub version: String,
    pub description: String,
    /// JSON Schema (2020-12) of the configuration; null for a plugin that takes none.
    pub config_schema: Value,
    pub phases: Phases,
    pub wants: Wants,
    /// The data of exchanges that its functions read and write.
    pub data: DataUse,
    /// The exported interfaces by which it gets bodies.
    pub body_exports: Vec<String>,
    /// What the operator should know of how it was had.
    pub warning: Option<String>,
}

/// What the component's imports say that it needs grants for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    pub upstreams: bool,
    pub store: bool,
    pub secrets: bool,
    pub sinks: bool,
    pub files: bool,
}

/// A request that a plugin has an answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginEndpoint {
    /// Empty for any.
    pub method: String,
    /// A pattern as in `match.path`.
    pub path: String,
    /// For people.
    pub about: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginProblem {
    /// JSON Pointer (RFC 6901) to the offending value; empty for the whole.
    pub pointer: String,
    pub message: String,
}
