use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestHost, TestPlugin, TestRequest, config_schema},
};
use sha2::{Digest as _, Sha256};

use super::ApiKey;

const KEY: &str = "8dQ2mV0xR4-a key of the shop";

fn sha256(key: &str) -> String {
    Sha256::digest(key).iter().map(|octet| format!("{octet:02x}")).collect()
}

fn shop() -> Value {
    json!({ "keys": [
        { "id": "shop", "sha256": sha256(KEY), "tier": "gold", "groups": ["partners", "eu"],
          "attributes": { "plan": "trial", "region": "eu-1" } },
        { "id": "till", "sha256": sha256("another").to_uppercase() },
    ] })
}

fn with(more: Value) -> Value {
    let mut config = shop();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn api_key(config: Value) -> TestPlugin<ApiKey> {
    TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(host: &TestHost, config: Value) -> String {
    let refused: Result<TestPlugin<ApiKey>, Problems> = host.plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

fn status(config: Value, request: TestRequest) -> u16 {
    api_key(config).request(request).reply().map_or(200, |reply| reply.status)
}

#[test]
fn a_known_key_says_who_it_is_and_goes_no_further() {
    let exchange = api_key(shop()).request(TestRequest::get("/").header("x-api-key", KEY));
    assert_eq!(exchange.reply(), None);
    assert_eq!(exchange.attribute("api-key.id"), Some("shop"));
    assert_eq!(exchange.attribute("api-key.tier"), Some("gold"));
    assert_eq!(exchange.attribute("api-key.groups"), Some("partners,eu"));
    assert_eq!(
        (exchange.attribute("api-key.plan"), exchange.attribute("api-key.region")),
        (Some("trial"), Some("eu-1"))
    );
    assert_eq!(exchange.header("x-api-key"), None);

    let exchange = api_key(shop()).request(TestRequest::get("/").header("x-api-key", "another"));
    assert_eq!(exchange.attribute("api-key.id"), Some("till"));
    assert_eq!((exchange.attribute("api-key.tier"), exchange.attribute("api-key.groups")), (None, None));

    let exchange = api_key(with(json!({ "forward": true }))).request(TestRequest::get("/").header("x-api-key", KEY));
    assert_eq!(exchange.header("x-api-key"), Some(KEY));
}

#[test]
fn who_has_no_known_key_is_refused_with_a_challenge_that_tells_nothing() {
    let host = TestHost::new();
    let mut plugin: TestPlugin<ApiKey> = host.plugin(shop()).unwrap();
    for (request, code, detail) in [
        (TestRequest::get("/"), "missing", "an API key is required"),
        (TestRequest::get("/").header("x-api-key", ""), "missing", "an API key is required"),
        (TestRequest::get("/").header("x-api-key", "wrong"), "unknown", "the API key is not known"),
        (TestRequest::get("/").header("x-api-key", sha256(KEY)), "unknown", "the API key is not known"),
        (TestRequest::get("/").header("x-api-key", b"\xff"), "unknown", "the API key is not known"),
    ] {
        let exchange = plugin.request(request.route("r"));
        let reply = exchange.reply().expect("a refusal");
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate").unwrap(), "ApiKey realm=\"gateway\"");
        assert_eq!(reply.json::<Value>().unwrap()["detail"], detail);
        assert_eq!(exchange.attribute("api-key.error"), Some(code));
        assert_eq!(exchange.attribute("api-key.id"), None);
    }
    assert_eq!(host.counter("api_key_denied", &[("route", "r"), ("reason", "unknown")]), 3);
    assert!(host.log().is_empty());
}

#[test]
fn a_key_is_found_in_a_query_or_cookie_and_taken_from_there() {
    let config = with(json!({ "from": [{ "query": "key" }, { "cookie": "key" }] }));
    let exchange = api_key(config.clone()).request(TestRequest::get("/a?x=1&k%65y=another&y=2"));
    assert_eq!((exchange.attribute("api-key.id"), exchange.target()), (Some("till"), "/a?x=1&y=2"));
    let exchange = api_key(config.clone()).request(TestRequest::get("/").header("cookie", "a=1; key=another; b=2"));
    assert_eq!((exchange.attribute("api-key.id"), exchange.header("cookie")), (Some("till"), Some("a=1; b=2")));
    assert_eq!(status(config, TestRequest::get("/").header("x-api-key", KEY)), 401);
}

#[test]
fn a_scheme_before_the_key_is_the_one_of_the_challenge() {
    let config = with(json!({ "from": [{ "header": "authorization", "scheme": "Key" }], "realm": "shop" }));
    assert_eq!(status(config.clone(), TestRequest::get("/").header("authorization", format!("key {KEY}"))), 200);
    let exchange = api_key(config).request(TestRequest::get("/").header("authorization", KEY));
    assert_eq!(exchange.reply().unwrap().header("www-authenticate").unwrap(), "Key realm=\"shop\"");
}

#[test]
fn two_keys_are_one_too_many() {
    let twice = TestRequest::get("/").header("x-api-key", KEY).header("x-api-key", KEY);
    assert_eq!(status(shop(), twice), 400);
    let config = with(json!({ "from": [{ "header": "x-api-key" }, { "query": "key" }] }));
    assert_eq!(status(config, TestRequest::get("/?key=wrong").header("x-api-key", KEY)), 400);
}

#[test]
fn where_keys_are_optional_strangers_pass_and_unknown_keys_do_not() {
    let config = with(json!({ "required": false }));
    assert_eq!(status(config.clone(), TestRequest::get("/")), 200);
    assert_eq!(status(config, TestRequest::get("/").header("x-api-key", "wrong")), 401);
}

#[test]
fn keys_come_from_a_secret_too() {
    let host = TestHost::new();
    host.set_secret("KEYS", json!([{ "id": "shop", "sha256": sha256(KEY) }]).to_string());
    let mut plugin: TestPlugin<ApiKey> = host.plugin(json!({ "keys-secret": "KEYS" })).unwrap();
    let exchange = plugin.request(TestRequest::get("/").header("x-api-key", KEY));
    assert_eq!(exchange.attribute("api-key.id"), Some("shop"));

    host.set_secret("KEYS", "[{\"id\": \"hidden\"}]");
    let found = problems(&host, json!({ "keys-secret": "KEYS" }));
    assert!(found.starts_with("/keys-secret: the secret is not a JSON list") && !found.contains("hidden"), "{found}");
    assert!(problems(&host, json!({ "keys-secret": "NONE" })).contains("/keys-secret"));
}

#[test]
fn every_problem_is_found_at_its_place_and_none_repeats_a_key() {
    let found = problems(
        &TestHost::new(),
        json!({
            "keys": [
                { "id": "", "sha256": KEY, "groups": ["a,b"], "attributes": { "tier": "x", "a b": "y", "c": "\"" } },
                { "id": "a", "sha256": sha256(KEY), "tier": "a\"b" },
                { "id": "b", "sha256": sha256(KEY) },
                { "id": "c", "sha256": sha256("") },
                { "id": "d", "sha256": "+1".repeat(32) },
            ],
            "from": [{ "header": "x", "query": "y" }],
            "realm": "a\"b",
        }),
    );
    let places: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "/keys/0/id",
            "/keys/0/groups/0",
            "/keys/0/attributes/a b",
            "/keys/0/attributes/c",
            "/keys/0/attributes/tier",
            "/keys/0/sha256",
            "/keys/1/tier",
            "/keys/2/sha256",
            "/keys/3/sha256",
            "/keys/4/sha256",
            "/from/0",
            "/realm",
        ],
        "{found}",
    );
    assert!(!found.contains(KEY), "{found}");
    assert!(problems(&TestHost::new(), json!({})).contains("needs a key"));
    let found = problems(&TestHost::new(), json!({ "keys": [{ "id": "a", "key": KEY }] }));
    assert!(found.contains("unknown field `key`") && !found.contains(KEY), "{found}");
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<ApiKey>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    assert!(validator.is_valid(&schema["examples"][0]) && validator.is_valid(&shop()));
    assert!(!validator.is_valid(&json!({ "keys": [{ "id": "a" }] })));
    assert!(!validator.is_valid(&json!({ "key": [] })));
}
