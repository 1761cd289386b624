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
    let exchange = plugin(json!({ "request": edits })).request_with_body(request);
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

fn refused(edits: Value, request: TestRequest) -> u16 {
    plugin(json!({ "request": edits })).request_with_body(request).reply().expect("it is refused").status
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let edits = || json!({ "remove": ["/a"] });
    for (request, status) in [
        (TestRequest::post("/").header("content-type", "text/plain").body("{}"), 415),
        (TestRequest::post("/").header("content-type", "text/plain").header("content-length", "2").body("{}"), 415),
        (post("{}").header("content-encoding", "gzip"), 415),
        (post("{}").header("content-type", "text/plain"), 415),
        (TestRequest::post("/").header("content-type", "application/json; charset=utf-16").body("{}"), 415),
        (TestRequest::post("/").body("a=b"), 415),
        (post("{}").header("content-range", "bytes 0-1/9"), 400),
        (post("{"), 400),
        (post("{} {}"), 400),
        (post(&b"\xff\xfe{\0}\0"[..]), 400),
        (post("[".repeat(10_000)), 400),
        (post(format!("[{}0]", "[1],".repeat(250_000))), 413),
    ] {
        assert_eq!(refused(edits(), request), status);
    }
    assert_eq!(refused(json!({ "set": { "/a": 1 } }), post("[1]")), 422);
    assert_eq!(refused(json!({ "set": { "/a": 1 } }), post("\"text\"")), 422);
}

#[test]
fn json_is_edited_by_whatever_name_it_comes() {
    let edits = || json!({ "remove": ["/a"] });
    for kind in ["application/problem+json", "text/json", "Application/Json;charset=\"utf-8\"", ""] {
        let request = TestRequest::post("/").header("content-type", kind).body(r#"{"a":1,"b":2}"#);
        assert_eq!(sent(edits(), request), r#"{"b":2}"#, "{kind}");
    }
    assert_eq!(sent(edits(), TestRequest::post("/").body(r#"{"a":1}"#)), "{}", "its reader may take it for JSON");
    assert_eq!(sent(edits(), post("\u{feff}{\"a\":1}")), "{}");
    assert_eq!(sent(edits(), post(r#"{"a":1,"\u0061":2,"b":3}"#)), r#"{"b":3}"#);
    assert_eq!(sent(edits(), post("")), "");
    assert_eq!(sent(edits(), TestRequest::post("/").header("content-type", "text/plain")), "");
}

#[test]
fn what_is_not_json_passes_where_it_may() {
    let edits = || json!({ "remove": ["/a"], "other-content": "pass" });
    let text = || TestRequest::post("/").header("content-type", "text/plain").body("a");
    assert_eq!(sent(edits(), text()), "a");
    assert_eq!(refused(edits(), text().header("content-encoding", "gzip")), 415);
    assert_eq!(refused(edits(), TestRequest::post("/").body("a")), 415);
}

fn answered(edits: Value, response: TestResponse) -> TestExchange {
    let mut exchange = TestExchange::new(TestRequest::get("/"));
    plugin(json!({ "response": edits })).response_with_body(&mut exchange, response);
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

    let html = || TestResponse::new(200).header("content-type", "text/html").header("etag", "\"1\"").body("<p>");
    let exchange = answered(json!({ "remove": ["/internal"], "other-content": "pass" }), html());
    assert_eq!((exchange.response_body(), exchange.response_header("etag")), (&b"<p>"[..], Some("\"1\"")));
    assert_eq!(answered(json!({ "remove": ["/internal"] }), html()).status(), Some(502));
}

#[test]
fn the_upstream_is_asked_for_whole_bodies_that_can_be_read() {
    let request = TestRequest::get("/").header("accept-encoding", "gzip, br").header("range", "bytes=0-9");
    let exchange = plugin(json!({ "response": { "remove": ["/a"] } })).request_with_body(request);
    assert_eq!((exchange.header("accept-encoding"), exchange.header("range")), (Some("identity"), None));
}

#[test]
fn a_response_that_cannot_be_edited_is_withheld_and_the_plugin_does_not_fail() {
    let json = |status| TestResponse::new(status).header("content-type", "application/json");
    for response in [
        json(200).body("secret"),
        json(200).header("content-encoding", "gzip").body("secret"),
        json(206).header("content-range", "bytes 0-5/9").body("secret"),
        TestResponse::new(206).header("content-type", "multipart/byteranges; boundary=a").body("secret"),
        json(200).body("secret".repeat(1_000_000)),
        json(200).body(format!("[{}\"secret\"]", "[1],".repeat(250_000))),
    ] {
        let response = response.header("content-disposition", "attachment; filename=secret");
        let exchange = answered(json!({ "remove": ["/a"], "other-content": "pass" }), response);
        assert_eq!(exchange.status(), Some(502));
        assert_eq!(exchange.response_header("content-type"), Some("application/problem+json"));
        assert!(!String::from_utf8_lossy(exchange.response_body()).contains("secret"));
        for name in ["content-encoding", "content-range", "content-disposition"] {
            assert_eq!(exchange.response_header(name), None, "{name}");
        }
    }
}

#[test]
fn a_response_without_a_body_stays_without_one() {
    let response = TestResponse::new(304).header("content-type", "text/html").header("etag", "\"1\"");
    let exchange = answered(json!({ "remove": ["/a"] }), response);
    assert_eq!((exchange.status(), exchange.response_body()), (Some(304), &b""[..]));
}

#[test]
fn what_makes_no_sense_is_told() {
    assert_eq!(
        problems(json!({})),
        "has no edits: give `request` or `response` at least one of `remove`, `rename`, `move` and `set`"
    );
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
