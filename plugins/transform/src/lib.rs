//! Sets request headers.

use std::collections::BTreeMap;

use plugin_sdk::{Decision, Error, Plugin, Problems, Request, RequestFilter, export_plugin};

/// Headers to set.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Name and value of each header.
    set_headers: BTreeMap<String, String>,
}

/// The plugin.
pub struct Transform(Config);

impl Plugin for Transform {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }
}

impl RequestFilter for Transform {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        for (name, value) in &self.0.set_headers {
            request.set_header(name, value)?;
        }
        Ok(Decision::Next)
    }
}

export_plugin!(Transform: request);
