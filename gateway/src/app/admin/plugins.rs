//! Plugins: what they are, what they cost, how they broke down.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use gateway_config::without_credentials;
use gateway_core::model::{ComponentSource, Isolation, Names};
use gateway_wasm::Facts;
use serde::Serialize;
use utoipa::ToSchema;

use super::{panel::Panel, stats::CallStats, unix_time::seconds};

/// A plugin that some route uses.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginView {
    name: String,
    /// `builtin:NAME`, or a file.
    component: String,
    version: String,
    description: String,
    /// SHA-256 of the component.
    digest: String,
    /// Of the component.
    bytes: usize,
    /// `request`, `response`, `complete`.
    phases: Vec<&'static str>,
    /// Whether its calls can wait with these grants, and so run on fibers instead of the worker's stack.
    calls_on_fibers: bool,
    /// The interfaces that it imports.
    imports: Vec<String>,
    /// The grants that it uses: names by kind, `*` for all. `data` is access to all headers, attributes and bodies; if it is limited
    /// there are kinds such as `request-headers-read` instead.
    grants: BTreeMap<&'static str, Vec<String>>,
    /// `shared`, `request`.
    isolation: &'static str,
    instances: u64,
    instances_created: u64,
    /// Of its instances.
    memory_bytes: u64,
    /// By route.
    calls: Vec<CallStats>,
}

/// A trap of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrapView {
    /// Seconds since 1970.
    at: f64,
    plugin: String,
    /// Empty where it was called for no request.
    route: String,
    /// `trap`, `timeout`, `memory`.
    kind: &'static str,
    detail: String,
    /// With names and lines where the component has them.
    backtrace: String,
}

/// The plugins that routes use, with what their calls cost since the start.
#[utoipa::path(get, path = "/plugins", tag = "plugins", responses((status = 200, body = Vec<PluginView>)))]
pub(super) async fn plugins(State(panel): State<Arc<Panel>>) -> Json<Vec<PluginView>> {
    let snapshot = panel.snapshot();
    let calls = panel.shared.metrics.call_figures();
    let instances = panel.shared.metrics.instance_figures();
    let view = |(name, plugin): (&String, &Arc<gateway_core::model::Plugin>)| {
        let facts = snapshot.facts(name)?;
        let counted = instances.iter().find(|figures| *figures.plugin == **name);
        let Facts { version, description, digest, size, phases, wants, imports, .. } = facts;
        let all = [("request", phases.request), ("response", phases.response), ("complete", phases.complete)];
        let grants = &plugin.grants;
        Some(PluginView {
            name: name.clone(),
            component: match &plugin.component {
                ComponentSource::Builtin(name) => format!("builtin:{name}"),
                ComponentSource::File(path) => path.display().to_string(),
                ComponentSource::Http { url, .. } => without_credentials(url),
                ComponentSource::Oci(reference) => format!("oci://{reference}"),
            },
            version: version.clone(),
            description: description.clone(),
            digest: digest.clone(),
            bytes: *size,
            phases: all.into_iter().filter(|(_, takes_part)| *takes_part).map(|(phase, _)| phase).collect(),
            calls_on_fibers: snapshot.calls_on_fibers(name),
            imports: imports.keys().cloned().collect(),
            grants: [
                ("upstreams", wants.upstreams, &grants.upstreams),
                ("store", wants.store, &grants.store),
                ("secrets", wants.secrets, &grants.secrets),
                // Whether it uses keys can only be told by its calls.
                ("secrets-to-use", true, &grants.secrets_to_use),
                ("sinks", wants.sinks, &grants.sinks),
                ("files", wants.files, &grants.files),
            ]
            .into_iter()
            .filter(|(_, wants, names)| *wants && !names.is_empty())
            .map(|(kind, _, names)| (kind, granted(names)))
            .chain(grants.data_by_kind())
            .collect(),
            isolation: match plugin.isolation {
                Isolation::Shared => "shared",
                Isolation::Request => "request",
            },
            instances: counted.map_or(0, |figures| figures.instances),
            instances_created: counted.map_or(0, |figures| figures.created),
            memory_bytes: counted.map_or(0, |figures| figures.memory_bytes),
            calls: calls.iter().filter(|figures| *figures.plugin == **name).map(CallStats::of).collect(),
        })
    };
    Json(snapshot.config.plugins.iter().filter_map(view).collect())
}

fn granted(names: &Names) -> Vec<String> {
    match names {
        Names::All => vec!["*".to_owned()],
        Names::Only(names) => names.clone(),
    }
}

/// The last traps of all plugins, the newest first.
#[utoipa::path(get, path = "/plugins/traps", tag = "plugins", responses((status = 200, body = Vec<TrapView>)))]
pub(super) async fn traps(State(panel): State<Arc<Panel>>) -> Json<Vec<TrapView>> {
    // A plugin that panics may say why, in words with a secret.
    let redaction = panel.redaction();
    let view = |trap: gateway_telemetry::traps::Trap| TrapView {
        at: seconds(trap.at),
        plugin: trap.plugin,
        route: trap.route,
        kind: trap.kind,
        detail: redaction.apply(&trap.detail),
        backtrace: redaction.apply(&trap.backtrace),
    };
    Json(panel.shared.metrics.traps().into_iter().map(view).collect())
}
