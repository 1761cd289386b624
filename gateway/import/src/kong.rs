//! Kong's declarative configuration (`_format_version`), with services, routes, upstreams, consumers and plugins.

mod plugins;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    ImportError,
    document::{self, At},
    draft::{self, Draft, Listener, Route, below},
    units,
};

pub(crate) fn translate(text: &str) -> Result<Draft, ImportError> {
    let document = document::one(text)?;
    let root = document.root();
    let mut draft = Draft::default();
    draft.listen(Listener { line: 1, address: "0.0.0.0:8000".to_owned(), tls: None });
    for (key, value) in root.entries() {
        match key {
            "_format_version" | "_transform" | "_info" | "services" | "routes" | "upstreams" | "plugins"
            | "consumers" | "consumer_groups" | "tags" => {}
            "certificates" | "snis" => {
                draft.note(
                    value.line(),
                    format!("`{key}`: put the certificates into files and name them in `listeners`"),
                );
            }
            _ => draft.note(value.line(), format!("`{key}`: no counterpart")),
        }
    }
    let consumers = plugins::Consumers::of(&root, &mut draft);
    let balanced: BTreeMap<_, _> =
        root.list("upstreams").into_iter().filter_map(|upstream| Some((upstream.text("name")?, upstream))).collect();
    draft.global_plugins = plugins::translate(&root, &consumers, &mut draft).list;
    for service in root.list("services") {
        let Some(target) = target(&service, &balanced, &mut draft) else { continue };
        let of_service = plugins::translate(&service, &consumers, &mut draft);
        for route in service.list("routes") {
            translate_route(&route, &target, &of_service, &consumers, &mut draft);
        }
        let name = service.text("name").unwrap_or_default();
        for route in root.list("routes") {
            if route.get("service").is_some_and(|of| of.text("name") == Some(name)) {
                translate_route(&route, &target, &of_service, &consumers, &mut draft);
            }
        }
    }
    draft.complete("no service has a route")
}

/// Where a service's requests go.
struct Target {
    upstream: String,
    /// The service's own path, which is put before that of requests.
    path: String,
    timeout: Option<u64>,
}

fn target(service: &At<'_>, balanced: &BTreeMap<&str, At<'_>>, draft: &mut Draft) -> Option<Target> {
    let url = service.text("url");
    let from_url = url.and_then(|url| {
        let (protocol, rest) = url.split_once("://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        Some((protocol.to_owned(), host.to_owned(), port, path.to_owned()))
    });
    let (protocol, host, port, path) = match from_url {
        Some(parts) => parts,
        None => (
            service.text("protocol").unwrap_or("http").to_owned(),
            service.text("host")?.to_owned(),
            service.number("port"),
            service.text("path").unwrap_or_default().to_owned(),
        ),
    };
    let (scheme, default_port, is_grpc) = match protocol.as_str() {
        "http" => ("http", 80, false),
        "https" => ("https", 443, false),
        "grpc" => ("http", 80, true),
        "grpcs" => ("https", 443, true),
        other => {
            draft.note(service.line(), format!("service with `{other}`: only HTTP and gRPC services are upstreams"));
            return None;
        }
    };
    let mut upstream = draft::Upstream { line: service.line(), ..draft::Upstream::default() };
    upstream.name = service.text("name").unwrap_or(&host).to_owned();
    match balanced.get(host.as_str()) {
        Some(balanced) => endpoints(balanced, scheme, &mut upstream, draft),
        None => upstream.endpoints.push((format!("{scheme}://{host}:{}", port.unwrap_or(default_port)), None)),
    }
    if is_grpc {
        upstream.options.insert("protocol".into(), json!("http2"));
    }
    if let Some(connect) = service.number("connect_timeout") {
        upstream.options.insert("timeouts".into(), json!({ "connect": units::milliseconds(connect) }));
    }
    if let Some(retries) = service.number("retries").filter(|retries| *retries > 0) {
        upstream.options.insert("retry".into(), json!({ "attempts": retries.min(10) }));
    }
    for key in ["client_certificate", "ca_certificates", "tls_verify"] {
        if let Some(value) = service.get(key) {
            draft.note(value.line(), format!("`{key}`: set `tls` of the upstream"));
        }
    }
    let timeout = service.number("read_timeout");
    Some(Target { upstream: draft.upstream(upstream), path: path.trim_end_matches('/').to_owned(), timeout })
}

fn endpoints(balanced: &At<'_>, scheme: &str, upstream: &mut draft::Upstream, draft: &mut Draft) {
    for target in balanced.list("targets") {
        let Some(address) = target.text("target") else { continue };
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:8000") };
        // Kong's default weight is 100.
        let weight = target.number("weight").map(|weight| if weight == 100 { 1 } else { weight });
        upstream.endpoints.push((format!("{scheme}://{address}"), weight.filter(|weight| *weight != 1)));
    }
    match balanced.text("algorithm") {
        Some("least-connections") => _ = upstream.options.insert("balance".into(), json!("least-request")),
        Some("consistent-hashing") => {
            let key = match balanced.text("hash_on") {
                Some("ip") => Some(json!("client-address")),
                Some("header") => balanced.text("hash_on_header").map(|name| json!({ "header": name.to_lowercase() })),
                Some("cookie") => balanced.text("hash_on_cookie").map(|name| json!({ "cookie": name })),
                _ => None,
            };
            match key {
                Some(key) => _ = upstream.options.insert("balance".into(), json!({ "hash": key })),
                None => draft.note(balanced.line(), "`hash_on`: this key has no counterpart"),
            }
        }
        Some("round-robin") | None => {}
        Some(other) => draft.note(balanced.line(), format!("`algorithm: {other}`: round-robin is used")),
    }
    let active = balanced.get("healthchecks").and_then(|checks| checks.get("active"));
    if let Some(active) = active {
        let interval =
            active.get("healthy").and_then(|healthy| healthy.number("interval")).filter(|seconds| *seconds > 0);
        if let Some(interval) = interval {
            let path = active.text("http_path").unwrap_or("/");
            let check = json!({ "path": path, "interval": units::milliseconds(interval.saturating_mul(1000)) });
            upstream.options.insert("health".into(), json!({ "active": check }));
        }
    }
}

fn translate_route(
    route: &At<'_>,
    target: &Target,
    of_service: &plugins::Plugins,
    consumers: &plugins::Consumers,
    draft: &mut Draft,
) {
    let mut own = plugins::translate(route, consumers, draft);
    let mut paths = route.texts("paths");
    if paths.is_empty() {
        paths.push("/".to_owned());
    }
    let strips = route.flag("strip_path").unwrap_or(true);
    for key in ["snis", "sources", "destinations", "https_redirect_status_code", "regex_priority", "expression"] {
        if let Some(value) = route.get(key).filter(|value| *value.value != json!(0)) {
            draft.note(value.line(), format!("`{key}`: no counterpart"));
        }
    }
    if route.texts("protocols") == ["https"] {
        draft.note(route.line(), "`protocols: [https]`: name the listener in `match.listeners`");
    }
    let host = if route.flag("preserve_host").unwrap_or(false) { "preserve" } else { "endpoint" };
    if let Some(upstream) = draft.upstream_named(&target.upstream) {
        let present = upstream.options.entry("host").or_insert_with(|| json!(host));
        if present != host {
            draft.note(route.line(), "`preserve_host`: an upstream has one `host` for all routes");
        }
    }
    let mut headers = Map::new();
    for (name, values) in route.get("headers").map(|headers| headers.entries()).unwrap_or_default() {
        let values: Vec<_> = values.items().filter_map(|item| item.value.as_str().map(str::to_owned)).collect();
        match &values[..] {
            [one] if !one.starts_with("~*") => _ = headers.insert(name.to_lowercase(), json!(one)),
            _ => draft.note(route.line(), format!("`headers.{name}`: a condition has one exact value")),
        }
    }
    let name = route.text("name").map_or_else(|| target.upstream.clone(), str::to_owned);
    for path in paths {
        if let Some(pattern) = path.strip_prefix('~') {
            draft.note(
                route.line(),
                format!("`~{pattern}`: routes have no regular expressions; write its paths as routes"),
            );
            continue;
        }
        if path.contains(['{', '}']) {
            draft.note(route.line(), format!("`{path}`: this path has no counterpart"));
            continue;
        }
        if path != "/" && !path.ends_with('/') {
            draft.note(route.line(), format!("`{path}` also matches `{path}…` in Kong; here it and paths below it"));
        }
        let prefix = path.trim_end_matches('/');
        let strip = if strips && !prefix.is_empty() { json!(prefix) } else { Value::Null };
        let add = if target.path.is_empty() { Value::Null } else { json!(target.path) };
        let mut plugins = own.merged(of_service);
        if !strip.is_null() || !add.is_null() {
            let edit = json!({ "request": { "path": { "strip-prefix": strip, "add-prefix": add } } });
            plugins.push(draft::plugin("transform", edit));
        }
        let mut options = own.options(of_service);
        if let Some(time) = target.timeout {
            options.insert("timeouts".to_owned(), json!({ "request": units::milliseconds(time) }));
        }
        let respond = own.respond.take().or_else(|| of_service.respond.clone());
        let action = respond.map_or_else(|| ("upstream", json!(target.upstream)), |respond| ("respond", respond));
        draft.route(Route {
            line: route.line(),
            name: name.clone(),
            listeners: Vec::new(),
            hosts: route.texts("hosts"),
            path: Some(below(prefix)),
            methods: route.texts("methods"),
            headers: headers.clone(),
            plugins,
            action,
            options,
        });
    }
}
