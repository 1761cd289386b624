//! What configurations are, and what is wrong with others.

use serde_json::json;

use super::*;

/// The problems of a configuration, as `pointer: message`.
#[track_caller]
fn problems(config: Value) -> Vec<String> {
    let problems = TestHost::new().plugin::<RateLimit>(config).err().expect("the configuration should be refused");
    problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
}

#[test]
fn a_limit_needs_its_period() {
    assert_eq!(problems(json!({})), [": needs `limit` and `per`, or `limits`"]);
    assert_eq!(problems(json!({ "limit": 1 })), [": `limit` needs `per`, such as `per: 1m`"]);
    assert_eq!(problems(json!({ "per": "1m" })), [": `per` needs `limit`, such as `limit: 100`"]);
    assert_eq!(problems(json!({ "limit": 1, "per": "0s" })), ["/per: `per` must be 1ms to 366d"]);
    assert_eq!(problems(json!({ "limit": 1, "per": "367d" })), ["/per: `per` must be 1ms to 366d"]);
    assert!(problems(json!({ "limit": 1, "per": "1 minute" }))[0].starts_with("/per: invalid value: "));
}

#[test]
fn numbers_are_at_least_one() {
    for option in ["limit", "burst", "cost"] {
        let mut config = json!({ "limit": 1, "per": "1m" });
        config[option] = json!(0);
        assert!(problems(config)[0].starts_with(&format!("/{option}: ")), "{option}");
    }
    assert_eq!(
        problems(json!({ "limit": 1, "per": "1m", "ipv4-prefix": 33 })),
        ["/ipv4-prefix: `ipv4-prefix` must be 1 to 32"]
    );
    assert_eq!(
        problems(json!({ "limit": 1, "per": "1m", "ipv6-prefix": 0 })),
        ["/ipv6-prefix: `ipv6-prefix` must be 1 to 128"]
    );
}

#[test]
fn a_request_that_could_never_pass_is_a_mistake() {
    assert_eq!(
        problems(json!({ "limit": 100, "per": "1m", "burst": 5, "cost": 6 })),
        ["/cost: `cost` is more than the burst of 5 of the limit `default`: no request would ever pass"]
    );
}

#[test]
fn one_limit_and_several_exclude_each_other() {
    let limits = json!([{ "limit": 1, "per": "1s" }]);
    assert_eq!(
        problems(json!({ "limit": 1, "per": "1m", "limits": limits })),
        ["/limits: `limits` cannot stand beside `limit`, `per`, `burst`, `name` or `algorithm`"]
    );
}

#[test]
fn limits_have_different_names() {
    let limits = json!([{ "limit": 1, "per": "60s" }, { "limit": 1, "per": "1m", "burst": 3 }]);
    assert_eq!(
        problems(json!({ "limits": limits })),
        ["/limits/1/name: `1-per-1m` is the name of another limit: give this one its own"]
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let config = json!({
        "limits": [{ "limit": 1, "per": "0s", "name": "a b" }, { "limit": 5, "per": "1m" }],
        "key": ["client-address", { "header": "x api key" }],
        "scope": { "shared": "" },
        "bucket": "a/b",
        "cost": 2,
    });
    let name = "expected a name of up to 64 letters, digits, `-`, `_` and `.`";
    assert_eq!(
        problems(config),
        [
            format!("/limits/0/name: {name}"),
            "/limits/0/per: `per` must be 1ms to 366d".to_owned(),
            "/cost: `cost` is more than the burst of 1 of the limit `a b`: no request would ever pass".to_owned(),
            format!("/bucket: {name}"),
            "/key/1/header: `x api key` is not the name of a header of up to 100 bytes".to_owned(),
            format!("/scope/shared: {name}"),
        ]
    );
}

#[test]
fn a_key_has_one_to_four_parts() {
    assert_eq!(problems(json!({ "limit": 1, "per": "1m", "key": [] })), ["/key: `key` needs 1 to 4 parts"]);
    let five = ["route"; 5];
    assert_eq!(problems(json!({ "limit": 1, "per": "1m", "key": five })), ["/key: `key` needs 1 to 4 parts"]);
    let wrong = problems(json!({ "limit": 1, "per": "1m", "key": { "cookie": "a" } }));
    assert!(wrong[0].starts_with("/key: expected `client-address`, `route`, "), "{wrong:?}");
}

#[test]
fn unknown_options_are_refused() {
    assert!(problems(json!({ "limit": 1, "per": "1m", "brust": 3 }))[0].contains("unknown field `brust`"));
}

#[test]
fn the_schema_describes_every_option_and_shows_defaults() {
    let schema = plugin_sdk::testkit::config_schema::<RateLimit>();
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = schema["properties"].as_object().unwrap();
    let options = [
        "limit",
        "per",
        "burst",
        "name",
        "limits",
        "key",
        "missing",
        "ipv4-prefix",
        "ipv6-prefix",
        "scope",
        "cost",
        "headers",
        "bucket",
        "on-store-failure",
        "algorithm",
        "tiers",
        "tier-attribute",
    ];
    assert_eq!(properties.len(), options.len());
    for option in options {
        assert!(properties[option]["description"].is_string(), "{option}");
    }
    assert_eq!(properties["ipv6-prefix"]["default"], json!(64));
    assert_eq!(properties["missing"]["default"], json!("client-address"));
    assert_eq!(properties["scope"]["default"], json!("route"));
    assert_eq!(properties["headers"]["default"], json!("standard"));
    assert_eq!(properties["on-store-failure"]["default"], json!("allow"));
    assert_eq!(properties["limit"]["minimum"], json!(1));
}
