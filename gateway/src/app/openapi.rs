//! One document of OpenAPI for all that plugins describe.

use std::sync::Arc;

use gateway_config::CatalogError;
use gateway_core::model::{Config, HostPattern, PluginUse, Route};
use gateway_route::{Query, RouteMatch, Table};
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::catalog::Components;

/// Why there is no document.
#[derive(Debug, Error)]
pub(super) enum OpenApiError {
    #[error("plugin `{0}`: {1}")]
    Plugin(Arc<str>, #[source] CatalogError),
    #[error("plugin `{0}` does not speak JSON: {1}")]
    NotJson(Arc<str>, #[source] serde_json::Error),
}

pub(super) fn document(config: &Config, components: &mut Components<'_>, title: &str) -> Result<Value, OpenApiError> {
    let table = Table::new(&config.routes);
    let mut paths = Map::new();
    let mut shared = Map::new();
    // Routes that a plugin has made use it in the same way.
    let mut seen: Vec<(&Arc<PluginUse>, &Vec<HostPattern>)> = Vec::new();
    for route in &config.routes {
        for used in config.global_plugins.iter().chain(&route.plugins) {
            if seen.iter().any(|(other, hosts)| Arc::ptr_eq(other, used) && **hosts == route.matches.hosts) {
                continue;
            }
            seen.push((used, &route.matches.hosts));
            let name = &used.plugin.name;
            let said = components
                .openapi(&used.plugin, &used.config)
                .map_err(|error| OpenApiError::Plugin(name.clone(), error))?;
            let Some(text) = said else { continue };
            let said: Value =
                serde_json::from_str(&text).map_err(|error| OpenApiError::NotJson(name.clone(), error))?;
            merge(&said, &mut paths, &mut shared, |path, method| is_reached(&table, config, route, used, path, method));
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": "1" },
        "paths": paths,
        "components": shared,
    }))
}

/// Takes over the operations that are reached, and what they refer to. What is there already stays.
fn merge(
    said: &Value,
    paths: &mut Map<String, Value>,
    shared: &mut Map<String, Value>,
    is_reached: impl Fn(&str, &str) -> bool,
) {
    let mut any = false;
    for (path, operations) in said["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            if is_reached(path, method) {
                any = true;
                let operations = paths.entry(path.as_str()).or_insert_with(|| Value::Object(Map::new()));
                if let Some(operations) = operations.as_object_mut() {
                    operations.entry(method.as_str()).or_insert_with(|| operation.clone());
                }
            }
        }
    }
    if any {
        for (kind, named) in said["components"].as_object().into_iter().flatten() {
            let all = shared.entry(kind.as_str()).or_insert_with(|| Value::Object(Map::new()));
            if let (Some(all), Some(named)) = (all.as_object_mut(), named.as_object()) {
                for (name, value) in named {
                    all.entry(name.as_str()).or_insert_with(|| value.clone());
                }
            }
        }
    }
}

/// Whether a request for such a path comes to that use of the plugin.
fn is_reached(table: &Table, config: &Config, route: &Route, used: &Arc<PluginUse>, path: &str, method: &str) -> bool {
    let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else { return false };
    let segment = |segment: &str| match (segment.find('{'), segment.rfind('}')) {
        (Some(from), Some(to)) if from < to => format!("{}x{}", &segment[..from], &segment[to + 1..]),
        _ => segment.to_owned(),
    };
    let example: Vec<String> = path.split('/').map(segment).collect();
    let host = match route.matches.hosts.first() {
        None => String::new(),
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(name)) => format!("x.{name}"),
    };
    let mut headers = HeaderMap::new();
    headers.extend(route.matches.headers.iter().cloned());
    let parameters: Vec<String> = route.matches.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let parameters = parameters.join("&");
    let listener = route.matches.listeners.first().map(|name| &**name).unwrap_or_default();
    let query = Query {
        listener,
        host: &host,
        path: &example.join("/"),
        query: Some(&*parameters).filter(|text| !text.is_empty()),
        method: &method,
        headers: &headers,
    };
    match table.find(&query) {
        RouteMatch::Route { route, .. } => {
            config.global_plugins.iter().chain(&route.plugins).any(|other| Arc::ptr_eq(other, used))
        }
        RouteMatch::NotFound | RouteMatch::MethodNotAllowed { .. } => false,
    }
}
