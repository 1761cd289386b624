//! What is set once for the whole gateway: log, trusted proxies, paths, limits, timeouts, secrets, sinks.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use gateway_core::model::{self, units::Quantity};
use gateway_telemetry::rotation::numbered;
use ipnet::IpNet;

use super::{
    files,
    names::{cut, hint},
    report::Report,
};
use crate::{
    file::{File, FileSource, RoutePaths, Sink, StandardSink},
    part::Part,
    yaml::join,
};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

pub(super) fn log(file: &File, report: &mut Report<'_>) -> Option<model::Log> {
    let typed = report.part(&file.log, "/log")?;
    for message in log_level(&typed.level) {
        report.value("/log/level", message);
    }
    Some(typed.clone())
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
    report.part(&file.paths, "/paths").copied()
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
    const URI_BYTES: &str = "/limits/uri-bytes";
    let limits = report.part(&file.limits, "/limits").cloned().unwrap_or_default();
    // A value that is out of its own range has been reported, and another one is here in its place.
    let in_range =
        |report: &Report<'_>| ![URI_BYTES, "/limits/header-bytes"].into_iter().any(|at| report.is_reported(at));
    if limits.uri_bytes > limits.header_bytes && in_range(report) {
        let [uri, header] = [limits.uri_bytes, limits.header_bytes].map(|bytes| Quantity::Bytes(bytes as u64));
        let message = format!("`uri-bytes` ({uri}) is part of `header-bytes` ({header}) and cannot be larger");
        report.value(URI_BYTES, message);
    }
    limits
}

pub(super) fn timeouts(file: &File, report: &mut Report<'_>) -> model::Timeouts {
    report.part(&file.timeouts, "/timeouts").cloned().unwrap_or_default()
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
                    if let Err(message) = files::can_rotate(&path) {
                        report.value(&join(&place, "file"), message);
                    }
                    model::Rotation { size: rotate.size, keep: rotate.keep }
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
