use plugin_sdk::testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema};
use serde_json::{Value, json};

use super::JsonBody;

fn plugin(config: Value) -> TestPlugin<JsonBody> {
    TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(config: Value) -> String {
    TestHost::new().plugin::<JsonBody>(config).err().map_or_else(String::new, |problems| problems.to_string())
}

fn post(body: impl Into<Vec<u8>>) -> TestRequest {
    TestRequest::post("/").header("content-type", "application/json; charset=utf-8").body(body)
}

/// The body that the upstream gets.
fn sent(edits: Value, request: TestRequest) -> String {
    let exchange = plugin(json!({ "request": edits })).request(request);
    assert_eq!(exchange.reply(), None);
    String::from_utf8(exchange.body().to_vec()).unwrap()
}

#[test]
fn values_are_removed_renamed_moved_and_set_in_this_order() {
    let edits = json!({
        "remove": ["/debug", "/absent/too"],
        "rename": { "/user/mail": "email" },
        "move": { "/id": "/meta/id", "/absent": "/elsewhere" },
        "set": { "/tags/-": "new", "/meta/by": "gateway", "/debug": false },
    });
    let body = json!({ "id": 7, "debug": true, "user": { "mail": "a@b", "age": 1 }, "tags": ["old"] });
    assert_eq!(
        sent(edits, post(body.to_string())),
        r#"{"user":{"age":1,"email":"a@b"},"tags":["old","new"],"meta":{"id":7,"by":"gateway"},"debug":false}"#,
    );
}

#[test]
fn values_come_from_what_is_known_of_the_request_and_stay_texts() {
    let edits = json!({ "set": {
        "/tenant": "{attribute.jwt.tenant}",
        "/trace": { "id": "{request.id}", "from": ["{client.address}"] },
        "/note": "{header.x-note} on {path.id}",
        "/missing": "x {attribute.nobody}",
    } });
    let request = post(r#"{"tenant":"forged"}"#)
        .attribute("jwt.tenant", "blue")
        .header("x-note", "\",\"admin\":true,\"")
        .parameter("id", "7");
    let body: Value = sent(edits, request).parse().unwrap();
    assert_eq!(
        body,
        json!({
            "tenant": "blue",
            "trace": { "id": "test-request", "from": ["192.0.2.1"] },
            "note": "\",\"admin\":true,\" on 7",
        })
    );
}

#[test]
fn large_numbers_and_the_order_of_members_stay() {
    let body = r#"{"z":18446744073709551615,"a":-1,"m":1.5,"x":0}"#;
    assert_eq!(sent(json!({ "remove": ["/x"] }), post(body)), r#"{"z":18446744073709551615,"a":-1,"m":1.5}"#);
}

#[test]
fn what_is_no_json_passes_and_what_says_it_is_and_is_not_is_refused() {
    let edits = || json!({ "set": { "/a": 1 } });
    for request in [
        TestRequest::post("/").body("{}"),
        TestRequest::post("/").header("content-type", "text/plain").body("{}"),
        post("{}").header("content-encoding", "gzip"),
    ] {
        assert_eq!(sent(edits(), request), "{}");
    }
    assert_eq!(sent(edits(), post("")), "");
    let problem = TestRequest::post("/").header("content-type", "application/problem+json").body("{}");
    assert_eq!(sent(edits(), problem), r#"{"a":1}"#);
    let status = |body: &str| plugin(json!({ "request": edits() })).request(post(body)).reply().unwrap().status;
    assert_eq!(status("{"), 400);
    assert_eq!(status(&"[".repeat(10_000)), 400);
    assert_eq!(status("[1]"), 422);
    assert_eq!(status("\"text\""), 422);
}

fn answered(edits: Value, response: TestResponse) -> TestExchange {
    let mut exchange = TestExchange::new(TestRequest::get("/"));
    plugin(json!({ "response": edits })).response(&mut exchange, response);
    exchange
}

#[test]
fn responses_are_edited_too_and_lose_what_named_the_old_body() {
    let response = TestResponse::new(200)
        .header("content-type", "application/json")
        .header("etag", "\"1\"")
        .body(r#"{"internal":1,"name":"a"}"#);
    let exchange = answered(json!({ "remove": ["/internal"] }), response);
    assert_eq!(exchange.response_body(), br#"{"name":"a"}"#);
    assert_eq!(exchange.response_header("etag"), None);

    let html = TestResponse::new(200).header("content-type", "text/html").header("etag", "\"1\"").body("<p>");
    let exchange = answered(json!({ "remove": ["/internal"] }), html);
    assert_eq!((exchange.response_body(), exchange.response_header("etag")), (&b"<p>"[..], Some("\"1\"")));
}

#[test]
fn a_response_that_is_not_what_it_says_is_the_plugin_s_failure() {
    let response = || TestResponse::new(200).header("content-type", "application/json").body("secret");
    let mut exchange = TestExchange::new(TestRequest::get("/"));
    let error =
        plugin(json!({ "response": { "remove": ["/a"] } })).try_response(&mut exchange, response()).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn what_makes_no_sense_is_told() {
    assert_eq!(problems(json!({})), "says nothing to do: give `request` or `response` some edits");
    assert!(problems(json!({ "request": { "remove": ["a"] } })).starts_with("/request/remove/0: is no place"));
    assert_eq!(
        problems(json!({ "response": { "move": { "/a": "/a/b" } } })),
        "/response/move/~1a: cannot move into itself"
    );
    let unknown = problems(json!({ "request": { "set": { "/a": ["{user}"] } } }));
    assert!(unknown.starts_with("/request/set: value 0: unknown placeholder `{user}`"), "{unknown}");
}

#[test]
fn the_schema_describes_every_option_and_the_readme_too() {
    let schema = config_schema::<JsonBody>();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&schema["examples"][0]));
    for (name, option) in schema["$defs"]["EditsConfig"]["properties"].as_object().unwrap() {
        assert!(option["description"].is_string(), "{name}");
        assert!(include_str!("../README.md").contains(&format!("| `{name}` |")), "{name}");
    }
}
