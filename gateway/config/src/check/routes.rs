//! Which requests go where.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use gateway_core::model;
use http::{HeaderName, HeaderValue, Method, header};

use super::{
    action, from_plugin,
    names::{cut, hint},
    order, overlap, paths,
    plugins::Plugins,
    readings,
    report::Report,
    settings,
};
use crate::{
    file::{EVERY_PATH, File, Match, Route},
    part::Part,
    yaml::join,
};

/// What routes refer to.
pub(super) struct Context<'a, 'c> {
    pub listeners: &'a [model::Listener],
    pub upstreams: &'a BTreeMap<String, Arc<model::Upstream>>,
    pub plugins: &'a mut Plugins<'c>,
    pub global_plugins: &'a [Arc<model::PluginUse>],
    pub limits: &'a model::Limits,
    pub timeouts: &'a model::Timeouts,
    pub paths: model::PathRule,
}

pub(super) fn routes(file: &File, context: &mut Context<'_, '_>, report: &mut Report<'_>) -> Vec<Arc<model::Route>> {
    let mut names = HashMap::new();
    let mut entries = Vec::new();
    let mut routes = Vec::new();
    for (place, typed) in report.parts(&file.routes, "/routes") {
        let at = join(&place, "name");
        let name = report.part(&typed.name, &at).map(String::as_str);
        if let Some(name) = name {
            let line = report.line(&at);
            if let Some(first) = names.insert(name, line) {
                report.value(&at, format!("route `{}` is also on line {first}", cut(name)));
            }
        }
        let rule = report.part(&typed.paths, &join(&place, "paths"));
        let rule = rule.map_or(context.paths, |typed| settings::route_paths(typed, context.paths));
        let matches = conditions(&typed.matches, &join(&place, "match"), context, rule, report);
        let route = rest(file, typed, &place, context, report);
        if let (Some(name), Some(matches)) = (name, matches) {
            if let Some(route) = route {
                let Rest { plugins, action, upgrades, upgrade_idle, body_bytes, buffer_bytes, timeout, total_timeout } =
                    route;
                let made = match typed.matches.0.as_ref().ok().and_then(|typed| typed.from_plugin.as_ref()) {
                    None => vec![(matches, None)],
                    Some(part) => {
                        let at = join(&join(&place, "match"), "from-plugin");
                        let made = report.part(part, &at).map(|name| name.as_str());
                        let made = made.and_then(|name| context.plugins.endpoints(&plugins, name, &at, report));
                        let made = made.map(|found| from_plugin::matches(&found, &matches, rule, &at, report));
                        made.unwrap_or_default()
                    }
                };
                let methods = from_plugin::methods(&made);
                order::check(context.global_plugins, &plugins, &join(&place, "plugins"), &methods, report);
                let name: Arc<str> = name.into();
                for (matches, about) in &made {
                    routes.push(Arc::new(model::Route {
                        name: name.clone(),
                        about: about.clone(),
                        matches: matches.clone(),
                        paths: rule,
                        plugins: plugins.clone(),
                        action: action.clone(),
                        body_bytes,
                        buffer_bytes,
                        timeout,
                        total_timeout,
                        upgrades: upgrades.clone(),
                        upgrade_idle,
                    }));
                }
                entries.extend(made.into_iter().map(|(matches, _)| (name.clone(), place.clone(), matches)));
            } else if typed.matches.0.as_ref().is_ok_and(|typed| typed.from_plugin.is_none()) {
                entries.push((name.into(), place, matches));
            }
        }
    }
    overlap::check(&entries, report);
    if report.is_clean() {
        // A route that is not clean may be missing, and with it the answer to what a path could mean.
        let places: HashMap<&str, &str> = entries.iter().map(|(name, place, _)| (&**name, place.as_str())).collect();
        readings::check(&routes, |name| places.get(name).copied(), report);
    }
    routes
}

/// All of a route but its name and conditions.
struct Rest {
    plugins: Vec<Arc<model::PluginUse>>,
    action: model::Action,
    upgrades: Vec<model::Upgrade>,
    upgrade_idle: Duration,
    body_bytes: u64,
    buffer_bytes: usize,
    timeout: model::RequestTimeout,
    total_timeout: Option<Duration>,
}

fn rest(
    file: &File,
    typed: &Route,
    place: &str,
    context: &mut Context<'_, '_>,
    report: &mut Report<'_>,
) -> Option<Rest> {
    let plugins = context.plugins.list(&typed.plugins, &join(place, "plugins"), report);
    let action = action::action(file, typed, place, context.upstreams, report);
    let limits = report.part(&typed.limits, &join(place, "limits"));
    let timeouts = report.part(&typed.timeouts, &join(place, "timeouts"));
    let upgrades = report.part(&typed.upgrades, &join(place, "upgrades")).cloned();
    if upgrades.as_ref().is_some_and(|upgrades| !upgrades.is_empty())
        && let Some(upstream) = action.as_ref().and_then(shared_by_requests)
    {
        let cure = "give it an upstream with `protocol: http1`";
        let message = format!("connections to `{}` are HTTP/2's and cannot switch protocols; {cure}", upstream.name);
        report.key(&join(place, "upgrades"), message);
    }
    let (limits, timeouts) = (limits?, timeouts?);
    Some(Rest {
        plugins,
        action: action?,
        upgrades: upgrades?,
        upgrade_idle: timeouts.upgrade_idle.unwrap_or(context.timeouts.upgrade_idle),
        body_bytes: limits.body_bytes.unwrap_or(context.limits.body_bytes),
        buffer_bytes: limits.buffer_bytes.unwrap_or(context.limits.buffer_bytes),
        timeout: timeouts.request.unwrap_or(context.timeouts.request),
        total_timeout: timeouts.total,
    })
}

/// An upstream of the route to which there may be no HTTP/1.1 connection.
fn shared_by_requests(action: &model::Action) -> Option<&model::Upstream> {
    let is_shared = |upstream: &&model::Upstream| upstream.protocol.shares_connections();
    match action {
        model::Action::Upstream(upstream) => Some(&**upstream).filter(is_shared),
        model::Action::Split(parts) => parts.iter().map(|(upstream, _)| &**upstream).find(is_shared),
        model::Action::Redirect(_) | model::Action::Respond(_) => None,
    }
}

fn conditions(
    part: &Part<Match>,
    place: &str,
    context: &Context<'_, '_>,
    rule: model::PathRule,
    report: &mut Report<'_>,
) -> Option<model::Match> {
    let typed = report.part(part, place)?;
    // All of them are looked at before the first that is missing ends it.
    let listeners = listeners(typed, &join(place, "listeners"), context.listeners, report);
    let hosts = hosts(typed, place, report);
    let at = join(place, "path");
    if typed.path.is_some() && typed.from_plugin.is_some() {
        report.key(&at, "`from-plugin` is there too, which says all the paths");
    }
    let path = match &typed.path {
        None => Some(EVERY_PATH),
        Some(part) => report.part(part, &at).map(String::as_str),
    };
    let path = path.and_then(|text| paths::path(text, rule).map_err(|message| report.value(&at, message)).ok());
    let methods = methods(typed, &join(place, "methods"), report);
    let headers = headers(typed, &join(place, "headers"), report);
    let query = query(typed, &join(place, "query"), report);
    Some(model::Match {
        listeners: listeners?,
        hosts: hosts?,
        path: path?,
        methods: methods?,
        headers: headers?,
        query: query?,
    })
}

fn listeners(typed: &Match, place: &str, all: &[model::Listener], report: &mut Report<'_>) -> Option<Vec<Arc<str>>> {
    let Some(list) = &typed.listeners else { return Some(Vec::new()) };
    let mut names = Vec::new();
    let mut complete = true;
    for (at, name) in report.parts(list, place) {
        match all.iter().find(|listener| *listener.name == **name) {
            Some(listener) => names.push(listener.name.clone()),
            None => {
                let known = all.iter().map(|listener| &*listener.name);
                report.value(&at, format!("unknown listener `{}`{}", cut(name), hint(name, known)));
                complete = false;
            }
        }
    }
    names.sort();
    names.dedup();
    complete.then_some(names)
}

fn hosts(typed: &Match, place: &str, report: &mut Report<'_>) -> Option<Vec<model::HostPattern>> {
    let (one, several) = (join(place, "host"), join(place, "hosts"));
    if typed.host.is_some() && typed.hosts.is_some() {
        report.key(&several, "`host` is there too; put all of them into `hosts`");
    }
    let mut texts = Vec::new();
    if let Some(part) = &typed.host {
        texts.extend(report.part(part, &one).map(|text| (one, text)));
    }
    texts.extend(report.parts(typed.hosts.as_deref().unwrap_or_default(), &several));
    let count = typed.host.iter().len() + typed.hosts.as_ref().map_or(0, Vec::len);
    let mut hosts = Vec::new();
    for (at, text) in texts {
        match paths::host(text) {
            Ok(host) => hosts.push(host),
            Err(message) => report.value(&at, message),
        }
    }
    let all_read = hosts.len() == count;
    hosts.sort();
    hosts.dedup();
    all_read.then_some(hosts)
}

fn methods(typed: &Match, place: &str, report: &mut Report<'_>) -> Option<Vec<Method>> {
    let list = typed.methods.as_deref().unwrap_or_default();
    let mut methods = Vec::new();
    for (at, text) in report.parts(list, place) {
        let upper = text.to_ascii_uppercase();
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT) => report.value(&at, "`CONNECT` is not carried by this gateway"),
            Ok(_) if upper != *text => report.value(&at, format!("methods are in upper case; write `{upper}`")),
            Ok(method) => methods.push(method),
            Err(_) => report.value(&at, format!("`{}` is no HTTP method", cut(text))),
        }
    }
    let all_read = methods.len() == list.len();
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    all_read.then_some(methods)
}

fn headers(typed: &Match, place: &str, report: &mut Report<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, part) in &typed.headers {
        let at = join(place, name);
        let Some(text) = report.part(part, &at) else { continue };
        let parsed = HeaderName::from_bytes(name.as_bytes());
        match &parsed {
            Ok(name) if name == header::HOST => report.key(&at, "the host is matched by `host`, beside `headers`"),
            Ok(name) if headers.iter().any(|(other, _)| other == name) => {
                report.key(&at, format!("header `{name}` is there twice: names are the same in upper and lower case"));
            }
            Ok(_) => {}
            Err(_) => report.key(&at, format!("`{}` is no header name", cut(name))),
        }
        // Values arrive without the white space around them (RFC 9110 §5.5).
        let value = HeaderValue::from_str(text).ok().filter(|_| text.trim_matches([' ', '\t']) == text);
        if value.is_none() {
            let message =
                format!("`{}` is no header value: control characters and outer spaces never arrive", cut(text));
            report.value(&at, message);
        }
        headers.extend(parsed.ok().zip(value));
    }
    headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    (headers.len() == typed.headers.len()).then_some(headers)
}

fn query(typed: &Match, place: &str, report: &mut Report<'_>) -> Option<Vec<(String, String)>> {
    let read = |(name, part): (&String, &Part<String>)| {
        report.part(part, &join(place, name)).map(|value| (name.clone(), value.clone()))
    };
    // A map is sorted and has each name once.
    let query: Vec<_> = typed.query.iter().filter_map(read).collect();
    (query.len() == typed.query.len()).then_some(query)
}
