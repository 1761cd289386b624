use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::Transform;

fn transform(config: Value) -> TestPlugin<Transform> {
    TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<Transform>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

/// The target that a request has after these edits.
fn target(edits: Value, request: TestRequest) -> String {
    transform(json!({ "request": edits })).request(request).target().to_owned()
}

#[test]
fn a_header_is_set_from_a_path_parameter_whatever_the_client_sent() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "X-User-Id": "u-{path.id}" } } }));
    let exchange = plugin.request(TestRequest::get("/users/7").parameter("id", "7").header("x-user-id", "admin"));
    assert_eq!(exchange.header_values("x-user-id"), [b"u-7"]);
}

#[test]
fn every_source_has_its_value() {
    let template = "{path.id} {attribute.jwt.sub} {header.a} {query.q} {client.address} {request.id} {method} \
                    {scheme} {authority} {path} {query} {original-target} {protocol} {route}";
    let mut plugin = transform(json!({ "request": { "set-headers": { "x": template } } }));
    let request = TestRequest::get("/p?q=%201")
        .parameter("id", "7")
        .attribute("jwt.sub", "anna")
        .header("a", "b")
        .id("r1")
        .client("2001:db8::1")
        .route("r")
        .https();
    assert_eq!(
        plugin.request(request).header("x"),
        Some("7 anna b  1 2001:db8::1 r1 GET https example.com /p q=%201 /p?q=%201 HTTP/1.1 r"),
    );
}

#[test]
fn a_set_header_whose_value_is_missing_is_removed() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "x-user": "{attribute.jwt.sub}" } } }));
    assert_eq!(plugin.request(TestRequest::get("/").header("x-user", "admin")).header("x-user"), None);
}

#[test]
fn a_default_stands_in_for_a_missing_value() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "x-user": "{attribute.jwt.sub|nobody}" } } }));
    assert_eq!(plugin.request(TestRequest::get("/")).header("x-user"), Some("nobody"));
}

#[test]
fn an_appended_header_joins_the_others_unless_its_value_is_missing() {
    let edits = json!({ "request": { "append-headers": { "a": "{header.b}" } } });
    let mut plugin = transform(edits);
    let exchange = plugin.request(TestRequest::get("/").header("a", "1").header("b", "2"));
    assert_eq!(exchange.header_values("a"), [b"1", b"2"]);
    assert_eq!(plugin.request(TestRequest::get("/").header("a", "1")).header_values("a"), [b"1"]);
}

#[test]
fn values_are_those_before_the_first_edit() {
    let edits = json!({ "request": {
        "remove-headers": ["a"],
        "rename-headers": { "b": "c" },
        "set-headers": { "x": "{header.a}", "y": "{header.b}", "z": "{path}" },
        "path": { "rewrite": "/new" },
    } });
    let exchange = transform(edits).request(TestRequest::get("/old").header("a", "1").header("b", "2"));
    assert_eq!((exchange.header("a"), exchange.header("b"), exchange.header("c")), (None, None, Some("2")));
    assert_eq!(
        (exchange.header("x"), exchange.header("y"), exchange.header("z")),
        (Some("1"), Some("2"), Some("/old"))
    );
}

#[test]
fn all_values_of_a_renamed_header_replace_those_of_the_new_name() {
    let mut plugin = transform(json!({ "request": { "rename-headers": { "X-Old": "X-New" } } }));
    let exchange = plugin.request(TestRequest::get("/").header("x-old", "1").header("x-old", "2").header("x-new", "3"));
    assert_eq!(exchange.header_values("x-new"), [b"1", b"2"]);
    assert_eq!(exchange.header("x-old"), None);
    let exchange = plugin.request(TestRequest::get("/").header("x-new", "3"));
    assert_eq!(exchange.header_values("x-new"), [b"3"]);
}

#[test]
fn a_value_cannot_end_its_header() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "x": "{path.id}|{query.q}" } } }));
    let request = TestRequest::get("/?q=a%0D%0Ab%00").parameter("id", "c\r\nevil: 1");
    assert_eq!(plugin.request(request).header("x"), Some("c%0D%0Aevil: 1|a%0D%0Ab%00"));
}

#[test]
fn octets_that_are_not_text_pass_from_header_to_header() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "x": "{header.a}" } } }));
    let exchange = plugin.request(TestRequest::get("/").header("a", b"\xff\x80"));
    assert_eq!(exchange.header_values("x"), [b"\xff\x80"]);
}

#[test]
fn doubled_braces_are_braces() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "x": "{{{method}}}" } } }));
    assert_eq!(plugin.request(TestRequest::get("/")).header("x"), Some("{GET}"));
}

#[test]
fn the_host_can_be_set() {
    let mut plugin = transform(json!({ "request": { "set-headers": { "host": "internal.example" } } }));
    assert_eq!(plugin.request(TestRequest::get("/")).authority(), "internal.example");
}

#[test]
fn response_headers_know_both_sides() {
    let edits = json!({ "response": {
        "remove-headers": ["server"],
        "rename-headers": { "x-runtime": "x-took" },
        "set-headers": { "x-seen": "{response.status} {header.a} {response.header.server}" },
        "append-headers": { "vary": "a" },
    } });
    let mut exchange = TestExchange::new(TestRequest::get("/").header("a", "1"));
    let response = TestResponse::new(201).header("server", "s").header("x-runtime", "3").header("vary", "b");
    transform(edits).response(&mut exchange, response);
    assert_eq!(exchange.response_header("x-seen"), Some("201 1 s"));
    assert_eq!((exchange.response_header("server"), exchange.response_header("x-took")), (None, Some("3")));
    assert_eq!(exchange.response_header_values("vary"), [b"b", b"a"]);
}

#[test]
fn a_path_is_rewritten_with_encoded_values_and_keeps_its_query() {
    let edits = json!({ "path": { "rewrite": "/v2/people/{path.id}/{header.a}" } });
    let request = TestRequest::get("/users/7?q=1").parameter("id", "a/../b?c").header("a", "ü %2f");
    assert_eq!(target(edits, request), "/v2/people/a%2F..%2Fb%3Fc/%C3%BC%20%252f?q=1");
}

#[test]
fn what_a_wildcard_captured_keeps_its_slashes_if_it_is_said_so() {
    let edits = json!({ "path": { "rewrite": "/files/{path.*rest}" } });
    let request = TestRequest::get("/f/a/b").parameter("*rest", "a/b%20c%2Fd");
    assert_eq!(target(edits, request), "/files/a/b%20c%2Fd");
}

#[test]
fn a_path_that_would_climb_or_lacks_a_value_is_the_clients_fault() {
    let mut plugin = transform(json!({ "request": { "path": { "rewrite": "/files/{header.a}/x" } } }));
    assert_eq!(plugin.request(TestRequest::get("/").header("a", "..")).reply().unwrap().status, 400);
    assert_eq!(plugin.request(TestRequest::get("/")).reply().unwrap().status, 400);
    let mut plugin = transform(json!({ "request": { "set-headers": { "host": "{header.a}" } } }));
    assert_eq!(plugin.request(TestRequest::get("/").header("a", "user@b")).reply().unwrap().status, 400);
}

#[test]
fn prefixes_match_whole_segments() {
    let strip = json!({ "path": { "strip-prefix": "/api" } });
    assert_eq!(target(strip.clone(), TestRequest::get("/api/users?q")), "/users?q");
    assert_eq!(target(strip.clone(), TestRequest::get("/api")), "/");
    assert_eq!(target(strip.clone(), TestRequest::get("/api/")), "/");
    assert_eq!(target(strip, TestRequest::get("/apis")), "/apis");
    let both = json!({ "path": { "strip-prefix": "/api", "add-prefix": "/v2/x" } });
    assert_eq!(target(both.clone(), TestRequest::get("/api/users")), "/v2/x/users");
    assert_eq!(target(both.clone(), TestRequest::get("/api")), "/v2/x");
    assert_eq!(target(both, TestRequest::get("/")), "/v2/x/");
}

#[test]
fn query_parameters_are_removed_renamed_and_set() {
    let edits = json!({ "query": {
        "remove": ["debug mode"],
        "rename": { "q": "search" },
        "set": { "user id": "{attribute.jwt.sub}", "gone": "{header.none}" },
    } });
    let request = TestRequest::get("/?a=%2B&debug+mode=1&q=x&q&user%20id=admin&gone=1").attribute("jwt.sub", "a&b=c");
    assert_eq!(target(edits, request), "/?a=%2B&search=x&search&user%20id=a%26b%3Dc");
}

#[test]
fn a_query_without_parameters_left_takes_its_question_mark_with_it() {
    assert_eq!(target(json!({ "query": { "remove": ["a"] } }), TestRequest::get("/?a=1")), "/");
}

#[test]
fn a_query_that_the_edits_do_not_concern_stays_octet_by_octet() {
    assert_eq!(target(json!({ "query": { "remove": ["a"] } }), TestRequest::get("/?%62=%7e&c")), "/?%62=%7e&c");
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({ "request": {
        "set-headers": { "a b": "x", "x": "{nope}", "y": "{path.id", "z": "a}", "s": "{response.status}" },
        "remove-headers": ["Connection", "host"],
        "rename-headers": { "x": "content-length" },
        "append-headers": { "host": "x" },
        "path": { "rewrite": "users?x", "add-prefix": "/a" },
        "query": { "set": { "a/b": "{header.}" } },
    } }));
    let places: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "/request/remove-headers/0",
            "/request/remove-headers/1",
            "/request/rename-headers/x",
            "/request/set-headers/a b",
            "/request/set-headers/s",
            "/request/set-headers/x",
            "/request/set-headers/y",
            "/request/set-headers/z",
            "/request/append-headers/host",
            "/request/path",
            "/request/path/rewrite",
            "/request/path/rewrite",
            "/request/query/set/a~1b",
        ],
        "{found}",
    );
}

#[test]
fn prefixes_are_whole_segments() {
    for prefix in ["api", "/", "/api/", "/a//b", "/../a", "/a?b"] {
        assert!(
            problems(json!({ "request": { "path": { "strip-prefix": prefix } } })).contains("segments"),
            "{prefix}"
        );
    }
}

#[test]
fn an_unknown_option_and_an_empty_configuration_are_problems() {
    assert!(problems(json!({ "request": { "set-header": {} } })).contains("unknown field `set-header`"));
    assert!(problems(json!({})).contains("nothing to do"));
}

#[test]
fn the_schema_finds_what_can_be_found_without_the_plugin() {
    let schema = jsonschema::validator_for(&config_schema::<Transform>()).expect("the schema is valid");
    let good = json!({
        "request": {
            "set-headers": { "x-user": "{{{attribute.jwt.sub|nobody}}}\t", "y": "" },
            "remove-headers": ["a"],
            "path": { "rewrite": "/a/{path.*rest}" },
            "query": { "set": { "a b": "{method}" } },
        },
        "response": { "rename-headers": { "a": "b" }, "append-headers": { "a": "b" } },
    });
    assert!(schema.is_valid(&good));
    assert!(schema.is_valid(&json!({ "request": { "path": { "strip-prefix": "/a/b", "add-prefix": "/c" } } })));
    for bad in [
        json!({ "requests": {} }),
        json!({ "request": { "set-headers": { "a b": "" } } }),
        json!({ "request": { "set-headers": { "a": "{" } } }),
        json!({ "request": { "set-headers": { "a": "{}" } } }),
        json!({ "request": { "set-headers": { "a": "x}" } } }),
        json!({ "request": { "set-headers": { "a": "x\r\ny" } } }),
        json!({ "request": { "set-headers": { "a": 1 } } }),
        json!({ "request": { "path": { "rewrite": "users" } } }),
        json!({ "request": { "path": { "rewrite": "/a?b" } } }),
        json!({ "request": { "path": { "strip-prefix": "/a/" } } }),
        json!({ "response": { "remove-headers": ["a:"] } }),
        json!({ "response": { "path": {} } }),
    ] {
        assert!(!schema.is_valid(&bad), "{bad}");
    }
}

#[test]
fn what_a_pattern_matches_in_the_path_gets_another_text() {
    let replace = |pattern: &str, with: &str, at: &str| {
        target(json!({ "path": { "replace": { "pattern": pattern, "with": with } } }), TestRequest::get(at))
    };
    assert_eq!(replace("^/users/([0-9]+)/orders", "/orders/by/$1", "/users/7/orders?x=1"), "/orders/by/7?x=1");
    assert_eq!(replace("/(?<lang>de|en)/", "/${lang}-v2/", "/a/en/b/de/c"), "/a/en-v2/b/de/c");
    assert_eq!(replace("^/users/([0-9]+)$", "/u/$1", "/users/x"), "/users/x");
    assert_eq!(replace("%20", "-", "/a%20b"), "/a-b");
}

/// What a client writes into the path must not lead out of it.
#[test]
fn a_replacement_that_makes_another_kind_of_target_is_refused() {
    let mut plugin =
        transform(json!({ "request": { "path": { "replace": { "pattern": "^/a/(.*)$", "with": "/$1/.." } } } }));
    assert_eq!(plugin.request(TestRequest::get("/a/b")).reply().unwrap().status, 400);
    let mut plugin = transform(json!({ "request": { "path": { "replace": { "pattern": "^/a/", "with": "" } } } }));
    assert_eq!(plugin.request(TestRequest::get("/a/b")).reply().unwrap().status, 400);
}

#[test]
fn a_replacement_is_checked() {
    let replace = |more: Value| problems(json!({ "request": { "path": more } }));
    assert!(
        replace(json!({ "replace": { "pattern": "(", "with": "" } }))
            .starts_with("/request/path/replace/pattern: is not")
    );
    assert!(
        replace(json!({ "replace": { "pattern": "a", "with": "/x?y" } })).starts_with("/request/path/replace/with: ")
    );
    let both = json!({ "replace": { "pattern": "a", "with": "b" }, "add-prefix": "/x" });
    assert_eq!(replace(both), "/request/path: `replace` excludes `rewrite`, `strip-prefix` and `add-prefix`");
}
