//! `gateway check`.

use gateway_config::Checked;

use super::{ConfigArgs, Failed, inspect, print};
use crate::app::{self, Source};

pub(super) fn check(args: &ConfigArgs) -> Result<(), Failed> {
    let (Checked { config, warnings, .. }, timers) = app::check_with_timers(&Source::File(args.config.clone()))?;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    for upstream in config.upstreams.values().filter(|upstream| !upstream.tls.verify) {
        eprintln!("warning: upstream `{}` has `verify: false`: the server is not authenticated", upstream.name);
    }
    for warning in warnings.lines() {
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
    Ok(())
}
