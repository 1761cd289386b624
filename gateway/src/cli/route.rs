//! `gateway route`: the table's decision for one request, without sending it.

use gateway_core::model::Action;
use gateway_route::Table;

use super::{Failed, RouteArgs, print};
use crate::app::{
    self, Source,
    asked::{Asked, Unserved},
};

pub(super) fn route(args: &RouteArgs) -> Result<(), Failed> {
    let config = app::check(&Source::File(args.config.config.clone()))?.config;
    let asked = Asked::parse(&args.method, &args.url, &args.headers)
        .and_then(|asked| asked.at(args.listener.as_deref(), &config.listeners))
        .map_err(Failed::misunderstood)?;
    let table = Table::new(&config.routes);
    let target = match asked.admit(&table) {
        Ok(target) => target,
        Err(Unserved { status, why }) => {
            let (method, target) = (&asked.method, &asked.target);
            print(format_args!("{method} {target} is answered by no route: {status}, {why}"))?;
            return Err(Failed::NoRoute);
        }
    };
    if target != asked.target {
        print(format_args!("normalised to {target}"))?;
    }
    let explanation = table.explain(&asked.query(&target));
    print(format_args!("{explanation}"))?;
    let Some(winner) = explanation.winner else { return Err(Failed::NoRoute) };
    let Some(route) = explanation.candidates.iter().find(|candidate| candidate.index == winner) else {
        return Err(Failed::NoRoute);
    };
    let route = &route.route;
    let plugins: Vec<_> =
        config.global_plugins.iter().chain(&route.plugins).map(|used| used.plugin.name.to_string()).collect();
    match plugins.as_slice() {
        [] => print("plugins: none")?,
        plugins => print(format_args!("plugins: {}", plugins.join(" → ")))?,
    }
    match &route.action {
        Action::Upstream(upstream) => print(format_args!("upstream: {}", upstream.name)),
        Action::Split(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(upstream, weight)| format!("{} ({weight})", upstream.name)).collect();
            print(format_args!("split: {}", parts.join(", ")))
        }
        Action::Redirect(redirect) => print(format_args!("redirect: {}", redirect.status.as_u16())),
        Action::Respond(respond) => print(format_args!("respond: {}", respond.status.as_u16())),
    }?;
    Ok(())
}
