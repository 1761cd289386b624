//! `gateway check`.

use std::{collections::HashSet, sync::Arc};

use gateway_config::Checked;
use gateway_core::model::Config;

use super::{ConfigArgs, Failed, inspect, print};
use crate::app::{self, PluginBudget, Source};

pub(super) fn check(args: &ConfigArgs) -> Result<(), Failed> {
    let (Checked { config, warnings, .. }, timers) = app::check_with_timers(&Source::File(args.config.clone()))?;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    for upstream in config.upstreams.values().filter(|upstream| !upstream.tls.verify) {
        eprintln!("warning: upstream `{}` has `verify: false`: the server is not authenticated", upstream.name);
    }
    for warning in warnings.lines() {
        eprintln!("warning: {warning}");
    }
    let budget = PluginBudget::of(&config.limits);
    for warning in budget.too_small_for(&config) {
        eprintln!("warning: {warning}");
    }
    print(format_args!(
        "{}: ok: {}, {}, {}, {}",
        args.config.display(),
        count(config.listeners.len(), "listener"),
        count(config.routes.len(), "route"),
        count(config.upstreams.len(), "upstream"),
        count(config.plugins.len(), "plugin"),
    ))?;
    for (plugin, timers) in &timers {
        print(format_args!("plugin `{plugin}` has timers: {}", inspect::timers(timers)))?;
    }
    match plugin_memory(&config) {
        Some((configurations, most)) => print(format_args!(
            "{} of plugins on {}: up to {} MiB with one instance each, if each comes to its `limits.memory`; {budget}",
            count(configurations, "configuration"),
            count(config.workers, "worker"),
            most >> 20,
        )),
        None => Ok(()),
    }
}

/// How many plugins with a configuration there are on routes, and what their instances can come to with one on each worker.
fn plugin_memory(config: &Config) -> Option<(usize, usize)> {
    let uses = config.routes.iter().flat_map(|route| &route.plugins).chain(&config.global_plugins);
    let mut seen = HashSet::new();
    let different = uses.filter(|used| seen.insert(Arc::as_ptr(used)));
    let memory: Vec<usize> = different.map(|used| used.plugin.limits.memory).collect();
    let most = memory.iter().fold(0_usize, |sum, memory| sum.saturating_add(*memory)).saturating_mul(config.workers);
    (!memory.is_empty()).then_some((memory.len(), most))
}
