//! Kong's plugins and consumers.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::{
    document::At,
    draft::{DENIED, Draft, denied, plugin},
};

/// The plugins of a service, a route, or the whole file.
#[derive(Default)]
pub(super) struct Plugins {
    pub(super) list: Vec<Value>,
    body_bytes: Option<String>,
    /// `request-termination`, which takes the upstream's place.
    pub(super) respond: Option<Value>,
}

/// Keys of consumers, for `key-auth`.
pub(super) struct Consumers {
    keys: Vec<Value>,
    has_others: bool,
}

/// Kong runs plugins by priority; these are its priorities' order.
const ORDER: &[&str] = &[
    "request-id",
    "cors",
    "ip-rules",
    "basic-auth",
    "api-key",
    "jwt",
    "acl",
    "rate-limit",
    "cache",
    "transform",
    "access-log",
];

impl Plugins {
    /// With those of the service that the route does not have itself.
    pub(super) fn merged(&self, of_service: &Self) -> Vec<Value> {
        let is_own = |other: &&Value| !self.list.iter().any(|own| own["name"] == other["name"]);
        let mut all: Vec<_> = self.list.iter().chain(of_service.list.iter().filter(is_own)).cloned().collect();
        let rank = |plugin: &Value| ORDER.iter().position(|name| plugin["name"] == *name).unwrap_or(ORDER.len());
        all.sort_by_key(rank);
        all
    }

    pub(super) fn options(&self, of_service: &Self) -> Map<String, Value> {
        let size = self.body_bytes.as_ref().or(of_service.body_bytes.as_ref());
        size.map(|size| ("limits".to_owned(), json!({ "body-bytes": size }))).into_iter().collect()
    }
}

impl Consumers {
    pub(super) fn of(root: &At<'_>, draft: &mut Draft) -> Self {
        let mut consumers = Self { keys: Vec::new(), has_others: false };
        for consumer in root.list("consumers") {
            let name = consumer.text("username").or_else(|| consumer.text("custom_id")).unwrap_or("consumer");
            let groups: Vec<_> =
                consumer.list("acls").iter().filter_map(|acl| acl.text("group").map(str::to_owned)).collect();
            for (number, credential) in consumer.list("keyauth_credentials").iter().enumerate() {
                let Some(key) = credential.text("key") else { continue };
                let id = if number == 0 { name.to_owned() } else { format!("{name}-{}", number + 1) };
                let sha256: String =
                    digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let groups = if groups.is_empty() { Value::Null } else { json!(groups) };
                consumers.keys.push(json!({ "id": id, "sha256": sha256, "groups": groups }));
            }
            for key in ["basicauth_credentials", "jwt_secrets", "hmacauth_credentials", "oauth2_credentials", "plugins"]
            {
                if let Some(value) = consumer.get(key) {
                    consumers.has_others = true;
                    draft.note(
                        value.line(),
                        format!("`{key}` of consumer `{name}`: write it into the configuration of the plugin"),
                    );
                }
            }
        }
        consumers
    }
}

/// The plugins under the key `plugins`.
pub(super) fn translate(of: &At<'_>, consumers: &Consumers, draft: &mut Draft) -> Plugins {
    let mut plugins = Plugins::default();
    for used in of.list("plugins") {
        if used.flag("enabled") == Some(false) {
            continue;
        }
        let Some(name) = used.text("name") else { continue };
        let empty = used.get("config");
        match empty {
            Some(config) => one(name, &config, consumers, &mut plugins, draft),
            None => one(name, &used, consumers, &mut plugins, draft),
        }
    }
    plugins
}

fn one(name: &str, config: &At<'_>, consumers: &Consumers, plugins: &mut Plugins, draft: &mut Draft) {
    let line = config.line();
    let texts = |key: &str| config.texts(key);
    let list = |values: Vec<String>| if values.is_empty() { Value::Null } else { json!(values) };
    let translated = match name {
        "rate-limiting" => rate_limit(config, draft),
        "key-auth" => {
            let names = texts("key_names");
            let from: Vec<_> = names.iter().map(|name| json!({ "header": name.to_lowercase() })).collect();
            let from = if from.is_empty() { json!([{ "header": "apikey" }]) } else { from.into() };
            if consumers.keys.is_empty() {
                draft.note(line, "`key-auth`: no consumer has a key; add `keys` or `keys-secret`");
            }
            let forward = !config.flag("hide_credentials").unwrap_or(false);
            Some(plugin("api-key", json!({ "from": from, "keys": consumers.keys, "forward": forward })))
        }
        "cors" => {
            let origins = texts("origins");
            let credentials = config.flag("credentials").unwrap_or(false);
            let origins = if origins.is_empty() { vec!["*".to_owned()] } else { origins };
            if credentials && origins.iter().any(|origin| origin == "*") {
                draft.note(
                    line,
                    "`cors` with credentials for all origins: any page could act as its user; list the origins",
                );
            }
            let max_age = config.number("max_age").map(|seconds| json!(format!("{}s", seconds.min(86_400))));
            Some(plugin(
                "cors",
                json!({
                    "allow-origins": origins, "allow-methods": list(texts("methods")), "allow-headers": list(texts("headers")),
                    "expose-headers": list(texts("exposed_headers")), "allow-credentials": credentials.then_some(true),
                    "max-age": max_age,
                }),
            ))
        }
        "ip-restriction" => {
            Some(plugin("ip-rules", json!({ "allow": list(texts("allow")), "deny": list(texts("deny")) })))
        }
        "acl" => {
            let rule = |key: &str| {
                let groups = texts(key);
                if groups.is_empty() { Value::Null } else { json!({ "groups": groups }) }
            };
            Some(plugin("acl", json!({ "allow": rule("allow"), "deny": rule("deny") })))
        }
        "correlation-id" => {
            let header = config.text("header_name").unwrap_or("Kong-Request-ID").to_lowercase();
            let echo = config.flag("echo_downstream").unwrap_or(false);
            Some(plugin("request-id", json!({ "header": header, "echo": echo })))
        }
        "proxy-cache" => {
            let ttl = config.number("cache_ttl").unwrap_or(300);
            Some(plugin("cache", json!({ "default-ttl": format!("{ttl}s") })))
        }
        "request-transformer" | "response-transformer" => transform(name, config, draft),
        "request-size-limiting" => {
            let size = config.number("allowed_payload_size").unwrap_or(128);
            let unit = match config.text("size_unit") {
                Some("kilobytes") => "KiB",
                Some("bytes") => "",
                _ => "MiB",
            };
            plugins.body_bytes = Some(format!("{size}{unit}"));
            return;
        }
        "request-termination" => {
            let status = config.number("status_code").unwrap_or(503);
            let body = config.text("body").or_else(|| config.text("message")).map(|body| json!(body));
            let headers = config.text("content_type").map(|kind| json!({ "content-type": kind }));
            plugins.respond = Some(json!({ "status": status, "headers": headers, "body": body }));
            return;
        }
        // Always there, at /metrics of the admin listener.
        "prometheus" => return,
        _ => None,
    };
    match translated {
        Some(plugin) => plugins.list.push(plugin),
        None if AUTHENTICATION.contains(&name) => {
            plugins.list.push(denied());
            draft.note(line, format!("plugin `{name}`: {}; {DENIED}", instead(name)));
        }
        None => draft.note(line, format!("plugin `{name}`: {}", instead(name))),
    }
}

/// Plugins that protect a service and are not translated.
const AUTHENTICATION: &[&str] = &[
    "basic-auth",
    "forward-auth",
    "hmac-auth",
    "jwt",
    "jwt-signer",
    "kong-oidc",
    "ldap-auth",
    "ldap-auth-advanced",
    "mtls-auth",
    "oauth2",
    "oauth2-introspection",
    "oidc",
    "opa",
    "openid-connect",
    "saml",
    "session",
    "vault-auth",
];

/// What to do about a plugin that is not translated.
fn instead(name: &str) -> &'static str {
    match name {
        "jwt" => "use `jwt` with the issuers' keys",
        "openid-connect" => "use `oidc` for logins, or `jwt` for tokens",
        "basic-auth" => "use `basic-auth` with hashes of the passwords",
        "oauth2-introspection" | "forward-auth" => "use `ext-auth`",
        "file-log" | "http-log" | "tcp-log" | "udp-log" | "syslog" => "use `access-log`",
        "opentelemetry" | "zipkin" => "use `tracing`",
        "grpc-gateway" => "use `grpc-json`",
        "grpc-web" => "use `grpc-web`",
        _ => "no counterpart; it can be written as a plugin",
    }
}

fn rate_limit(config: &At<'_>, draft: &mut Draft) -> Option<Value> {
    let periods = [("second", "1s"), ("minute", "1m"), ("hour", "1h"), ("day", "1d")];
    let limits: Vec<_> = periods
        .iter()
        .filter_map(|(key, per)| {
            Some(json!({ "limit": config.number(key)?, "per": per, "algorithm": "sliding-window" }))
        })
        .collect();
    for key in ["month", "year"] {
        if let Some(value) = config.get(key) {
            draft.note(value.line(), format!("`{key}`: write it in days"));
        }
    }
    let key = match config.text("limit_by").unwrap_or("consumer") {
        "ip" => json!("client-address"),
        "service" => json!("route"),
        "header" => json!({ "header": config.text("header_name")?.to_lowercase() }),
        "consumer" | "credential" => json!({ "attribute": "api-key.id" }),
        other => {
            draft.note(config.line(), format!("`limit_by: {other}`: clients are distinguished by their address"));
            json!("client-address")
        }
    };
    if config.text("policy") == Some("redis") {
        draft.note(config.line(), "`policy: redis`: set `state: { backend: { redis: { url: … } } }`");
    }
    (!limits.is_empty()).then(|| plugin("rate-limit", json!({ "limits": limits, "key": key })))
}

fn transform(name: &str, config: &At<'_>, draft: &mut Draft) -> Option<Value> {
    let mut side = Map::new();
    let mut pairs = |key: &str, option: &str, lower: bool| {
        let Some(group) = config.get(key) else { return };
        let read = |item: &At<'_>| {
            let (name, value) = item.value.as_str()?.split_once(':')?;
            let value = if lower { value.to_lowercase() } else { value.replace('{', "{{").replace('}', "}}") };
            Some((name.to_lowercase(), json!(value)))
        };
        let read: Map<_, _> = group.list("headers").iter().filter_map(read).collect();
        if !read.is_empty() {
            let present = side.entry(option).or_insert_with(|| Map::new().into());
            if let Some(map) = present.as_object_mut() {
                map.extend(read);
            }
        }
    };
    pairs("rename", "rename-headers", true);
    pairs("add", "set-headers", false);
    pairs("replace", "set-headers", false);
    pairs("append", "append-headers", false);
    let removed = config.get("remove").map(|group| group.texts("headers")).unwrap_or_default();
    if !removed.is_empty() {
        let removed: Vec<_> = removed.iter().map(|name| name.to_lowercase()).collect();
        side.insert("remove-headers".to_owned(), json!(removed));
    }
    for group in ["add", "replace", "rename", "append", "remove"] {
        for key in ["querystring", "body", "json", "uri"] {
            if let Some(value) = config
                .get(group)
                .and_then(|group| group.get(key))
                .filter(|value| !value.value.as_array().is_some_and(Vec::is_empty))
            {
                draft.note(
                    value.line(),
                    format!("`{name}` with `{group}.{key}`: write it in `transform` or `json-body`"),
                );
            }
        }
    }
    let direction = if name == "request-transformer" { "request" } else { "response" };
    (!side.is_empty()).then(|| plugin("transform", json!({ direction: side })))
}
