//! Locations, as routes.

use serde_json::{Map, Value, json};

use super::{
    parse::Directive,
    settings::{Host, Settings, shown},
    upstream,
    zones::Zones,
};
use crate::{
    draft::{DENIED, Draft, Route, below, denied, plugin},
    units,
};

pub(super) struct Server<'a> {
    pub(super) line: usize,
    /// Addresses.
    pub(super) listeners: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) settings: &'a Settings,
    pub(super) zones: &'a Zones,
}

/// The path of a location, as far as routes have it.
struct Place {
    path: Option<String>,
    /// What `proxy_pass` with a path replaces.
    prefix: String,
}

pub(super) fn translate(server: &Server<'_>, block: &[Directive], draft: &mut Draft) {
    // A `return` or `proxy_pass` in the server itself is for all of its requests.
    let everything = Place { path: Some("/{*rest}".to_owned()), prefix: "/".to_owned() };
    if block.iter().any(|directive| directive.name == "return") {
        return action(server, server.line, everything, block, server.settings, block, draft);
    }
    for directive in block
        .iter()
        .filter(|directive| matches!(directive.name.as_str(), "root" | "try_files" | "error_page" | "if" | "rewrite"))
    {
        report(directive, draft);
    }
    for location in block.iter().filter(|directive| directive.name == "location") {
        translate_one(server, location, server.settings, block, draft);
    }
}

fn translate_one(
    server: &Server<'_>,
    location: &Directive,
    around: &Settings,
    siblings: &[Directive],
    draft: &mut Draft,
) {
    let Some(block) = &location.block else { return };
    let Some(place) = place(location, draft) else { return };
    if block.iter().any(|directive| directive.name == "internal") {
        return;
    }
    let settings = around.within(block, server.zones, draft, is_of_location);
    action(server, location.line, place, block, &settings, siblings, draft);
    for inner in block.iter().filter(|directive| directive.name == "location") {
        translate_one(server, inner, &settings, siblings, draft);
    }
}

fn place(location: &Directive, draft: &mut Draft) -> Option<Place> {
    let (modifier, path) = match &location.args[..] {
        [path] => ("", path.as_str()),
        [modifier, path] => (modifier.as_str(), path.as_str()),
        _ => return None,
    };
    if path.contains(['{', '}']) || !path.starts_with(['/', '^', '\\', '@']) {
        draft.note(location.line, format!("`{}`: this path has no counterpart", shown(location)));
        return None;
    }
    match modifier {
        _ if path.starts_with('@') => {
            draft.note(location.line, format!("`location {path}`: named locations have no counterpart"));
            None
        }
        "=" => Some(Place { path: Some(path.to_owned()), prefix: path.to_owned() }),
        "" | "^~" => {
            if !path.ends_with('/') {
                let text =
                    format!("`location {path}` also matches `{path}…`; the route matches `{path}` and paths below it");
                draft.note(location.line, text);
            }
            Some(Place { path: Some(below(path)), prefix: path.to_owned() })
        }
        _ => {
            let text = format!(
                "`{}`: routes have no regular expressions; until its paths are routes of their own, their requests match others",
                shown(location)
            );
            draft.note(location.line, text);
            None
        }
    }
}

fn action(
    server: &Server<'_>,
    line: usize,
    place: Place,
    block: &[Directive],
    settings: &Settings,
    siblings: &[Directive],
    draft: &mut Draft,
) {
    let named = |name: &str| block.iter().find(|directive| directive.name == name);
    for directive in block {
        if matches!(directive.name.as_str(), "if" | "root" | "alias" | "try_files" | "error_page" | "mirror") {
            report(directive, draft);
        }
    }
    let mut options = Map::new();
    let mut path_edit = None;
    let action = if let Some(directive) = named("return") {
        let Some(action) = returned(directive, draft) else { return };
        action
    } else if let Some(directive) = named("proxy_pass").or_else(|| named("grpc_pass")) {
        let Some((name, path)) = passed(directive, settings, draft) else { return };
        path_edit = replaced(directive.line, &place, path.as_deref(), draft);
        ("upstream", json!(name))
    } else {
        if let Some(other) = block.iter().find(|directive| directive.name.ends_with("_pass")) {
            draft.note(other.line, format!("`{}`: only HTTP and gRPC services are upstreams", shown(other)));
        }
        return;
    };
    if let Some(rewrite) = named("rewrite") {
        path_edit = rewritten(rewrite, draft).or(path_edit);
    }
    if let (Some(size), "upstream") = (&settings.body_bytes, action.0) {
        options.insert("limits".to_owned(), json!({ "body-bytes": size }));
    }
    if action.0 == "upstream" {
        if let Some(time) = settings.read_timeout {
            options.insert("timeouts".to_owned(), json!({ "request": units::milliseconds(time) }));
        }
        if settings.upgrades {
            options.insert("upgrades".to_owned(), json!(["websocket"]));
        }
    }
    let mut plugins = settings.plugins(path_edit);
    if let Some((path, at)) = &settings.auth_request {
        match authorization(path, settings, siblings, draft) {
            Some(plugin) => plugins.insert(0, plugin),
            None => {
                plugins.insert(0, denied());
                let text =
                    format!("`auth_request {path}`: there is no `location = {path}` with `proxy_pass`; {DENIED}");
                draft.note(*at, text);
            }
        }
    }
    let path = place.path.filter(|path| path != "/{*rest}");
    let host = server.hosts.first().map(String::as_str).unwrap_or_default();
    let name = format!("{host}{}", path.as_deref().unwrap_or_default().replace("/{*rest}", ""));
    let path = Some(path.unwrap_or_else(|| "/{*rest}".to_owned()));
    draft.route(Route {
        line,
        name,
        listeners: server.listeners.clone(),
        hosts: server.hosts.clone(),
        path,
        methods: Vec::new(),
        headers: Map::new(),
        plugins,
        action,
        options,
    });
}

/// `return CODE …`, as a redirect or a response.
fn returned(directive: &Directive, draft: &mut Draft) -> Option<(&'static str, Value)> {
    let (code, text) = match &directive.args[..] {
        [url] if url.parse::<u16>().is_err() => (302, Some(url)),
        [code] => (code.parse().ok()?, None),
        [code, text, ..] => (code.parse().ok()?, Some(text)),
        [] => return None,
    };
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        if code == 444 {
            draft.note(directive.line, "`return 444`: connections are not closed without a response; 403 is sent");
            return Some(("respond", json!({ "status": 403 })));
        }
        let body = text.map_or(Value::Null, |text| json!(text));
        return Some(("respond", json!({ "status": code, "body": body })));
    }
    let url = text?;
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url.as_str()),
    };
    let (host, path) = match scheme {
        Some(_) => rest.split_at(
            rest.find('/').or_else(|| rest.find("$request_uri")).or_else(|| rest.find("$uri")).unwrap_or(rest.len()),
        ),
        None => ("", rest),
    };
    let keeps_path = path.starts_with("$request_uri") || path.starts_with("$uri");
    let is_same_host = matches!(host, "" | "$host" | "$http_host" | "$server_name" | "${host}");
    let unknown = (host.contains('$') && !is_same_host) || (path.contains('$') && !keeps_path);
    if unknown {
        draft.note(directive.line, format!("`{}`: this target has no counterpart", shown(directive)));
        return None;
    }
    let (host, port) = host.rsplit_once(':').map_or((host, None), |(host, port)| (host, port.parse::<u16>().ok()));
    let scheme = scheme.filter(|scheme| matches!(*scheme, "http" | "https"));
    let mut redirect = Map::new();
    redirect.insert("scheme".into(), scheme.map_or(Value::Null, |scheme| json!(scheme)));
    redirect.insert("host".into(), if is_same_host { Value::Null } else { json!(host) });
    redirect.insert("port".into(), port.map_or(Value::Null, |port| json!(port)));
    redirect.insert("path".into(), if keeps_path || path.is_empty() { Value::Null } else { json!(path) });
    redirect.insert("status".into(), json!(code));
    Some(("redirect", redirect.into()))
}

/// The upstream of `proxy_pass`, and the path that it names.
fn passed(directive: &Directive, settings: &Settings, draft: &mut Draft) -> Option<(String, Option<String>)> {
    let url = directive.args.first()?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (scheme, is_grpc) = match scheme {
        "grpc" => ("http", true),
        "grpcs" => ("https", true),
        scheme => (scheme, directive.name == "grpc_pass"),
    };
    let (authority, path) = rest.find('/').map_or((rest, None), |at| (&rest[..at], Some(rest[at..].to_owned())));
    if url.contains('$') || authority.starts_with("unix:") {
        draft.note(directive.line, format!("`{}`: upstreams have fixed addresses", shown(directive)));
        return None;
    }
    let known = crate::draft::identifier(authority);
    let name = if draft.upstream_named(&known).is_some() {
        known
    } else {
        let port = if scheme == "https" { 443 } else { 80 };
        draft.upstream_of(directive.line, &format!("{scheme}://{}", upstream::with_port(authority, port)))
    };
    let upstream = draft.upstream_named(&name)?;
    if scheme == "https" {
        upstream::set_scheme(upstream, scheme);
    }
    if is_grpc {
        upstream.options.insert("protocol".into(), json!("http2"));
    }
    let wanted = if settings.host == Host::Client { "preserve" } else { "endpoint" };
    let present = upstream.options.entry("host").or_insert_with(|| json!(wanted));
    let differs = present != wanted;
    if let Some(time) = settings.connect_timeout {
        upstream::option(upstream, "timeouts", "connect", json!(units::milliseconds(time)));
    }
    if differs {
        let text = format!("upstream `{name}` has one `host` for all routes; another location sets `Host` differently");
        draft.note(directive.line, text);
    }
    Some((name, path))
}

/// `proxy_pass` with a path replaces the location's prefix by it.
fn replaced(line: usize, place: &Place, path: Option<&str>, draft: &mut Draft) -> Option<Value> {
    let path = path?;
    let (from, to) = (place.prefix.trim_end_matches('/'), path.trim_end_matches('/'));
    if from == to {
        return None;
    }
    if place.prefix.ends_with('/') != path.ends_with('/') && !to.is_empty() {
        draft.note(line, format!("`{path}` replaces `{}` as text in nginx, and as whole segments here", place.prefix));
    }
    let part = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    Some(json!({ "strip-prefix": part(from), "add-prefix": part(to) }))
}

/// `rewrite REGEX REPLACEMENT [last|break]`.
fn rewritten(directive: &Directive, draft: &mut Draft) -> Option<Value> {
    let [pattern, with, flags @ ..] = &directive.args[..] else { return None };
    let is_redirect =
        with.contains("://") || flags.iter().any(|flag| matches!(flag.as_str(), "permanent" | "redirect"));
    let has_variables = with.split('$').skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    if is_redirect || has_variables || with.contains('?') {
        draft.note(directive.line, format!("`{}`: this rewrite has no counterpart", shown(directive)));
        return None;
    }
    // `$1x` would be a group of the name `1x`.
    let mut text = String::new();
    let mut rest = with.as_str();
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        let digits = rest[at + 1..].chars().take_while(char::is_ascii_digit).count();
        text.push_str(&format!("${{{}}}", &rest[at + 1..at + 1 + digits]));
        rest = &rest[at + 1 + digits..];
    }
    text.push_str(rest);
    if flags.iter().any(|flag| flag == "last") {
        draft.note(directive.line, "`rewrite … last`: the route stays the one that the request came to");
    }
    Some(json!({ "replace": { "pattern": pattern, "with": text } }))
}

/// `auth_request`, with the service of the location that it names.
fn authorization(path: &str, settings: &Settings, siblings: &[Directive], draft: &mut Draft) -> Option<Value> {
    let is_it =
        |directive: &&Directive| directive.name == "location" && directive.args.last().is_some_and(|last| last == path);
    let location = siblings.iter().find(is_it)?;
    let pass = location.block.iter().flatten().find(|directive| directive.name == "proxy_pass")?;
    let (upstream, target) = passed(pass, settings, draft)?;
    draft.grant("ext-auth", "upstreams", &upstream);
    draft.note(pass.line, "`auth_request`: of the request, the service gets the headers `authorization` and `cookie`; add others to `headers`");
    let config = json!({ "upstream": upstream, "path": target.unwrap_or_else(|| path.to_owned()), "headers": ["authorization", "cookie"] });
    Some(plugin("ext-auth", config))
}

fn report(directive: &Directive, draft: &mut Draft) {
    let why = match directive.name.as_str() {
        "root" | "alias" | "try_files" => "files are not served",
        "error_page" => "error responses are problem details (RFC 9457)",
        "mirror" => "requests are not mirrored",
        "if" => "conditions are written as routes with `match`",
        _ => "no counterpart here",
    };
    draft.note(directive.line, format!("`{}`: {why}", shown(directive)));
}

/// What `action` looks at.
fn is_of_location(name: &str) -> bool {
    matches!(
        name,
        "return"
            | "proxy_pass"
            | "grpc_pass"
            | "rewrite"
            | "if"
            | "root"
            | "alias"
            | "try_files"
            | "error_page"
            | "mirror"
            | "location"
            | "internal"
            | "set_real_ip_from"
            | "real_ip_header"
    ) || name.ends_with("_pass")
}
