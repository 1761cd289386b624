//! What is set once for the whole gateway: log, trusted proxies, paths, limits, time-outs, secrets, sinks.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use gateway_core::model;
use gateway_telemetry::rotation::numbered;
use ipnet::IpNet;

use super::{
    files,
    names::{cut, hint},
    report::Report,
};
use crate::{
    file::{File, FileSource, Limits, Paths, RouteLimits, RoutePaths, RouteTimeouts, Sink, StandardSink, Timeouts},
    part::Part,
    units::{Limit, Size, Span},
    yaml::join,
};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

const HEADERS: (Size, Size) = (Size::kib(1), Size::mib(1));
/// The upper end is the `http` crate's.
const URI: (Size, Size) = (Size(64), Size(65_534));
const BODY: (Size, Size) = (Size(1), Size(1 << 40));
const BUFFER: (Size, Size) = (Size(1), Size(1 << 30));
/// With less, a shard has no room for a long key and a value.
const STORE: (Size, Size) = (Size::mib(1), Size(1 << 40));
const CACHE: (Size, Size) = (Size(0), Size(1 << 40));
const ROTATED: (Size, Size) = (Size::kib(4), Size(1 << 40));
const WAIT: (Span, Span) = (Span::millis(1), Span::secs(24 * 60 * 60));

pub(super) fn log(file: &File, report: &mut Report<'_>) -> Option<model::Log> {
    let typed = report.part(&file.log, "/log")?;
    for message in log_level(&typed.level) {
        report.value("/log/level", message);
    }
    Some(model::Log { format: typed.format, level: typed.level.clone() })
}

/// What is wrong with a level of the log.
pub fn log_level(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for directive in text.split(',').map(str::trim) {
        let (target, level) = directive.rsplit_once('=').map_or((None, directive), |(t, l)| (Some(t), l));
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let cure = match (target, level.contains("::")) {
                // A bare name would be read as a target with everything on.
                (None, true) => format!("; write `{level}=debug`"),
                _ => hint(level, LEVELS),
            };
            wrong.push(format!("unknown level `{}`{cure}", cut(level)));
        } else if text.parse::<tracing_subscriber::filter::EnvFilter>().is_err() {
            wrong.push(format!("expected levels and `target=level`, found `{}`", cut(directive)));
            break;
        }
    }
    wrong
}

pub(super) fn trusted_proxies(file: &File, report: &mut Report<'_>) -> Vec<IpNet> {
    networks(&file.trusted_proxies, "/trusted-proxies", report)
}

/// Networks, or addresses that stand for networks of one.
pub(super) fn networks(typed: &[Part<String>], place: &str, report: &mut Report<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (at, text) in report.parts(typed, place) {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) if network.trunc() != network => {
                report.value(&at, format!("`{network}` has bits behind its prefix; write `{}`", network.trunc()));
            }
            Ok(network) => networks.push(network),
            Err(_) => {
                let expected = "expected a network such as `10.0.0.0/8`, or an address";
                report.value(&at, format!("{expected}, found `{}`", cut(text)));
            }
        }
    }
    networks
}

/// The port of name servers (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

pub(super) fn dns(file: &File, report: &mut Report<'_>) -> Option<model::Dns> {
    let typed = report.part(&file.dns, "/dns")?;
    let mut servers = Vec::new();
    for (at, text) in report.parts(typed.servers.as_deref().unwrap_or_default(), "/dns/servers") {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        match address.or_else(|_| text.parse()) {
            Ok(address) => servers.push(address),
            Err(_) => {
                let expected = "expected an IP address such as `10.0.0.2`, or one with a port such as `10.0.0.2:5353`";
                report.value(&at, format!("{expected}, found `{}`", cut(text)));
            }
        }
    }
    Some(model::Dns { servers })
}

pub(super) fn paths(file: &File, report: &mut Report<'_>) -> Option<model::PathRule> {
    let Paths { encoded_slashes, merge_slashes, matrix_parameters } = *report.part(&file.paths, "/paths")?;
    Some(model::PathRule { encoded_slashes, merge_slashes, matrix_parameters })
}

/// A route's own rule, where it has one.
pub(super) fn route_paths(typed: &RoutePaths, general: model::PathRule) -> model::PathRule {
    model::PathRule {
        encoded_slashes: typed.encoded_slashes.unwrap_or(general.encoded_slashes),
        merge_slashes: typed.merge_slashes.unwrap_or(general.merge_slashes),
        matrix_parameters: typed.matrix_parameters.unwrap_or(general.matrix_parameters),
    }
}

pub(super) fn limits(file: &File, report: &mut Report<'_>) -> model::Limits {
    let defaults = Limits::default();
    let typed = report.part(&file.limits, "/limits").unwrap_or(&defaults);
    range(typed.header_bytes, HEADERS, "/limits/header-bytes", report);
    range(typed.uri_bytes, URI, "/limits/uri-bytes", report);
    range(typed.body_bytes, BODY, "/limits/body-bytes", report);
    range(typed.buffer_bytes, BUFFER, "/limits/buffer-bytes", report);
    range(typed.cache_bytes, CACHE, "/limits/cache-bytes", report);
    range(typed.store_bytes, STORE, "/limits/store-bytes", report);
    // A value out of its own range has been reported already.
    let both_in_range = typed.uri_bytes <= URI.1 && typed.header_bytes >= HEADERS.0;
    if both_in_range && typed.uri_bytes > typed.header_bytes {
        let (uri, header) = (typed.uri_bytes, typed.header_bytes);
        let message = format!("`uri-bytes` ({uri}) is part of `header-bytes` ({header}) and cannot be larger");
        report.value("/limits/uri-bytes", message);
    }
    model::Limits {
        header_bytes: typed.header_bytes.as_usize(),
        header_count: typed.header_count,
        uri_bytes: typed.uri_bytes.as_usize(),
        body_bytes: typed.body_bytes.0,
        buffer_bytes: typed.buffer_bytes.as_usize(),
        cache_bytes: typed.cache_bytes.0,
        store_bytes: typed.store_bytes.as_usize(),
        plugin_instances: typed.plugin_instances,
        connections: typed.connections,
        streams: typed.streams,
    }
}

pub(super) fn timeouts(file: &File, report: &mut Report<'_>) -> model::Timeouts {
    let defaults = Timeouts::default();
    let typed = report.part(&file.timeouts, "/timeouts").unwrap_or(&defaults);
    range(typed.header_read, (Span::millis(1), Span::secs(600)), "/timeouts/header-read", report);
    range(typed.idle, WAIT, "/timeouts/idle", report);
    range(typed.body, WAIT, "/timeouts/body", report);
    range(typed.upgrade_idle, WAIT, "/timeouts/upgrade-idle", report);
    range(typed.drain_delay, (Span::secs(0), Span::secs(3600)), "/timeouts/drain-delay", report);
    range(typed.drain, (Span::secs(0), Span::secs(3600)), "/timeouts/drain", report);
    model::Timeouts {
        header_read: typed.header_read.0,
        idle: typed.idle.0,
        request: typed.request.map_or_else(Default::default, |limit| request(limit, "/timeouts/request", report)),
        body: typed.body.0,
        upgrade_idle: typed.upgrade_idle.0,
        drain_delay: typed.drain_delay.0,
        drain: typed.drain.0,
    }
}

/// A route's own limits, checked like the general ones.
pub(super) fn route_limits(
    typed: &RouteLimits,
    place: &str,
    general: &model::Limits,
    report: &mut Report<'_>,
) -> (u64, usize) {
    if let Some(size) = typed.body_bytes {
        range(size, BODY, &join(place, "body-bytes"), report);
    }
    if let Some(size) = typed.buffer_bytes {
        range(size, BUFFER, &join(place, "buffer-bytes"), report);
    }
    (
        typed.body_bytes.map_or(general.body_bytes, |size| size.0),
        typed.buffer_bytes.map_or(general.buffer_bytes, Size::as_usize),
    )
}

pub(super) fn route_timeout(
    typed: &RouteTimeouts,
    place: &str,
    general: &model::Timeouts,
    report: &mut Report<'_>,
) -> model::RequestTimeout {
    typed.request.map_or(general.request, |limit| request(limit, &join(place, "request"), report))
}

fn request(limit: Limit, at: &str, report: &mut Report<'_>) -> model::RequestTimeout {
    if let Some(span) = limit.0 {
        range(span, WAIT, at, report);
    }
    model::RequestTimeout { limit: limit.0.map(|span| span.0), is_default: false }
}

pub(super) fn whole_timeout(
    typed: &RouteTimeouts,
    place: &str,
    report: &mut Report<'_>,
) -> Option<std::time::Duration> {
    typed.whole.map(|span| {
        range(span, WAIT, &join(place, "whole"), report);
        span.0
    })
}

/// How long nothing may move on a route's connections after an upgrade.
pub(super) fn upgrade_idle(
    typed: &RouteTimeouts,
    place: &str,
    general: &model::Timeouts,
    report: &mut Report<'_>,
) -> std::time::Duration {
    typed.upgrade_idle.map_or(general.upgrade_idle, |span| {
        range(span, WAIT, &join(place, "upgrade-idle"), report);
        span.0
    })
}

/// Both ends included. The key is the pointer's last token.
pub(super) fn range<T: PartialOrd + Display>(value: T, (least, most): (T, T), at: &str, report: &mut Report<'_>) {
    if value < least || value > most {
        let key = at.rsplit('/').next().unwrap_or_default();
        report.value(at, format!("`{key}` must be between {least} and {most}, found {value}"));
    }
}

pub(super) fn secrets(file: &File, report: &mut Report<'_>) -> BTreeMap<String, model::SecretSource> {
    let mut secrets = BTreeMap::new();
    for (name, part) in &file.secrets {
        let place = join("/secrets", name);
        let Some(typed) = report.part(part, &place) else { continue };
        let source = match (&typed.env, &typed.file) {
            (Some(variable), None) => {
                if !is_set(variable) {
                    let message = format!("environment variable `{}` is not set", cut(variable));
                    report.value(&join(&place, "env"), message);
                }
                model::SecretSource::Env(variable.clone())
            }
            (None, Some(path)) => {
                let path = report.path(path);
                if let Err(message) = files::read(&path) {
                    report.value(&join(&place, "file"), message);
                }
                model::SecretSource::File(path)
            }
            // The schema has said that it is exactly one.
            _ => continue,
        };
        secrets.insert(name.clone(), source);
    }
    secrets
}

pub(super) fn files(
    file: &File,
    upstreams: &BTreeMap<String, Arc<model::Upstream>>,
    report: &mut Report<'_>,
) -> BTreeMap<String, model::FileSource> {
    let mut files = BTreeMap::new();
    for (name, part) in &file.files {
        let place = join("/files", name);
        match report.part(part, &place) {
            Some(FileSource::Path(path)) => {
                let path = report.path(path);
                if let Err(message) = files::read_up_to(&path, files::MOST_FOR_PLUGINS) {
                    report.value(&place, message);
                }
                files.insert(name.clone(), model::FileSource::Path(path));
            }
            Some(FileSource::Reflected(typed)) => {
                let at = join(&place, "reflection");
                let Some(upstream) = report.part(&typed.reflection, &at) else { continue };
                if !file.upstreams.contains_key(upstream) {
                    let known = file.upstreams.keys().map(String::as_str);
                    report.value(&at, format!("unknown upstream `{}`{}", cut(upstream), hint(upstream, known)));
                }
                let Some(upstream) = upstreams.get(upstream) else { continue };
                if upstream.protocol.shares_connections() {
                    files.insert(name.clone(), model::FileSource::Reflection(upstream.clone()));
                } else {
                    let cure = "add `protocol: http2` to the upstream, or `auto` with `https` endpoints";
                    report.value(&at, format!("gRPC needs HTTP/2; {cure}"));
                }
            }
            None => {}
        }
    }
    files
}

/// `env::var_os` panics on names that no variable can have.
fn is_set(variable: &str) -> bool {
    !variable.is_empty() && !variable.contains(['=', '\0']) && env::var_os(OsStr::new(variable)).is_some()
}

pub(super) fn sinks(file: &File, report: &mut Report<'_>) -> BTreeMap<String, model::SinkTarget> {
    let mut sinks = BTreeMap::new();
    for (name, part) in &file.sinks {
        let place = join("/sinks", name);
        let Some(typed) = report.part(part, &place) else { continue };
        let target = match typed {
            Sink::Standard(StandardSink::Stdout) => model::SinkTarget::Stdout,
            Sink::Standard(StandardSink::Stderr) => model::SinkTarget::Stderr,
            Sink::File(typed) => {
                let path = report.path_of_output(&typed.file);
                if let Err(message) = files::can_append(&path) {
                    report.value(&join(&place, "file"), message);
                }
                let rotate = typed.rotate.as_ref().map(|rotate| {
                    range(rotate.size, ROTATED, &join(&join(&place, "rotate"), "size"), report);
                    if let Err(message) = files::can_rotate(&path) {
                        report.value(&join(&place, "file"), message);
                    }
                    model::Rotation { size: rotate.size.0, keep: rotate.keep }
                });
                model::SinkTarget::File { path, rotate }
            }
        };
        sinks.insert(name.clone(), target);
    }
    rotations(&sinks, report);
    sinks
}

/// One file is rotated in one way, and what is rotated away is no other sink's.
fn rotations(sinks: &BTreeMap<String, model::SinkTarget>, report: &mut Report<'_>) {
    let files = || {
        sinks.iter().filter_map(|(name, target)| match target {
            model::SinkTarget::File { path, rotate } => Some((name, files::identity(path), *rotate)),
            _ => None,
        })
    };
    for (name, path, rotate) in files() {
        for (other, its_path, its_rotation) in files() {
            if path == its_path && rotate != its_rotation && other < name {
                let message = format!("sink `{other}` writes to the same file; write the same `rotate` for both");
                report.value(&join(&join("/sinks", name), "file"), message);
            }
            let kept = its_rotation.is_some_and(|its| (1..=its.keep).any(|n| path == numbered(&its_path, n)));
            if kept {
                let message = format!("sink `{other}` renames its full files to this; choose another name");
                report.value(&join(&join("/sinks", name), "file"), message);
            }
        }
    }
}
