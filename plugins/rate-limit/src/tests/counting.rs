//! How many requests pass, and when the next one does.

use serde_json::json;

use super::*;

#[test]
fn a_burst_passes_at_once_and_then_one_request_each_interval() {
    let mut limiter = Limiter::new(json!({ "limit": 10, "per": "1s", "burst": 3 }));
    assert_eq!(limiter.burst(&get()), 3);
    limiter.wait(99);
    assert!(!limiter.allows(get()));
    limiter.wait(1);
    assert_eq!(limiter.burst(&get()), 1);
    limiter.wait(10_000);
    assert_eq!(limiter.burst(&get()), 3);
}

#[test]
fn the_burst_is_the_limit_if_left_out() {
    let mut limiter = Limiter::new(json!({ "limit": 7, "per": "1d" }));
    assert_eq!(limiter.burst(&get()), 7);
}

#[test]
fn a_request_takes_as_many_units_as_it_costs() {
    let mut limiter = Limiter::new(json!({ "limit": 10, "per": "1m", "cost": 4 }));
    assert_eq!(limiter.burst(&get()), 2);
    limiter.wait(12_000);
    assert_eq!(limiter.burst(&get()), 1);
}

#[test]
fn several_limits_must_all_allow() {
    let limits = json!([{ "limit": 2, "per": "1s" }, { "limit": 5, "per": "1h" }]);
    let mut limiter = Limiter::new(json!({ "limits": limits }));
    assert_eq!(limiter.burst(&get()), 2);
    limiter.wait(1_000);
    assert_eq!(limiter.burst(&get()), 2);
    limiter.wait(1_000);
    assert_eq!(limiter.burst(&get()), 1);
    limiter.wait(1_000);
    assert_eq!(limiter.burst(&get()), 0);
}

#[test]
fn what_a_short_limit_refuses_costs_the_long_one_nothing_whatever_their_order() {
    let limits = json!([{ "limit": 5, "per": "1h" }, { "limit": 1, "per": "1s" }]);
    let mut limiter = Limiter::new(json!({ "limits": limits }));
    assert!(limiter.allows(get()));
    for _ in 0..100 {
        assert!(!limiter.allows(get()));
    }
    for _ in 0..4 {
        limiter.wait(1_000);
        assert!(limiter.allows(get()));
    }
}

#[test]
fn who_waits_as_long_as_told_is_let_in() {
    let mut limiter = Limiter::new(json!({ "limit": 7, "per": "1m", "burst": 2 }));
    limiter.burst(&get());
    for _ in 0..20 {
        let seconds: u64 = limiter.refusal(get()).header("retry-after").unwrap().parse().unwrap();
        limiter.wait(seconds * 1_000);
        assert!(limiter.allows(get()));
        limiter.burst(&get());
    }
}

#[test]
fn instances_count_together() {
    let config = json!({ "limit": 3, "per": "1m" });
    let mut one = Limiter::new(config.clone());
    let mut other = Limiter::on(one.host.clone(), config);
    assert!(one.allows(get()));
    assert!(other.allows(get()));
    assert!(one.allows(get()));
    assert!(!other.allows(get()));
}

#[test]
fn each_route_counts_for_itself() {
    let mut limiter = Limiter::new(json!({ "limit": 2, "per": "1m" }));
    assert_eq!(limiter.burst(&get().route("a")), 2);
    assert_eq!(limiter.burst(&get().route("b")), 2);
}

#[test]
fn routes_that_share_a_scope_count_together() {
    let config = |scope: &str| json!({ "limit": 2, "per": "1m", "scope": { "shared": scope } });
    let mut api = Limiter::new(config("api"));
    assert!(api.allows(get().route("a")));
    assert!(api.allows(get().route("b")));
    assert!(!api.allows(get().route("c")));
    let mut web = Limiter::on(api.host, config("web"));
    assert!(web.allows(get().route("a")));
}

#[test]
fn a_shared_scope_is_never_a_route_of_that_name() {
    let mut shared = Limiter::new(json!({ "limit": 1, "per": "1m", "scope": { "shared": "a" } }));
    let mut route = Limiter::on(shared.host.clone(), json!({ "limit": 1, "per": "1m" }));
    assert!(shared.allows(get().route("a")));
    assert!(route.allows(get().route("a")));
}

#[test]
fn limits_of_different_names_on_one_route_count_apart() {
    let mut strict = Limiter::new(json!({ "limit": 1, "per": "1m", "name": "strict" }));
    let mut loose = Limiter::on(strict.host.clone(), json!({ "limit": 5, "per": "1m", "name": "loose" }));
    assert_eq!(strict.burst(&get()), 1);
    assert_eq!(loose.burst(&get()), 5);
}

#[test]
fn a_sliding_window_has_no_more_than_the_limit_in_any_period() {
    let mut limiter = Limiter::new(json!({ "limit": 10, "per": "10s", "algorithm": "sliding-window" }));
    assert_eq!(limiter.burst(&get()), 10);
    limiter.wait(9_000);
    assert_eq!(limiter.burst(&get()), 0);
    limiter.wait(1_000);
    assert_eq!(limiter.burst(&get()), 0);
    limiter.wait(5_000);
    assert_eq!(limiter.burst(&get()), 5);
    limiter.wait(20_000);
    assert_eq!(limiter.burst(&get()), 10);
}

#[test]
fn a_refusal_takes_nothing_of_any_limit() {
    let limits = json!([
        { "limit": 1, "per": "1s" },
        { "limit": 3, "per": "1h", "name": "sliding", "algorithm": "sliding-window" },
        { "limit": 5, "per": "1h" },
    ]);
    let mut limiter = Limiter::new(json!({ "limits": limits }));
    for _ in 0..3 {
        assert!(limiter.allows(get()));
        assert!(!limiter.allows(get()));
        limiter.wait(1_000);
    }
    let reply = limiter.refusal(get());
    assert_eq!(reply.json::<Value>().unwrap()["violated-policies"], json!(["sliding"]));
    assert!(reply.header("ratelimit").unwrap().contains(r#""1-per-1s";r=1"#));
}

#[test]
fn a_tier_has_limits_of_its_own() {
    let tiers = json!({ "gold": { "limit": 5, "per": "1m" }, "none": { "limits": [{ "limit": 1, "per": "1h" }] } });
    let mut limiter = Limiter::new(json!({ "limit": 2, "per": "1m", "tiers": tiers }));
    let of = |tier: &str, client: &str| get().client(client).attribute("api-key.tier", tier);
    assert_eq!(limiter.burst(&get()), 2);
    assert_eq!(limiter.burst(&of("gold", "192.0.2.2")), 5);
    assert_eq!(limiter.burst(&of("none", "192.0.2.3")), 1);
    assert_eq!(limiter.burst(&of("unheard-of", "192.0.2.4")), 2);
    let exchange = limiter.exchange(of("gold", "192.0.2.5"));
    assert_eq!(exchange.response_header("ratelimit"), Some(r#""gold";r=4;t=12"#));
}

#[test]
fn without_the_store_a_gateway_can_count_for_itself() {
    let mut limiter = Limiter::new(json!({ "limit": 2, "per": "1m", "on-store-failure": "local" }));
    assert_eq!(limiter.burst(&get()), 2);
    limiter.host.set_store_available(false);
    assert_eq!(limiter.burst(&get()), 2);
    limiter.host.set_store_available(true);
    assert_eq!(limiter.burst(&get()), 0);
    assert_eq!(limiter.host.log().len(), 1);
}
