//! What clients are told, to the letter.

use serde_json::json;

use super::*;

#[test]
fn an_allowed_response_says_what_is_left() {
    let mut limiter = Limiter::new(json!({ "limit": 100, "per": "1m" }));
    let exchange = limiter.exchange(get());
    assert_eq!(exchange.response_header("ratelimit-policy"), Some(r#""default";q=100;w=60"#));
    assert_eq!(exchange.response_header("ratelimit"), Some(r#""default";r=99;t=1"#));
    assert_eq!(exchange.response_header("x-ratelimit-remaining"), None);
    assert_eq!(exchange.response_header("retry-after"), None);
    assert_eq!(exchange.attribute("rate-limit.remaining"), Some("99"));
    assert_eq!(exchange.attribute("rate-limit.outcome"), None);
}

#[test]
fn the_time_is_that_of_the_next_unit_rounded_up() {
    let mut limiter = Limiter::new(json!({ "limit": 4, "per": "1m" }));
    let ratelimit = |exchange: &TestExchange| exchange.response_header("ratelimit").unwrap().to_owned();
    assert_eq!(ratelimit(&limiter.exchange(get())), r#""default";r=3;t=15"#);
    assert_eq!(ratelimit(&limiter.exchange(get())), r#""default";r=2;t=15"#);
    limiter.wait(4_500);
    assert_eq!(ratelimit(&limiter.exchange(get())), r#""default";r=1;t=11"#);
}

#[test]
fn a_refusal_is_429_with_the_time_to_wait() {
    let mut limiter = Limiter::new(json!({ "limit": 4, "per": "1m" }));
    limiter.burst(&get());
    limiter.wait(500);
    let exchange = limiter.plugin.request(get().id("r-1"));
    let reply = exchange.reply().unwrap();
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after").unwrap(), "15");
    assert_eq!(reply.header("content-type").unwrap(), "application/problem+json");
    assert_eq!(reply.header("ratelimit-policy").unwrap(), r#""default";q=4;w=60"#);
    assert_eq!(reply.header("ratelimit").unwrap(), r#""default";r=0;t=15"#);
    assert_eq!(
        reply.json::<Value>().unwrap(),
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "too many requests, try again later",
            "request-id": "r-1",
            "violated-policies": ["default"],
        })
    );
    assert_eq!(exchange.attribute("rate-limit.outcome"), Some("denied"));
    assert_eq!(exchange.attribute("rate-limit.denied-by"), Some("default"));
    assert_eq!(exchange.attribute("rate-limit.remaining"), Some("0"));
    assert_eq!(limiter.host.counter("rate_limit_denied", &[("route", "test"), ("policy", "default")]), 2);
}

#[test]
fn the_time_to_wait_is_at_least_a_second() {
    let mut limiter = Limiter::new(json!({ "limit": 1000, "per": "1s", "burst": 1 }));
    limiter.burst(&get());
    assert_eq!(limiter.refusal(get()).header("retry-after").unwrap(), "1");
}

#[test]
fn the_next_unit_never_comes_after_the_time_to_wait() {
    for limit in 1..60 {
        for cost in 1..=limit.min(3) {
            let mut limiter = Limiter::new(json!({ "limit": limit, "per": "1m", "cost": cost }));
            limiter.burst(&get());
            limiter.wait(limit * 37);
            let reply = limiter.plugin.request(get()).reply().cloned();
            let Some(reply) = reply else { continue };
            let retry: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            let ratelimit = reply.header("ratelimit").unwrap().into_owned();
            let next: u64 = ratelimit.split_once(";t=").unwrap().1.parse().unwrap();
            assert!((1..=retry).contains(&next), "{limit} a minute, cost {cost}: {ratelimit}, retry after {retry}");
        }
    }
}

#[test]
fn the_older_headers_hold_the_tightest_limit() {
    let limits = json!([{ "limit": 10, "per": "1s" }, { "limit": 5, "per": "1h", "burst": 20 }]);
    let mut limiter = Limiter::new(json!({ "limits": limits, "headers": "legacy" }));
    let exchange = limiter.exchange(get());
    assert_eq!(exchange.response_header("x-ratelimit-limit"), Some("10"));
    assert_eq!(exchange.response_header("x-ratelimit-remaining"), Some("9"));
    assert_eq!(exchange.response_header("x-ratelimit-reset"), Some("1"));
    assert_eq!(exchange.response_header("ratelimit"), None);
    assert_eq!(exchange.response_header("ratelimit-policy"), None);
    for _ in 0..19 {
        limiter.wait(1_000);
        limiter.exchange(get());
    }
    let reply = limiter.refusal(get());
    assert_eq!(reply.header("x-ratelimit-limit").unwrap(), "20");
    assert_eq!(reply.header("x-ratelimit-remaining").unwrap(), "0");
    // 20 units of 12 minutes, less the 19 seconds that have passed.
    assert_eq!(reply.header("x-ratelimit-reset").unwrap(), "14381");
    assert_eq!(reply.header("ratelimit"), None);
}

#[test]
fn both_kinds_can_be_had_and_none() {
    let mut both = Limiter::new(json!({ "limit": 2, "per": "1m", "headers": "both" }));
    let exchange = both.exchange(get());
    assert_eq!(exchange.response_header("ratelimit"), Some(r#""default";r=1;t=30"#));
    assert_eq!(exchange.response_header("x-ratelimit-reset"), Some("30"));

    let mut none = Limiter::new(json!({ "limit": 1, "per": "1m", "headers": "none" }));
    let exchange = none.exchange(get());
    let reply = none.refusal(get());
    for name in ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert_eq!(exchange.response_header(name), None, "{name}");
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("retry-after").unwrap(), "60");
}

#[test]
fn several_limits_are_listed_from_the_one_that_recovers_soonest() {
    let limits = json!([{ "limit": 1000, "per": "1h", "name": "hourly" }, { "limit": 2, "per": "1s" }]);
    let mut limiter = Limiter::new(json!({ "limits": limits }));
    let exchange = limiter.exchange(get());
    let policy = r#""2-per-1s";q=2;w=1, "hourly";q=1000;w=3600"#;
    assert_eq!(exchange.response_header("ratelimit-policy"), Some(policy));
    assert_eq!(exchange.response_header("ratelimit"), Some(r#""2-per-1s";r=1;t=1, "hourly";r=999;t=4"#));
    limiter.burst(&get());
    let reply = limiter.refusal(get());
    assert_eq!(reply.header("ratelimit-policy").unwrap(), policy);
    assert_eq!(reply.header("ratelimit").unwrap(), r#""2-per-1s";r=0;t=1, "hourly";r=998;t=4"#);
    assert_eq!(reply.json::<Value>().unwrap()["violated-policies"], json!(["2-per-1s"]));
}

#[test]
fn a_window_that_is_not_whole_seconds_is_not_told() {
    let mut limiter = Limiter::new(json!({ "limit": 5, "per": "500ms" }));
    let exchange = limiter.exchange(get());
    assert_eq!(exchange.response_header("ratelimit-policy"), Some(r#""default";q=5"#));
}

#[test]
fn the_phases_of_an_exchange_may_run_in_different_instances() {
    let config = json!({ "limit": 4, "per": "1m", "headers": "both" });
    let mut one = Limiter::new(config.clone());
    let mut other = Limiter::on(one.host.clone(), config);
    let mut exchange = one.plugin.request(get());
    other.allows(get());
    other.plugin.response(&mut exchange, TestResponse::new(200));
    assert_eq!(exchange.response_header("ratelimit"), Some(r#""default";r=3;t=15"#));
    assert_eq!(exchange.response_header("x-ratelimit-remaining"), Some("3"));
}

#[test]
fn the_plugin_can_be_on_a_route_twice() {
    let config = |limit: u32, name: &str| json!({ "limit": limit, "per": "1m", "headers": "both", "name": name });
    let mut outer = Limiter::new(config(10, "outer"));
    let mut inner = Limiter::on(outer.host.clone(), config(5, "inner"));
    let mut outside = outer.plugin.request(get());
    // The kit runs one plugin at a time: the second one meets what the first one left on the exchange.
    let state = outer.plugin.inner().state_attribute.clone();
    let request = get().attribute(&state, outside.attribute(&state).unwrap());
    let mut exchange = inner.plugin.request(request);
    inner.plugin.response(&mut exchange, TestResponse::new(200));
    let there = ["ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        .iter()
        .fold(TestResponse::new(200), |response, name| response.header(name, exchange.response_header(name).unwrap()));
    outer.plugin.response(&mut outside, there);
    let values = outside.response_header_values("ratelimit");
    assert_eq!(values, [&br#""inner";r=4;t=12"#[..], br#""outer";r=9;t=6"#]);
    assert_eq!(outside.response_header_values("x-ratelimit-remaining"), [b"4"]);
    assert_eq!(outside.response_header_values("x-ratelimit-limit"), [b"5"]);
}

#[test]
fn a_looser_limit_of_the_upstream_gives_way() {
    let mut limiter = Limiter::new(json!({ "limit": 3, "per": "1m", "headers": "legacy" }));
    let mut exchange = limiter.plugin.request(get());
    let upstream = TestResponse::new(200).header("x-ratelimit-limit", "50").header("x-ratelimit-remaining", "40");
    limiter.plugin.response(&mut exchange, upstream);
    assert_eq!(exchange.response_header_values("x-ratelimit-limit"), [b"3"]);
    assert_eq!(exchange.response_header_values("x-ratelimit-remaining"), [b"2"]);
}

#[test]
fn a_state_that_something_else_wrote_is_ignored() {
    for state in ["", "1", "1 2", "1 2 x", "1 2 3 4", "1 2 3,1 2 3", "-1 2 3"] {
        assert_eq!(crate::policy::read(state, 1), None, "{state}");
    }
}
