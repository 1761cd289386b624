//! Health checks.

use gateway_core::model;
use http::{
    header,
    uri::{Authority, PathAndQuery},
};

use super::{headers::headers, names::cut, report::Report, resilience};
use crate::{
    file::{ActiveHealth, Statuses, Upstream},
    yaml::join,
};

pub(super) fn health(
    typed: &Upstream,
    protocol: model::Protocol,
    place: &str,
    report: &mut Report<'_>,
) -> Option<model::Health> {
    let typed = report.part(&typed.health, place)?;
    let at = join(place, "active");
    let active = typed.active.as_ref().map(|part| active(report.part(part, &at)?, protocol, &at, report));
    let at = join(place, "passive");
    let passive =
        typed.passive.as_ref().map(|part| Some(resilience::passive(report.part(part, &at)?.clone(), &at, report)));
    // A part that is there must be good.
    let (active, passive) =
        (active.map_or(Some(None), |part| part.map(Some))?, passive.map_or(Some(None), |p| p.map(Some))?);
    Some(model::Health { active, passive, panic_threshold: typed.panic_threshold })
}

fn active(
    typed: &ActiveHealth,
    protocol: model::Protocol,
    place: &str,
    report: &mut Report<'_>,
) -> Option<model::ActiveHealth> {
    let mut expect = Vec::new();
    for (at, typed) in report.parts(&typed.expect, &join(place, "expect")) {
        match typed {
            Statuses::One(status) => expect.push((*status, *status)),
            Statuses::Range(text) => match statuses(text) {
                Some(range) => expect.push(range),
                None => {
                    let message = format!("expected a status or a range such as `200-299`, found `{}`", cut(text));
                    report.value(&at, message);
                }
            },
        }
    }
    let there = [("path", typed.path.is_some()), ("grpc", typed.grpc.is_some()), ("tcp", typed.tcp.is_some())];
    let there: Vec<&str> = there.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect();
    match there[..] {
        [] => {
            let cure =
                "add `path: /healthz`, `grpc: {}` for gRPC's health protocol, or `tcp: {}` to open a connection only";
            report.key(place, format!("what is asked is missing; {cure}"));
            return None;
        }
        [one] if one != "tcp" && protocol == model::Protocol::Tcp => {
            report.key(&join(place, one), "the endpoints are of TCP and not of HTTP; write `tcp: {}`");
            return None;
        }
        [_] => {}
        [first, second, ..] => {
            report.key(&join(place, second), format!("`{first}` is there too; a check asks one of them"));
            return None;
        }
    }
    let question = match (&typed.path, &typed.grpc) {
        (None, None) => model::HealthQuestion::Connect,
        (Some(text), _) => match PathAndQuery::try_from(text.as_str()).ok().filter(|_| text.starts_with('/')) {
            Some(path) => model::HealthQuestion::Path(path, expect),
            None => {
                let message = format!("expected a path such as `/healthz`, found `{}`", cut(text));
                report.value(&join(place, "path"), message);
                return None;
            }
        },
        (None, Some(part)) => {
            let at = join(place, "grpc");
            let typed = report.part(part, &at)?;
            if protocol == model::Protocol::Http1 {
                report.key(
                    &at,
                    "gRPC needs HTTP/2; add `protocol: http2` to the upstream, or `auto` with `https` endpoints",
                );
            }
            model::HealthQuestion::Grpc(typed.service.clone())
        }
    };
    let at = join(place, "headers");
    if typed.tcp.is_some() && !typed.headers.is_empty() {
        report.key(&at, "`headers` has no effect: with `tcp` nothing is sent");
    }
    let mut headers = headers(&typed.headers, &at, report);
    let host = headers.remove(header::HOST);
    if host.as_ref().is_some_and(|host| Authority::try_from(host.as_bytes()).is_err()) {
        report.value(&join(&at, "host"), "expected a host such as `www.example.com`");
    }
    Some(model::ActiveHealth {
        question,
        headers,
        host,
        interval: typed.interval,
        timeout: typed.timeout,
        unhealthy_after: typed.unhealthy_after,
        healthy_after: typed.healthy_after,
    })
}

fn statuses(text: &str) -> Option<(u16, u16)> {
    let (least, most) = text.split_once('-')?;
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..600).contains(status));
    let (least, most) = (status(least)?, status(most)?);
    (least <= most).then_some((least, most))
}
