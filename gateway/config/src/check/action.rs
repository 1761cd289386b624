//! What becomes of a route's requests: exactly one thing.

use std::{collections::BTreeMap, sync::Arc};

use gateway_core::model;
use gateway_http::framing::split_port;
use http::{
    HeaderValue, StatusCode,
    uri::{Authority, PathAndQuery},
};

use super::{
    headers::headers,
    names::{cut, hint},
    report::Report,
};
use crate::{
    file::{File, Redirect, RedirectScheme, Respond, Route},
    yaml::join,
};

type Upstreams = BTreeMap<String, Arc<model::Upstream>>;

pub(super) fn action(
    file: &File,
    typed: &Route,
    place: &str,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> Option<model::Action> {
    let known = [
        ("upstream", typed.upstream.is_some()),
        ("split", typed.split.is_some()),
        ("redirect", typed.redirect.is_some()),
        ("respond", typed.respond.is_some()),
    ];
    let there: Vec<&str> = known.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect();
    match there[..] {
        // The schema has said that one is missing.
        [] | [_] => {}
        [first, second, ..] => {
            report.key(&join(place, second), format!("`{first}` is there too; a route does one of the two"));
        }
    }
    if let Some(part) = &typed.upstream {
        let at = join(place, "upstream");
        return report
            .part(part, &at)
            .and_then(|name| upstream(file, name, &at, upstreams, report).cloned().map(model::Action::Upstream));
    }
    if let Some(list) = &typed.split {
        let at = join(place, "split");
        let mut parts = Vec::new();
        for (at, typed) in report.parts(list, &at) {
            let found = upstream(file, &typed.upstream, &join(&at, "upstream"), upstreams, report);
            parts.extend(found.map(|upstream| (upstream.clone(), typed.weight)));
        }
        if parts.len() == list.len() && parts.iter().all(|(_, weight)| *weight == 0) {
            report.value(&at, "every weight is 0, so that requests go nowhere; give one of them a weight");
        }
        return (parts.len() == list.len()).then_some(model::Action::Split(parts));
    }
    if let Some(part) = &typed.redirect {
        let at = join(place, "redirect");
        return report.part(part, &at).and_then(|typed| redirect(typed, &at, report)).map(model::Action::Redirect);
    }
    let at = join(place, "respond");
    let typed = typed.respond.as_ref().and_then(|part| report.part(part, &at))?;
    respond(typed, &at, report).map(model::Action::Respond)
}

fn upstream<'a>(
    file: &File,
    name: &str,
    at: &str,
    upstreams: &'a Upstreams,
    report: &mut Report<'_>,
) -> Option<&'a Arc<model::Upstream>> {
    if !file.upstreams.contains_key(name) {
        let known = file.upstreams.keys().map(String::as_str);
        report.value(at, format!("unknown upstream `{}`{}", cut(name), hint(name, known)));
    }
    let found = upstreams.get(name);
    if found.is_some_and(|upstream| upstream.protocol == model::Protocol::Tcp) {
        let cure = "let a plugin such as `thrift-json` speak to it, and the route `respond` to what that leaves";
        report.value(at, format!("upstream `{}` is not of HTTP but of TCP; {cure}", cut(name)));
        return None;
    }
    found
}

fn redirect(typed: &Redirect, place: &str, report: &mut Report<'_>) -> Option<model::Redirect> {
    let at = join(place, "host");
    let authority = typed.host.as_ref().and_then(|part| report.part(part, &at)).and_then(|host| {
        let good = host.parse::<Authority>().ok().filter(|a| !a.as_str().contains('@') && !a.host().is_empty());
        if good.is_none() {
            report.value(&at, format!("expected a host such as `www.example.com`, found `{}`", cut(host)));
        }
        HeaderValue::from_str(good?.as_str()).ok()
    });
    if typed.port.is_some() && authority.as_ref().is_some_and(|host| split_port(host.as_bytes()).1.is_some()) {
        report.value(&join(place, "port"), "`host` has a port, too; leave one of them out");
    }
    let at = join(place, "path");
    let path = typed.path.as_ref().and_then(|part| report.part(part, &at)).and_then(|path| {
        let good = path.parse::<PathAndQuery>().ok().filter(|_| path.starts_with('/') && !path.starts_with("//"));
        if good.is_none() {
            report.value(&at, format!("expected a path such as `/new`, found `{}`", cut(path)));
        }
        good
    });
    let at = join(place, "status");
    let status = *report.part(&typed.status, &at)?;
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        report.value(&at, format!("expected `301`, `302`, `303`, `307` or `308`, found `{status}`"));
    }
    Some(model::Redirect {
        scheme: typed.scheme.map(|scheme| match scheme {
            RedirectScheme::Http => "http",
            RedirectScheme::Https => "https",
        }),
        authority,
        port: typed.port,
        path,
        status: StatusCode::from_u16(status).ok()?,
    })
}

fn respond(typed: &Respond, place: &str, report: &mut Report<'_>) -> Option<model::Respond> {
    let headers = headers(&typed.headers, &join(place, "headers"), report);
    let status = StatusCode::from_u16(typed.status).ok()?;
    if !typed.body.is_empty()
        && matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
    {
        report.value(&join(place, "body"), format!("a response of status {} has no body", typed.status));
    }
    Some(model::Respond { status, headers, body: typed.body.clone().into() })
}
