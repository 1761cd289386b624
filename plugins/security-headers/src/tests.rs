use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::{DEFAULTS, HSTS, SecurityHeaders};

fn response(config: Value, request: TestRequest, response: TestResponse) -> TestExchange {
    let plugin: Result<TestPlugin<SecurityHeaders>, Problems> = TestHost::new().plugin(config);
    let mut exchange = TestExchange::new(request);
    plugin.unwrap_or_else(|problems| panic!("{problems}")).response(&mut exchange, response);
    exchange
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<SecurityHeaders>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

#[test]
fn by_default_a_response_gets_what_is_sensible_and_loses_what_tells_too_much() {
    let upstream = TestResponse::new(200).header("server", "nginx/1.2").header("x-powered-by", "PHP");
    let exchange = response(json!({}), TestRequest::get("/").https(), upstream);
    for (name, value) in DEFAULTS {
        assert_eq!(exchange.response_header_values(name), [value.as_bytes()], "{name}");
    }
    assert_eq!((exchange.response_header("server"), exchange.response_header("x-powered-by")), (None, None));
}

#[test]
fn strict_transport_security_is_for_https_only() {
    let upstream = TestResponse::new(200).header(HSTS, "max-age=1");
    assert_eq!(response(json!({}), TestRequest::get("/"), upstream.clone()).response_header(HSTS), None);
    let https = TestRequest::get("/").https();
    assert_eq!(response(json!({}), https.clone(), upstream.clone()).response_header(HSTS), Some("max-age=1"));
    let off = json!({ "set": { "strict-transport-security": false } });
    assert_eq!(response(off, https, TestResponse::new(200)).response_header(HSTS), None);
}

#[test]
fn each_default_can_be_changed_or_turned_off_and_others_added() {
    let config = json!({
        "set": { "X-Frame-Options": "SAMEORIGIN", "referrer-policy": false, "content-security-policy": "default-src 'self'" },
        "remove": ["x-aspnet-version"],
    });
    let upstream = TestResponse::new(200).header("server", "s").header("x-aspnet-version", "4");
    let exchange = response(config, TestRequest::get("/"), upstream);
    assert_eq!(exchange.response_header("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(exchange.response_header("referrer-policy"), None);
    assert_eq!(exchange.response_header("content-security-policy"), Some("default-src 'self'"));
    assert_eq!(exchange.response_header("x-content-type-options"), Some("nosniff"));
    assert_eq!((exchange.response_header("server"), exchange.response_header("x-aspnet-version")), (Some("s"), None));
}

#[test]
fn the_upstreams_own_value_stays_unless_it_is_to_give_way() {
    let upstream = TestResponse::new(200).header("x-frame-options", "SAMEORIGIN");
    let exchange = response(json!({}), TestRequest::get("/"), upstream.clone());
    assert_eq!(exchange.response_header_values("x-frame-options"), [b"SAMEORIGIN"]);
    let exchange = response(json!({ "replace": true }), TestRequest::get("/"), upstream);
    assert_eq!(exchange.response_header_values("x-frame-options"), [b"DENY"]);
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({
        "set": { "a b": "x", "connection": "close", "x-a": true, "x-b": "a\r\nb", "x-c": false },
        "remove": ["", "x-frame-options"],
    }));
    let places: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let expected = ["/set/a b", "/set/connection", "/set/x-a", "/set/x-b", "/set/x-c", "/remove/0", "/remove/1"];
    assert_eq!(places, expected, "{found}");
    assert!(problems(json!({ "headers": {} })).contains("unknown field `headers`"));
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<SecurityHeaders>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    assert!(validator.is_valid(&schema["examples"][0]) && validator.is_valid(&json!({})));
    assert!(!validator.is_valid(&json!({ "set": { "x-a": true } })) && !validator.is_valid(&json!({ "add": {} })));
}
