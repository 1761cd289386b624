//! Where the plugins' state is.

use super::{files, names, report::Report, settings::range};
use crate::config::{
    file::{Backend, File, Redis},
    model::{RedisServer, StateBackend},
    units::Span,
};

const TIMEOUT: (Span, Span) = (Span::millis(1), Span::secs(10));
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
    let urls: Vec<(String, &String)> = match &typed.url {
        Some(url) => {
            if !typed.cluster.is_empty() {
                report.key(
                    &format!("{PLACE}/cluster"),
                    "`cluster` takes the place of `url`: give one of them".to_owned(),
                );
            }
            vec![(format!("{PLACE}/url"), url)]
        }
        None => {
            if typed.cluster.is_empty() {
                report.value(PLACE, "needs `url: redis://HOST:PORT`, or the nodes of a `cluster`".to_owned());
            }
            let nodes = typed.cluster.iter().enumerate();
            nodes.map(|(i, url)| (format!("{PLACE}/cluster/{i}"), url)).collect()
        }
    };
    for (at, url) in &urls {
        if let Err(message) = address(url) {
            report.value(at, message);
        }
    }
    if let Some(secret) = &typed.password
        && !file.secrets.contains_key(secret)
    {
        let hint = names::hint(secret, file.secrets.keys().map(String::as_str));
        report.value(&format!("{PLACE}/password"), format!("there is no secret `{secret}`{hint}"));
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
    range(typed.timeout, TIMEOUT, &format!("{PLACE}/timeout"), report);
    RedisServer {
        urls: urls.into_iter().map(|(_, url)| url.clone()).collect(),
        cluster: typed.url.is_none(),
        username: typed.username.clone(),
        password: typed.password.clone(),
        ca,
        prefix: typed.prefix.clone(),
        timeout: typed.timeout.0,
    }
}

/// What the client would make of it is checked when it starts; this is what people get wrong.
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
    Ok(())
}
