//! The services behind the gateway.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gateway_core::model;
use http::Uri;
use rustls::pki_types::ServerName;

use super::{certificates, files, health, names::cut, report::Report, resilience};
use crate::{
    file::{Endpoint, File, Upstream, UpstreamTls},
    yaml::join,
};

pub(super) fn upstreams(file: &File, report: &mut Report<'_>) -> BTreeMap<String, Arc<model::Upstream>> {
    let mut upstreams = BTreeMap::new();
    for (name, part) in &file.upstreams {
        let place = join("/upstreams", name);
        if let Some(typed) = report.part(part, &place)
            && let Some(upstream) = upstream(name, typed, &place, report)
        {
            upstreams.insert(name.clone(), Arc::new(upstream));
        }
    }
    upstreams
}

fn upstream(name: &str, typed: &Upstream, place: &str, report: &mut Report<'_>) -> Option<model::Upstream> {
    let endpoints = endpoints(typed, &join(place, "endpoints"), report);
    let protocol = protocol(typed, &endpoints, place, report)?;
    let tls = match &typed.tls {
        None => model::UpstreamTls::default(),
        Some(part) => {
            let at = join(place, "tls");
            let all_read = endpoints.len() == typed.endpoints.len();
            if all_read && !endpoints.iter().any(|endpoint| model::Endpoint::is_secure(&endpoint.url)) {
                report.key(&at, "`tls` has no effect: no endpoint is `https` or `tls`");
            }
            let typed = report.part(part, &at)?;
            tls(typed, &at, report)
        }
    };
    let timeouts = report.part(&typed.timeouts, &join(place, "timeouts")).cloned();
    let balance = report.part(&typed.balance, &join(place, "balance")).cloned();
    let health = health::health(typed, protocol, &join(place, "health"), report);
    let at = join(place, "retry");
    let retry =
        typed.retry.as_ref().map(|part| report.part(part, &at).cloned().map(|t| resilience::retry(t, &at, report)));
    let at = join(place, "circuit-breaker");
    let breaker = typed.circuit_breaker.as_ref();
    let breaker = breaker.map(|part| report.part(part, &at).cloned().map(|t| resilience::breaker(t, &at, report)));
    let limits = report.part(&typed.limits, &join(place, "limits"));
    Some(model::Upstream {
        name: name.into(),
        endpoints,
        balance: balance?,
        health: health?,
        // One that is there must be good.
        retry: retry.map_or(Some(None), |retry| retry.map(Some))?,
        circuit_breaker: breaker.map_or(Some(None), |breaker| breaker.map(Some))?,
        limits: *limits?,
        tls,
        protocol,
        host: *report.part(&typed.host, &join(place, "host"))?,
        timeouts: timeouts.unwrap_or_default(),
        idle_connections: *report.part(&typed.idle_connections, &join(place, "idle-connections"))?,
    })
}

fn endpoints(typed: &Upstream, place: &str, report: &mut Report<'_>) -> Vec<model::Endpoint> {
    let mut seen = HashMap::new();
    let mut endpoints = Vec::new();
    for (at, typed) in report.parts(&typed.endpoints, place) {
        let (at, text, weight) = match typed {
            Endpoint::Url(url) => (at, url, 1),
            Endpoint::Weighted(typed) => (join(&at, "url"), &typed.url, typed.weight),
        };
        match url(text) {
            Ok(url) => {
                let line = report.line(&at);
                if let Some(first) = seen.insert(url.to_string().to_lowercase(), line) {
                    report.value(&at, format!("this endpoint is also on line {first}; give it a `weight` instead"));
                }
                endpoints.push(model::Endpoint { url, weight });
            }
            Err(message) => report.value(&at, message),
        }
    }
    if !endpoints.is_empty() && endpoints.len() == typed.endpoints.len() && endpoints.iter().all(|e| e.weight == 0) {
        report.warn(place, "every endpoint has the weight 0: all requests are answered with 503");
    }
    endpoints
}

/// What is spoken; whether that is HTTP, the endpoints say.
fn protocol(
    typed: &Upstream,
    endpoints: &[model::Endpoint],
    place: &str,
    report: &mut Report<'_>,
) -> Option<model::Protocol> {
    let at = join(place, "protocol");
    let said = *report.part(&typed.protocol, &at)?;
    let is_tcp = |endpoint: &model::Endpoint| matches!(endpoint.url.scheme_str(), Some("tcp" | "tls"));
    let tcp = endpoints.iter().filter(|endpoint| is_tcp(endpoint)).count();
    if tcp == 0 {
        return Some(said);
    }
    if tcp < endpoints.len() {
        let message = "some endpoints are of TCP, others of HTTP; an upstream has one kind: make two upstreams of it";
        report.key(&join(place, "endpoints"), message);
        return None;
    }
    if said != model::Protocol::default() {
        report.key(&at, "`protocol` has no effect: the endpoints are of TCP, where plugins speak");
    }
    if typed.retry.is_some() {
        let message = "`retry` has no effect: the endpoints are of TCP, where the plugin says what may be sent again";
        report.key(&join(place, "retry"), message);
    }
    Some(model::Protocol::Tcp)
}

/// Scheme, host and port, and nothing else.
fn url(text: &str) -> Result<Uri, String> {
    let shown = cut(text);
    let expected = || format!("expected a URL such as `http://127.0.0.1:8080`, found `{shown}`");
    let Some((scheme, rest)) = text.split_once("://") else { return Err(expected()) };
    if !matches!(scheme, "http" | "https" | "tcp" | "tls") {
        let schemes = "`http` or `https`, or `tcp` or `tls` for what plugins speak to";
        return Err(format!("the scheme of an endpoint is {schemes}, found `{}`", cut(scheme)));
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        return Err(format!("an endpoint has no path; write `{scheme}://{}`", cut(&authority[..end])));
    }
    if authority.contains('@') {
        return Err("an endpoint has no user or password; set the header with a plugin".to_owned());
    }
    let url = format!("{scheme}://{authority}").parse::<Uri>().map_err(|_| expected())?;
    let host = url.host().unwrap_or_default();
    let port = authority.strip_prefix(host).ok_or_else(expected)?;
    // `http::Uri` leaves the port unchecked.
    let port_is_good = port.is_empty() || url.port_u16().is_some_and(|port| port != 0);
    if ServerName::try_from(host.trim_matches(['[', ']'])).is_err() || !port_is_good {
        return Err(expected());
    }
    if port.is_empty() && matches!(scheme, "tcp" | "tls") {
        return Err(format!("an endpoint of TCP has no usual port; write `{scheme}://{}:PORT`", cut(host)));
    }
    Ok(url)
}

fn tls(typed: &UpstreamTls, place: &str, report: &mut Report<'_>) -> model::UpstreamTls {
    let ca = typed.ca.as_ref().map(|typed| {
        let path = report.path(typed);
        if let Err(message) = files::authorities(&path) {
            report.value(&join(place, "ca"), message);
        }
        path
    });
    if let Some(name) = &typed.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        let message = format!("expected a host name or an IP address, found `{}`", cut(name));
        report.value(&join(place, "server-name"), message);
    }
    let at = join(place, "certificate");
    let certificate = typed.certificate.as_ref().and_then(|part| report.part(part, &at));
    let certificate = certificate.map(|typed| certificates::load(typed, &at, report).0);
    if !typed.verify && ca.is_some() {
        report.key(&join(place, "ca"), "`ca` has no effect: `verify: false` believes anyone");
    }
    model::UpstreamTls { ca, server_name: typed.server_name.clone(), certificate, verify: typed.verify }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_scheme_host_and_port() {
        for good in [
            "http://a",
            "https://a.b:8443",
            "http://127.0.0.1:1",
            "http://[::1]:80",
            "http://a_b:80",
            "tcp://a:9090",
            "tls://[::1]:1",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        assert_eq!(url("http://a:80/").unwrap().authority().unwrap(), "a:80");
    }

    #[test]
    fn everything_else_is_refused_with_the_cure() {
        for (text, word) in [
            ("a:80", "expected a URL"),
            ("grpc://a", "`http` or `https`"),
            ("tcp://a", "write `tcp://a:PORT`"),
            ("http://a/b", "write `http://a`"),
            ("http://a?b", "no path"),
            ("http://a#b", "no path"),
            ("http://u:p@a", "no user"),
            ("http://", "expected a URL"),
            ("http://:80", "expected a URL"),
            ("http://a:", "expected a URL"),
            ("http://a:0", "expected a URL"),
            ("http://a:99999", "expected a URL"),
            ("http://a b", "expected a URL"),
            ("http://[::1", "expected a URL"),
        ] {
            let message = url(text).unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
