use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::Cors;

fn cors(config: Value) -> TestPlugin<Cors> {
    TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<Cors>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

const APP: &str = "https://app.example.com";

fn app() -> Value {
    json!({ "allow-origins": [APP] })
}

fn preflight(origin: &str) -> TestRequest {
    TestRequest::new("OPTIONS", "/").header("origin", origin).header("access-control-request-method", "PUT")
}

/// The fields of a preflight's answer.
fn answer(config: Value, request: TestRequest) -> Vec<(String, String)> {
    let exchange = cors(config).request(request);
    let reply = exchange.reply().expect("an answer");
    assert_eq!((reply.status, reply.body.as_slice()), (204, &b""[..]));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = reply.headers.iter().filter(|(name, _)| name != "vary");
    fields.map(|(name, value)| (name.replace("access-control-", ""), text(value))).collect()
}

fn fields(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What becomes of an upstream's response.
fn response(config: Value, request: TestRequest, response: TestResponse) -> TestExchange {
    let exchange = cors(config).request(request);
    assert_eq!(exchange.reply(), None);
    exchange.with_response(response)
}

fn get(origin: &str) -> TestRequest {
    TestRequest::get("/").header("origin", origin)
}

#[test]
fn a_preflight_of_an_origin_that_is_let_in_is_told_what_it_may() {
    assert_eq!(
        answer(app(), preflight(APP)),
        fields(&[("allow-origin", APP), ("allow-methods", "GET, HEAD, POST"), ("max-age", "600")])
    );
    let config = json!({
        "allow-origins": ["https://*.example.com"],
        "allow-methods": ["PUT", "DELETE"],
        "allow-headers": ["content-type", "x-trace"],
        "allow-credentials": true,
        "allow-private-network": true,
        "max-age": "2h",
    });
    let request = preflight(APP).header("access-control-request-private-network", "true");
    assert_eq!(
        answer(config, request),
        fields(&[
            ("allow-origin", APP),
            ("allow-credentials", "true"),
            ("allow-methods", "PUT, DELETE"),
            ("allow-headers", "content-type, x-trace"),
            ("allow-private-network", "true"),
            ("max-age", "7200"),
        ])
    );
}

#[test]
fn a_preflight_of_another_origin_is_told_nothing() {
    for origin in ["https://evil.test", "null", "", "https://app.example.com.evil.test"] {
        assert_eq!(answer(app(), preflight(origin)), [], "{origin}");
    }
}

#[test]
fn everyone_is_an_asterisk_and_authorization_is_named_beside_it() {
    let config = json!({ "allow-origins": ["*"], "allow-methods": ["*"], "allow-headers": ["*", "authorization"] });
    assert_eq!(
        answer(config, preflight("null")),
        fields(&[
            ("allow-origin", "*"),
            ("allow-methods", "*"),
            ("allow-headers", "*, authorization"),
            ("max-age", "600"),
        ])
    );
}

#[test]
fn with_credentials_an_asterisk_is_what_was_asked_for() {
    let config = json!({
        "allow-origins": [APP], "allow-methods": ["*"], "allow-headers": ["*"], "allow-credentials": true,
    });
    let asked = preflight(APP).header("access-control-request-headers", "authorization,x-a");
    let told = answer(config.clone(), asked);
    assert!(told.contains(&("allow-methods".to_owned(), "PUT".to_owned())), "{told:?}");
    assert!(told.contains(&("allow-headers".to_owned(), "authorization,x-a".to_owned())), "{told:?}");
    let told = answer(config, preflight(APP));
    assert!(!told.iter().any(|(name, _)| name == "allow-headers"), "{told:?}");
}

#[test]
fn what_only_looks_like_a_preflight_goes_to_the_upstream() {
    let options = || TestRequest::new("OPTIONS", "/");
    for request in [
        options(),
        options().header("origin", APP),
        options().header("access-control-request-method", "PUT"),
        get(APP).header("access-control-request-method", "PUT"),
    ] {
        assert_eq!(cors(app()).request(request).reply(), None);
    }
}

#[test]
fn a_preflight_is_counted() {
    let host = TestHost::new();
    let mut plugin: TestPlugin<Cors> = host.plugin(app()).unwrap();
    plugin.request(preflight(APP).route("r"));
    plugin.request(preflight("https://evil.test").route("r"));
    for outcome in ["allowed", "denied"] {
        assert_eq!(host.counter("cors_preflights", &[("route", "r"), ("result", outcome)]), 1, "{outcome}");
    }
}

#[test]
fn a_response_to_an_origin_that_is_let_in_says_so_in_our_words() {
    let upstream = TestResponse::new(200)
        .header("access-control-allow-origin", "*")
        .header("access-control-allow-credentials", "true")
        .header("access-control-expose-headers", "x-secret")
        .header("vary", "Accept");
    let exchange = response(app(), get(APP), upstream.clone());
    assert_eq!(exchange.response_header_values("access-control-allow-origin"), [APP.as_bytes()]);
    assert_eq!(exchange.response_header("access-control-allow-credentials"), None);
    assert_eq!(exchange.response_header("access-control-expose-headers"), None);
    assert_eq!(exchange.response_header_values("vary"), [&b"Accept"[..], b"Origin"]);

    let config = json!({ "allow-origins": [APP], "allow-credentials": true, "expose-headers": ["x-a", "x-b"] });
    let exchange = response(config, get(APP), upstream);
    assert_eq!(exchange.response_header("access-control-allow-credentials"), Some("true"));
    assert_eq!(exchange.response_header("access-control-expose-headers"), Some("x-a, x-b"));
}

#[test]
fn a_response_to_another_origin_or_none_has_no_fields_whatever_the_upstream_says() {
    for request in [get("https://evil.test"), get(&"x".repeat(4000)), TestRequest::get("/")] {
        let upstream = TestResponse::new(200)
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "*");
        let exchange = response(app(), request, upstream);
        for name in ["allow-origin", "allow-credentials", "expose-headers"] {
            assert_eq!(exchange.response_header(&format!("access-control-{name}")), None, "{name}");
        }
        assert_eq!(exchange.response_header("vary"), Some("Origin"), "a cache must keep the two apart");
    }
}

#[test]
fn what_is_longer_than_a_host_can_be_is_not_said_back() {
    let config = json!({ "allow-origins": ["https://*.example.com"] });
    let long = format!("https://{}example.com", "a.".repeat(2000));
    let exchange = response(config.clone(), get(&long), TestResponse::new(200));
    assert_eq!(exchange.response_header("access-control-allow-origin"), None);
    assert_eq!(answer(config, preflight(&long)), []);
}

#[test]
fn everyone_gets_the_same_answer_which_caches_may_share() {
    for request in [get(APP), TestRequest::get("/")] {
        let exchange = response(json!({ "allow-origins": ["*"] }), request, TestResponse::new(200));
        assert_eq!(exchange.response_header("access-control-allow-origin"), Some("*"));
        assert_eq!(exchange.response_header("vary"), None);
    }
}

#[test]
fn an_origin_in_vary_is_not_repeated() {
    for said in ["Origin", "accept, ORIGIN", "*"] {
        let exchange = response(app(), get(APP), TestResponse::new(200).header("vary", said));
        assert_eq!(exchange.response_header_values("vary"), [said.as_bytes()]);
    }
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({
        "allow-origins": ["*", "app.example.com", "null"],
        "allow-methods": ["GET PUT"],
        "allow-headers": [""],
        "expose-headers": ["*"],
        "allow-credentials": true,
        "max-age": "2d",
    }));
    for place in [
        "/allow-origins/0: `*` stands for every origin",
        "/allow-origins/0: `*` and `allow-credentials`",
        "/allow-origins/1: ",
        "/allow-origins/2: `null` and `allow-credentials`",
        "/allow-methods/0: ",
        "/allow-headers/0: ",
        "/expose-headers: ",
        "/max-age: ",
    ] {
        assert!(found.contains(place), "{place} in\n{found}");
    }
    assert!(problems(json!({})).contains("allow-origins"));
    assert!(problems(json!({ "allow-origins": [] })).contains("/allow-origins: must name an origin"));
    assert!(problems(json!({ "allow-origins": ["*"], "origins": [] })).contains("unknown field `origins`"));
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<Cors>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    assert!(validator.is_valid(&schema["examples"][0]));
    assert!(!validator.is_valid(&json!({})) && !validator.is_valid(&json!({ "allow-origins": [] })));
    assert!(!validator.is_valid(&json!({ "allow-origins": ["*"], "max-age": 600 })));
}
