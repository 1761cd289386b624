//! `upstream NAME { … }`.

use serde_json::{Map, Value, json};

use super::{parse::Directive, settings::shown};
use crate::{
    draft::{self, Draft, identifier},
    units,
};

pub(super) fn translate(directive: &Directive, draft: &mut Draft) {
    let name = directive.args.first().cloned().unwrap_or_default();
    let mut upstream = draft::Upstream { line: directive.line, name: identifier(&name), ..draft::Upstream::default() };
    for inner in directive.block.iter().flatten() {
        match inner.name.as_str() {
            "server" => server(inner, &mut upstream, draft),
            "least_conn" => _ = upstream.options.insert("balance".into(), json!("least-request")),
            "random" => _ = upstream.options.insert("balance".into(), json!("random")),
            "ip_hash" => _ = upstream.options.insert("balance".into(), json!({ "hash": "client-address" })),
            "hash" => match inner.args.first().map(String::as_str).unwrap_or_default() {
                "$remote_addr" | "$binary_remote_addr" => {
                    _ = upstream.options.insert("balance".into(), json!({ "hash": "client-address" }));
                }
                key => {
                    let header = key.strip_prefix("$http_").map(|name| json!({ "header": name.replace('_', "-") }));
                    let cookie = key.strip_prefix("$cookie_").map(|name| json!({ "cookie": name }));
                    match header.or(cookie) {
                        Some(key) => _ = upstream.options.insert("balance".into(), json!({ "hash": key })),
                        None => draft.note(inner.line, format!("`hash {key}`: this key has no counterpart")),
                    }
                }
            },
            "keepalive" => {
                if let Some(number) = inner.args.first().and_then(|number| number.parse::<u64>().ok()) {
                    upstream.options.insert("idle-connections".into(), json!(number));
                }
            }
            "zone" | "keepalive_timeout" | "keepalive_requests" | "keepalive_time" => {}
            _ => draft.note(inner.line, format!("`{}`: no counterpart in an upstream", shown(inner))),
        }
    }
    if upstream.endpoints.is_empty() {
        draft.note(directive.line, format!("upstream `{name}` has no server that can be used"));
        upstream.endpoints.push(("http://127.0.0.1:1".into(), None));
    }
    draft.upstream(upstream);
}

fn server(directive: &Directive, upstream: &mut draft::Upstream, draft: &mut Draft) {
    let Some(address) = directive.args.first() else { return };
    if address.starts_with("unix:") {
        draft.note(directive.line, format!("`{address}`: endpoints are hosts and ports"));
        return;
    }
    let mut weight = None;
    for option in &directive.args[1..] {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "weight" => weight = value.parse().ok(),
            "down" => weight = Some(0),
            "max_fails" => match value.parse::<u64>() {
                Ok(0) | Err(_) => {}
                Ok(fails) => passive(upstream, "consecutive-failures", json!(fails)),
            },
            "fail_timeout" => {
                if let Some(time) = units::nginx_time(value) {
                    passive(upstream, "ejection-time", json!(units::milliseconds(time)));
                }
            }
            "backup" => draft.note(directive.line, format!("`{address} backup`: all endpoints are used alike")),
            "resolve" => {}
            _ => draft.note(directive.line, format!("`{option}`: no counterpart for an endpoint")),
        }
    }
    upstream.endpoints.push((format!("http://{}", with_port(address, 80)), weight.filter(|weight| *weight != 1)));
}

fn passive(upstream: &mut draft::Upstream, key: &str, value: Value) {
    let health = upstream.options.entry("health").or_insert_with(|| json!({ "passive": {} }));
    if let Some(passive) = health["passive"].as_object_mut() {
        passive.entry(key).or_insert(value);
    }
}

/// An address with the port that its scheme has, if it names none.
pub(super) fn with_port(address: &str, port: u16) -> String {
    let has_port = match address.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").is_some(),
        None => address.contains(':'),
    };
    if has_port { address.to_owned() } else { format!("{address}:{port}") }
}

/// Makes the endpoints of an upstream those of another scheme, as `proxy_pass https://NAME` does.
pub(super) fn set_scheme(upstream: &mut draft::Upstream, scheme: &str) {
    for (url, _) in &mut upstream.endpoints {
        if let Some(rest) = url.strip_prefix("http://") {
            let rest = if scheme == "https" { rest.strip_suffix(":80").unwrap_or(rest) } else { rest };
            *url = format!("{scheme}://{rest}");
        }
    }
}

pub(super) fn option(upstream: &mut draft::Upstream, section: &str, key: &str, value: Value) {
    let section = upstream.options.entry(section).or_insert_with(|| Map::new().into());
    if let Some(map) = section.as_object_mut() {
        map.entry(key).or_insert(value);
    }
}
