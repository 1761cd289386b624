//! Health checks.

use gateway_core::model::{ActiveHealth, Health, Protocol, StatusRange};
use http::{header, uri::Authority};

use super::{headers, report::Report, resilience};
use crate::{file::Upstream, yaml::join};

pub(super) fn health(typed: &Upstream, protocol: Protocol, place: &str, report: &mut Report<'_>) -> Option<Health> {
    let typed = report.part(&typed.health, place)?;
    let at = join(place, "active");
    let active = typed.active.as_ref().map(|part| active(report.part(part, &at)?.clone(), protocol, &at, report));
    let at = join(place, "passive");
    let passive =
        typed.passive.as_ref().map(|part| Some(resilience::passive(report.part(part, &at)?.clone(), &at, report)));
    // A part that is there must be good.
    let (active, passive) =
        (active.map_or(Some(None), |part| part.map(Some))?, passive.map_or(Some(None), |p| p.map(Some))?);
    Some(Health { active, passive, panic_threshold: typed.panic_threshold })
}

fn active(typed: ActiveHealth, protocol: Protocol, place: &str, report: &mut Report<'_>) -> Option<ActiveHealth> {
    for (i, StatusRange { first, last }) in
        typed.expect.iter().enumerate().filter(|(_, range)| range.first > range.last)
    {
        let message = format!("expected a status or a range such as `200-299`, found `{first}-{last}`");
        report.value(&join(&join(place, "expect"), &i.to_string()), message);
    }
    let at = join(place, "headers");
    headers::framing(&typed.headers.0, &at, report);
    let host = typed.headers.0.get(header::HOST);
    if host.is_some_and(|host| Authority::try_from(host.as_bytes()).is_err()) {
        report.value(&join(&at, "host"), "expected a host such as `www.example.com`");
    }
    if typed.tcp.is_some() && !typed.headers.0.is_empty() {
        report.key(&at, "`headers` has no effect: with `tcp` nothing is sent");
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
        [one] if one != "tcp" && protocol == Protocol::Tcp => {
            report.key(&join(place, one), "the endpoints are of TCP and not of HTTP; write `tcp: {}`");
        }
        ["grpc"] if protocol == Protocol::Http1 => {
            let cure = "add `protocol: http2` to the upstream, or `auto` with `https` endpoints";
            report.key(&join(place, "grpc"), format!("gRPC needs HTTP/2; {cure}"));
        }
        [_] => {}
        [first, second, ..] => {
            report.key(&join(place, second), format!("`{first}` is there too; a check asks one of them"));
        }
    }
    Some(typed)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn what_no_check_can_send_or_expect_is_rejected_by_the_type_and_by_the_schema() {
        let schema = schemars::schema_for!(ActiveHealth).to_value();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let check = |path: &str| json!({ "path": path });
        let wrong = ["", "healthz", "/a b", "/a#b", "/<a>", "*"].map(check).into_iter().chain([
            json!({ "headers": { "a b": "1" } }),
            json!({ "headers": { "": "1" } }),
            json!({ "headers": { "a": "1\n2" } }),
            json!({ "headers": { "a": 1 } }),
            json!({ "expect": [99] }),
            json!({ "expect": [600] }),
            json!({ "expect": ["200"] }),
            json!({ "expect": ["200-600"] }),
            json!({ "expect": ["all"] }),
            json!({ "tcp": { "port": 1 } }),
            json!({ "paths": "/" }),
        ]);
        for wrong in wrong {
            assert!(from_value::<ActiveHealth>(wrong.clone()).is_err(), "{wrong}");
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
        let right = ["/", "/a?b=c", "/%20/{x}/é", "/a|b^c\\d"].map(check).into_iter().chain([
            json!({}),
            json!({ "expect": [" 200 - 204 "], "headers": { "A": "b\tcé" }, "tcp": {} }),
            to_value(ActiveHealth::default()).unwrap(),
        ]);
        for right in right {
            assert!(from_value::<ActiveHealth>(right.clone()).is_ok(), "{right}");
            assert!(validator.is_valid(&right), "{right}");
        }
    }
}
