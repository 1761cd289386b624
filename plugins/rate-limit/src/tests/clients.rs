//! Who is counted.

use serde_json::json;

use super::*;

/// Whether two requests are of the same client.
#[track_caller]
fn together(config: Value, one: TestRequest, other: TestRequest) -> bool {
    let mut limiter = Limiter::new(merge(json!({ "limit": 1, "per": "1m" }), config));
    assert!(limiter.allows(one));
    !limiter.allows(other)
}

fn merge(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

#[test]
fn clients_are_told_apart_by_their_address() {
    let from = |address: &str| get().client(address);
    assert!(together(json!({}), from("192.0.2.1"), from("192.0.2.1")));
    assert!(!together(json!({}), from("192.0.2.1"), from("192.0.2.2")));
    assert!(together(json!({ "ipv4-prefix": 24 }), from("192.0.2.1"), from("192.0.2.254")));
    assert!(!together(json!({ "ipv4-prefix": 24 }), from("192.0.2.1"), from("192.0.3.1")));
}

#[test]
fn an_ipv6_customer_is_one_client_however_many_addresses_it_uses() {
    let from = |address: &str| get().client(address);
    assert!(together(json!({}), from("2001:db8:0:1::1"), from("2001:db8:0:1:ffff::2")));
    assert!(!together(json!({}), from("2001:db8:0:1::1"), from("2001:db8:0:2::1")));
    assert!(together(json!({ "ipv6-prefix": 48 }), from("2001:db8:0:1::1"), from("2001:db8:0:2::1")));
    assert!(!together(json!({ "ipv6-prefix": 128 }), from("2001:db8::1"), from("2001:db8::2")));
}

#[test]
fn an_ipv4_client_is_itself_on_an_ipv6_socket_too() {
    assert!(together(json!({}), get().client("::ffff:192.0.2.1"), get().client("192.0.2.1")));
    assert!(!together(json!({}), get().client("::ffff:192.0.2.1"), get().client("::ffff:192.0.2.2")));
}

#[test]
fn clients_are_told_apart_by_a_header() {
    let key = json!({ "key": { "header": "X-Api-Key" } });
    let with = |value: &str| get().header("x-api-key", value);
    assert!(together(key.clone(), with("k1").client("192.0.2.1"), with("k1").client("192.0.2.2")));
    assert!(!together(key.clone(), with("k1"), with("k2")));
    assert!(together(key, with("k1").header("x-api-key", "k2"), with("k1").header("x-api-key", "k3")));
}

#[test]
fn clients_are_told_apart_by_an_attribute() {
    let key = json!({ "key": { "attribute": "jwt.sub" } });
    let anna = |address: &str| get().attribute("jwt.sub", "anna").client(address);
    assert!(together(key.clone(), anna("192.0.2.1"), anna("192.0.2.2")));
    assert!(!together(key, anna("192.0.2.1"), get().attribute("jwt.sub", "ben").client("192.0.2.1")));
}

#[test]
fn requests_are_told_apart_by_a_path_parameter() {
    let key = json!({ "key": { "path-parameter": "tenant" } });
    assert!(together(key.clone(), get().parameter("tenant", "a"), get().parameter("tenant", "a").client("192.0.2.9")));
    assert!(!together(key, get().parameter("tenant", "a"), get().parameter("tenant", "b")));
}

#[test]
fn a_route_can_count_all_clients_together() {
    let key = json!({ "key": "route" });
    assert!(together(key.clone(), get().client("192.0.2.1"), get().client("192.0.2.2")));
    assert!(!together(key, get().route("a"), get().route("b")));
}

#[test]
fn a_list_tells_apart_by_all_of_its_parts_together() {
    let key = json!({ "key": ["client-address", { "header": "x-api-key" }] });
    let request = |address: &str, value: &str| get().client(address).header("x-api-key", value);
    assert!(together(key.clone(), request("192.0.2.1", "k1"), request("192.0.2.1", "k1")));
    assert!(!together(key.clone(), request("192.0.2.1", "k1"), request("192.0.2.1", "k2")));
    assert!(!together(key, request("192.0.2.1", "k1"), request("192.0.2.2", "k1")));
}

#[test]
fn values_do_not_run_into_each_other() {
    let key = json!({ "key": [{ "header": "a" }, { "header": "b" }] });
    let request = |a: &str, b: &str| get().header("a", a).header("b", b);
    assert!(!together(key, request("x/header.b=y", "z"), request("x", "y/header.b=z")));
}

#[test]
fn the_same_value_of_another_header_is_another_client() {
    let by = |header: &str| json!({ "limit": 1, "per": "1m", "key": { "header": header } });
    let mut a = Limiter::new(by("a"));
    let mut b = Limiter::on(a.host.clone(), by("b"));
    let request = get().header("a", "x").header("b", "x");
    assert!(a.allows(request.clone()));
    assert!(b.allows(request));
}

#[test]
fn who_lacks_the_header_is_counted_by_address() {
    let key = json!({ "key": { "header": "x-api-key" } });
    let from = |address: &str| get().client(address);
    assert!(together(key.clone(), from("192.0.2.1"), from("192.0.2.1")));
    assert!(!together(key.clone(), from("192.0.2.1"), from("192.0.2.2")));
    assert!(together(key.clone(), from("192.0.2.1").header("x-api-key", ""), from("192.0.2.1")));
    assert!(!together(key, from("192.0.2.1"), from("192.0.2.1").header("x-api-key", "k1")));
}

#[test]
fn who_lacks_the_header_can_pass_uncounted() {
    let mut limiter =
        Limiter::new(json!({ "limit": 1, "per": "1m", "key": { "header": "x-api-key" }, "missing": "skip" }));
    for _ in 0..10 {
        let exchange = limiter.exchange(get());
        assert_eq!(exchange.attribute("rate-limit.outcome"), Some("skipped"));
        assert_eq!(exchange.response_header("ratelimit"), None);
    }
    assert_eq!(limiter.burst(&get().header("x-api-key", "k1")), 1);
}

#[test]
fn who_lacks_the_header_can_be_turned_away() {
    let mut limiter =
        Limiter::new(json!({ "limit": 1, "per": "1m", "key": { "header": "x-api-key" }, "missing": "reject" }));
    let reply = limiter.refusal(get());
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("content-type").unwrap(), "application/problem+json");
    assert_eq!(reply.json::<Value>().unwrap()["detail"], "the request needs the header `x-api-key`");
    assert!(limiter.allows(get().header("x-api-key", "k1")));
}

#[test]
fn a_missing_attribute_is_no_secret_told() {
    let mut limiter =
        Limiter::new(json!({ "limit": 1, "per": "1m", "key": { "attribute": "jwt.sub" }, "missing": "reject" }));
    let reply = limiter.refusal(get());
    assert_eq!(reply.json::<Value>().unwrap()["detail"], "the request needs to say who it is from");
}

#[test]
fn a_value_of_any_length_fits_the_store() {
    let key = json!({ "key": { "header": "x-api-key" }, "on-store-failure": "deny" });
    let long = "k".repeat(20_000);
    assert!(together(key.clone(), get().header("x-api-key", &long), get().header("x-api-key", &long)));
    assert!(!together(key, get().header("x-api-key", &long), get().header("x-api-key", format!("{long}2"))));
}

#[test]
fn the_longest_key_that_can_be_configured_fits_the_store() {
    let part = |letter: &str| json!({ "header": letter.repeat(100) });
    let mut limiter = Limiter::new(json!({
        "limit": 1, "per": "1m", "name": "n".repeat(64), "bucket": "b".repeat(64),
        "key": [part("w"), part("x"), part("y"), part("z")],
        "on-store-failure": "deny",
    }));
    let request = ["w", "x", "y", "z"].iter().fold(get(), |request, name| request.header(&name.repeat(100), "v"));
    assert_eq!(limiter.burst(&request.route(&"r".repeat(64))), 1);
}
