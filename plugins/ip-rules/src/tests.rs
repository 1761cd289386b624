use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestHost, TestPlugin, TestRequest, config_schema},
};

use super::IpRules;

fn allows(config: Value, client: &str) -> bool {
    let mut plugin: TestPlugin<IpRules> =
        TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"));
    let exchange = plugin.request(TestRequest::get("/").client(client));
    exchange.reply().inspect(|reply| assert_eq!(reply.status, 403)).is_none()
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<IpRules>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

#[test]
fn only_who_is_allowed_gets_in() {
    let config = json!({ "allow": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] });
    for client in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"] {
        assert!(allows(config.clone(), client), "{client}");
    }
    for client in ["11.0.0.0", "192.0.2.8", "2001:db9::1", "::1", "::10.1.2.3"] {
        assert!(!allows(config.clone(), client), "{client}");
    }
}

#[test]
fn who_is_denied_does_not_even_if_allowed() {
    let config = json!({ "deny": ["10.6.0.0/16", "2001:db8::6"] });
    for (client, expected) in
        [("10.6.1.1", false), ("::ffff:10.6.1.1", false), ("2001:db8::6", false), ("10.7.1.1", true), ("::1", true)]
    {
        assert_eq!(allows(config.clone(), client), expected, "{client}");
    }
    let config = json!({ "allow": ["10.0.0.0/8"], "deny": ["10.6.6.6"] });
    for (client, expected) in [("10.6.6.6", false), ("10.6.6.7", true), ("11.0.0.1", false)] {
        assert_eq!(allows(config.clone(), client), expected, "{client}");
    }
}

#[test]
fn a_refusal_is_counted_and_noted_and_says_no_rule() {
    let host = TestHost::new();
    let mut plugin: TestPlugin<IpRules> = host.plugin(json!({ "deny": ["10.0.0.0/8"] })).unwrap();
    let exchange = plugin.request(TestRequest::get("/").client("10.1.1.1").route("r"));
    assert_eq!(exchange.attribute("ip-rules.error"), Some("denied"));
    let problem: Value = exchange.reply().unwrap().json().unwrap();
    assert_eq!(problem["detail"], "your address is not allowed here");
    assert_eq!(host.counter("ip_rules_denied", &[("route", "r"), ("reason", "denied")]), 1);
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({ "allow": ["10.1.0.0/8", "nowhere", "10.0.0.0/33"], "deny": ["::ffff:10.0.0.0/104"] }));
    for expected in [
        "/allow/0: `10.1.0.0/8` has bits set beyond its prefix; write `10.0.0.0/8`",
        "/allow/1: `nowhere` is neither",
        "/allow/2: `10.0.0.0/33` is neither",
        "/deny/0: `::ffff:10.0.0.0/104` is written as IPv4: `10.0.0.0/8`",
    ] {
        assert!(found.contains(expected), "{expected} in\n{found}");
    }
    assert!(problems(json!({})).contains("needs an address or network"));
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<IpRules>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    assert!(validator.is_valid(&schema["examples"][0]));
    assert!(!validator.is_valid(&json!({ "allow": "10.0.0.0/8" })) && !validator.is_valid(&json!({ "block": [] })));
}
