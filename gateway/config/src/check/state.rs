//! Where the plugins' state is.

use gateway_core::model::{RedisServer, RedisServers, StateBackend};

use super::{
    files,
    names::{self, cut},
    report::Report,
};
use crate::file::{Backend, File, Redis};

/// With keys of 1 KiB these are still short.
const PREFIX_BYTES: usize = 64;
const PLACE: &str = "/state/backend/redis";

pub(super) fn state(file: &File, report: &mut Report<'_>) -> Option<StateBackend> {
    let state = report.part(&file.state, "/state")?;
    Some(match report.part(&state.backend, "/state/backend")? {
        Backend::Memory => StateBackend::Memory,
        Backend::Redis(typed) => StateBackend::Redis(Box::new(redis(typed, file, report))),
    })
}

fn redis(typed: &Redis, file: &File, report: &mut Report<'_>) -> RedisServer {
    let at = |key: &str| format!("{PLACE}/{key}");
    let servers = match &typed.url {
        Some(url) => {
            if !typed.cluster.is_empty() {
                report.key(&at("cluster"), "`cluster` takes the place of `url`: give one of them".to_owned());
            }
            let named = !typed.sentinels.is_empty();
            if let Err(message) = if named { primary(url) } else { address(url) } {
                report.value(&at("url"), message);
            }
            if named {
                RedisServers::Sentinels(url.clone(), typed.sentinels.clone())
            } else {
                RedisServers::One(url.clone())
            }
        }
        None => {
            if !typed.sentinels.is_empty() {
                let message = "needs `url: redis://NAME` with the name under which the Sentinels monitor the primary";
                report.key(&at("sentinels"), message.to_owned());
            } else if typed.cluster.is_empty() {
                report.value(PLACE, "needs `url: redis://HOST:PORT`, or the nodes of a `cluster`".to_owned());
            }
            RedisServers::Cluster(typed.cluster.clone())
        }
    };
    for (key, urls) in [("cluster", &typed.cluster), ("sentinels", &typed.sentinels)] {
        // What has no place there is reported as such.
        if key == "cluster" && typed.url.is_some() {
            continue;
        }
        for (i, url) in urls.iter().enumerate() {
            if let Err(message) = address(url) {
                report.value(&format!("{PLACE}/{key}/{i}"), message);
            }
        }
    }
    if typed.sentinels.is_empty() {
        for (key, value) in
            [("sentinel-username", &typed.sentinel_username), ("sentinel-password", &typed.sentinel_password)]
        {
            if value.is_some() {
                report.key(&at(key), format!("`{key}` has no effect without `sentinels`"));
            }
        }
    }
    if typed.username.is_some() && typed.username_from.is_some() {
        report.key(&at("username-from"), "`username-from` takes the place of `username`: give one of them".to_owned());
    }
    let secrets = [
        ("username-from", &typed.username_from),
        ("password", &typed.password),
        ("sentinel-password", &typed.sentinel_password),
    ];
    for (key, secret) in secrets {
        if let Some(secret) = secret
            && !file.secrets.contains_key(secret)
        {
            let hint = names::hint(secret, file.secrets.keys().map(String::as_str));
            report.value(&at(key), format!("expected the name of one of `secrets`{hint}"));
        }
    }
    let ca = typed.ca.as_ref().map(|ca| {
        let path = report.path(ca);
        if let Err(message) = files::authorities(&path) {
            report.value(&format!("{PLACE}/ca"), message);
        }
        path
    });
    if typed.prefix.len() > PREFIX_BYTES || typed.prefix.contains(['{', '}']) {
        let message = format!("is up to {PREFIX_BYTES} bytes without braces, which a cluster reads as something else");
        report.value(&format!("{PLACE}/prefix"), message);
    }
    RedisServer {
        servers,
        username: typed.username.clone(),
        username_from: typed.username_from.clone(),
        password: typed.password.clone(),
        sentinel_username: typed.sentinel_username.clone(),
        sentinel_password: typed.sentinel_password.clone(),
        ca,
        prefix: typed.prefix.clone(),
        timeout: typed.timeout,
    }
}

/// What operators get wrong has a message of its own.
fn address(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("redis://").or_else(|| url.strip_prefix("rediss://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Err("expected `redis://HOST:PORT`, or `rediss://HOST:PORT` over TLS".to_owned());
    };
    if rest.contains('@') {
        return Err("credentials do not belong into the URL: give `username`, and `password: SECRET`".to_owned());
    }
    let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = address.parse::<http::uri::Authority>();
    if authority.is_err() || rest.contains(['?', '#']) {
        return Err(format!("`{address}` is no host with a port"));
    }
    if !database.is_empty() && database.parse::<u32>().is_err() {
        return Err(format!("`{database}` is no number of a database"));
    }
    // The client has the last word, as when it starts.
    match redis::IntoConnectionInfo::into_connection_info(url) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{}` is no address of a server: {error}", cut(url))),
    }
}

/// The host is a name that Sentinels know, so it has no port.
fn primary(url: &str) -> Result<(), String> {
    address(url)?;
    let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    match authority.contains(':') {
        true => Err("with `sentinels` this is `redis://NAME`: they know host and port of the primary".to_owned()),
        false => Ok(()),
    }
}
