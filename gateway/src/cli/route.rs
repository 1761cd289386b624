//! `gateway route`: the table's decision for one request, without sending it.

use std::fmt::Display;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::PathAndQuery};

use super::{Failed, RouteArgs, print};
use crate::{
    app::{self, Source},
    config::model::Action,
    error::Failure,
    http::{framing::is_carried, path::normalise},
    route::{Query, Table},
};

pub(super) fn route(args: &RouteArgs) -> Result<(), Failed> {
    let config = app::check(&Source::File(args.config.config.clone()))?;
    let request = Request::parse(args).map_err(Failed::Misunderstood)?;
    let refused = |failure: Failure, why: &dyn Display| {
        let (method, target, status) = (&request.method, &request.target, failure.status().as_u16());
        print(format_args!("{method} {target} is answered by no route: {status}, {why}"))?;
        Err(Failed::NoRoute)
    };
    if !is_carried(&request.method) {
        return refused(Failure::MethodNotImplemented, &"the method is not forwarded");
    }
    let target = match normalise(&request.target, &request.method, config.paths) {
        Ok(target) => target,
        Err(why) => return refused(why.into(), &why),
    };
    if target != request.target {
        print(format_args!("normalised to {target}"))?;
    }
    let table = Table::new(&config.routes);
    let explanation = table.explain(&Query {
        host: &request.host,
        path: target.path(),
        query: target.query(),
        method: &request.method,
        headers: &request.headers,
    });
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

struct Request {
    method: Method,
    host: String,
    target: PathAndQuery,
    headers: HeaderMap,
}

impl Request {
    fn parse(args: &RouteArgs) -> Result<Self, String> {
        let method: Method = args.method.parse().map_err(|_| format!("`{}` is not a method", args.method))?;
        let uri: Uri = args.url.parse().map_err(|error| format!("`{}` is not a URL: {error}", args.url))?;
        let target = uri.path_and_query().cloned().ok_or_else(|| format!("`{}` has no path", args.url))?;
        let mut headers = HeaderMap::new();
        for line in &args.headers {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is not `name: value`"))?;
            let name: HeaderName =
                name.trim().parse().map_err(|_| format!("`{}` is not a header name", name.trim()))?;
            let value: HeaderValue =
                value.trim().parse().map_err(|_| format!("`{}` is not a header value", value.trim()))?;
            headers.append(name, value);
        }
        let host = match (uri.authority(), headers.remove(header::HOST)) {
            (Some(authority), _) => authority.to_string(),
            (None, Some(host)) => host.to_str().unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        Ok(Self { method, host, target, headers })
    }
}
