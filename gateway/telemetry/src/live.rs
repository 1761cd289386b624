//! Which series stay: those of what the configuration in force names.
//!
//! Series of other routes, upstreams and plugins are released as soon as no request counts in them any more. Without that,
//! each reload with new names would add series for as long as the process runs. What comes back later counts from zero,
//! which Prometheus takes for a restart.

use std::{collections::HashSet, sync::Arc};

use gateway_core::model::Config;

use super::calls::Use;

/// The names of a configuration.
#[derive(Debug, Default)]
pub struct Live {
    routes: HashSet<Arc<str>>,
    upstreams: HashSet<Arc<str>>,
    plugins: HashSet<Arc<str>>,
    /// On every route, and for requests that match none.
    global_plugins: HashSet<Arc<str>>,
    uses: HashSet<Use>,
}

impl Live {
    pub fn of(config: &Config) -> Self {
        let mut live = Self {
            upstreams: config.upstreams.values().map(|upstream| upstream.name.clone()).collect(),
            plugins: config.plugins.values().map(|plugin| plugin.name.clone()).collect(),
            global_plugins: config.global_plugins.iter().map(|used| used.plugin.name.clone()).collect(),
            ..Self::default()
        };
        for route in &config.routes {
            live.routes.insert(route.name.clone());
            let uses = route.plugins.iter().map(|used| (used.plugin.name.clone(), route.name.clone()));
            live.uses.extend(uses.map(|(plugin, route)| Use { plugin, route }));
        }
        live
    }

    /// The empty name is for requests that match no route.
    pub(super) fn has_route(&self, route: &str) -> bool {
        route.is_empty() || self.routes.contains(route)
    }

    pub(super) fn has_upstream(&self, upstream: &str) -> bool {
        self.upstreams.contains(upstream)
    }

    pub(super) fn has_plugin(&self, plugin: &str) -> bool {
        self.plugins.contains(plugin)
    }

    pub(super) fn has_use(&self, used: &Use) -> bool {
        let is_global = self.global_plugins.contains(&used.plugin) && self.has_route(&used.route);
        // Timers belong to no route.
        let has_timers = used.route.is_empty() && self.has_plugin(&used.plugin);
        is_global || has_timers || self.uses.contains(used)
    }
}
