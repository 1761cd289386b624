use std::time::Duration;

use plugin_sdk::{
    Outcome, Problems,
    log::Level,
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::AccessLog;

/// The line that an exchange leaves.
fn line(config: Value, exchange: TestExchange, outcome: &Outcome) -> String {
    let host = TestHost::new();
    let mut plugin: TestPlugin<AccessLog> = host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"));
    let mut exchange = exchange;
    plugin.complete(&mut exchange, outcome);
    let mut lines = host.lines("access");
    assert_eq!(lines.len(), 1, "one exchange is one line");
    lines.remove(0)
}

fn json_line(config: Value, exchange: TestExchange, outcome: &Outcome) -> Value {
    line(config, exchange, outcome).parse().expect("the line is JSON")
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<AccessLog>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

/// A request that arrived at seven milliseconds past midnight.
fn request() -> TestRequest {
    TestRequest::get("/users/7?token=s3cret")
        .id("r-1")
        .client("192.0.2.7")
        .route("users")
        .received_at(Duration::from_millis(1_767_225_600_007))
}

fn ok() -> Outcome {
    Outcome {
        status: Some(200),
        upstream: Some("people".to_owned()),
        request_bytes: 3,
        response_bytes: 2326,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_micros(10_002)),
        plugins_duration: Duration::from_micros(40),
        ..Outcome::default()
    }
}

fn left() -> Outcome {
    Outcome { failure: Some("client-closed".to_owned()), duration: Duration::from_micros(999), ..Outcome::default() }
}

#[test]
fn a_line_says_by_default_what_most_people_want_and_no_secrets() {
    let exchange = TestExchange::new(request()).with_response(TestResponse::new(200));
    assert_eq!(
        line(json!({ "sink": "access" }), exchange, &ok()),
        concat!(
            r#"{"time":"2026-01-01T00:00:00.007Z","request_id":"r-1","client_address":"192.0.2.7","route":"users","#,
            r#""method":"GET","authority":"example.com","path":"/users/7","protocol":"HTTP/1.1","status":200,"#,
            r#""upstream":"people","request_bytes":3,"response_bytes":2326,"duration_ms":12.345,"upstream_ms":10.002}"#,
        ),
    );
}

#[test]
fn a_client_that_left_is_a_499_and_its_reason() {
    let logged = json_line(json!({ "sink": "access" }), TestExchange::new(request()), &left());
    assert_eq!((&logged["status"], &logged["failure"]), (&json!(499), &json!("client-closed")));
    assert_eq!((logged.get("upstream"), &logged["duration_ms"]), (None, &json!(0.999)));
    let logged = line(json!({ "sink": "access", "format": "common" }), TestExchange::new(request()), &left());
    assert!(logged.ends_with("\" 499 -"), "{logged}");
}

#[test]
fn an_unknown_route_has_none() {
    let outcome = Outcome { status: Some(404), failure: Some("no-route".to_owned()), ..Outcome::default() };
    let logged = json_line(json!({ "sink": "access" }), TestExchange::new(request().route("")), &outcome);
    assert_eq!((logged.get("route"), &logged["failure"]), (None, &json!("no-route")));
}

#[test]
fn fields_are_chosen_renamed_and_joined_by_static_ones() {
    let config = json!({
        "sink": "access",
        "fields": ["status", "header.User-Agent", "response.header.x-cache", "attribute.jwt.sub", "path.id", "query"],
        "rename": { "header.User-Agent": "agent", "attribute.jwt.sub": "user" },
        "static": { "service": "edge \"1\"", "zone": 3 },
    });
    let request = request().header("user-agent", "curl/8").attribute("jwt.sub", "anna").parameter("id", "7");
    let exchange = TestExchange::new(request).with_response(TestResponse::new(200).header("x-cache", "hit"));
    assert_eq!(
        line(config, exchange, &ok()),
        concat!(
            r#"{"service":"edge \"1\"","zone":3,"status":200,"agent":"curl/8","response_header_x_cache":"hit","#,
            r#""user":"anna","path_id":"7","query":"token=s3cret"}"#,
        ),
    );
}

#[test]
fn the_first_member_may_be_missing() {
    let config = json!({ "sink": "access", "fields": ["header.none", "method", "failure"] });
    assert_eq!(line(config, TestExchange::new(request()), &ok()), r#"{"method":"GET"}"#);
    let config = json!({ "sink": "access", "fields": ["header.none"] });
    assert_eq!(line(config, TestExchange::new(request()), &ok()), "{}");
}

#[test]
fn nobody_can_forge_a_line_or_a_member() {
    let request =
        request().attribute("user", "a\",\"admin\":true,\"x\":\"\r\n{\u{9b}").header("user-agent", b"\xff\" 200 1\\");
    let config = json!({ "sink": "access", "fields": ["attribute.user", "header.user-agent"] });
    let logged = line(config, TestExchange::new(request.clone()), &ok());
    assert!(logged.chars().all(|c| !c.is_control()), "{logged}");
    let logged: Value = logged.parse().expect("the line is JSON");
    assert_eq!(logged["attribute_user"], "a\",\"admin\":true,\"x\":\"\r\n{\u{9b}");
    assert_eq!(logged["header_user_agent"], "\u{fffd}\" 200 1\\");

    let config = json!({ "sink": "access", "format": "combined", "user": "attribute.user" });
    let logged = line(config, TestExchange::new(request), &ok());
    assert_eq!(
        logged,
        concat!(
            r#"192.0.2.7 - a\",\"admin\":true,\"x\":\"\x0d\x0a{\xc2\x9b [01/Jan/2026:00:00:00 +0000] "#,
            r#""GET /users/7?token=s3cret HTTP/1.1" 200 2326 "-" "\xff\" 200 1\\""#,
        ),
    );
}

#[test]
fn a_long_value_is_cut() {
    let config = json!({ "sink": "access", "fields": ["header.a"], "max-value": "3B" });
    let exchange = TestExchange::new(request().header("a", "12345"));
    assert_eq!(line(config, exchange, &ok()), r#"{"header_a":"123…"}"#);
}

#[test]
fn common_log_format_is_that_of_web_servers() {
    let config = json!({ "sink": "access", "format": "common", "user": "attribute.jwt.sub" });
    assert_eq!(
        line(config.clone(), TestExchange::new(request().attribute("jwt.sub", "anna k")), &ok()),
        r#"192.0.2.7 - anna\x20k [01/Jan/2026:00:00:00 +0000] "GET /users/7?token=s3cret HTTP/1.1" 200 2326"#,
    );
    assert!(line(config, TestExchange::new(request()), &ok()).starts_with("192.0.2.7 - - ["));
}

#[test]
fn combined_log_format_adds_referer_and_user_agent() {
    let request = request().header("referer", "http://a/").header("user-agent", "curl/8 (x)");
    let logged = line(json!({ "sink": "access", "format": "combined" }), TestExchange::new(request), &ok());
    assert!(logged.ends_with(r#" 200 2326 "http://a/" "curl/8 (x)""#), "{logged}");
}

#[test]
fn a_sink_that_is_not_granted_is_said_once_and_a_full_one_never() {
    let host = TestHost::new();
    host.deny("access");
    let mut plugin: TestPlugin<AccessLog> = host.plugin(json!({ "sink": "access" })).expect("it is right");
    for _ in 0..3 {
        plugin.complete(&mut TestExchange::new(request()), &ok());
    }
    let log = host.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].level, Level::Warn);

    let host = TestHost::new();
    host.set_sinks_full(true);
    let mut plugin: TestPlugin<AccessLog> = host.plugin(json!({ "sink": "access" })).expect("it is right");
    plugin.complete(&mut TestExchange::new(request()), &ok());
    assert!(host.log().is_empty());
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({
        "sink": "",
        "user": "attribute.x",
        "fields": ["time", "nope", "header.a b", "header.a-b", "header.a.b", "status"],
        "rename": { "status": "service", "method": "m" },
        "static": { "service": "x", "bad": [1] },
    }));
    let places: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let expected =
        ["/sink", "/user", "/static/bad", "/fields/1", "/fields/2", "/fields/4", "/fields/5", "/rename/method"];
    assert_eq!(places, expected, "{found}");

    let found = problems(json!({ "sink": "a", "format": "common", "fields": ["time"], "static": { "a": 1 } }));
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(problems(json!({ "sink": "a", "max-value": "1MiB" })).starts_with("/max-value: `1MiB`"));
    assert!(problems(json!({ "sink": "a", "format": "xml" })).starts_with("/format"));
    assert!(problems(json!({})).contains("missing field `sink`"));
}

#[test]
fn the_schema_finds_what_can_be_found_without_the_plugin() {
    let schema = jsonschema::validator_for(&config_schema::<AccessLog>()).expect("the schema is valid");
    let good = json!({
        "sink": "access",
        "format": "json",
        "fields": ["time", "request.id", "header.user-agent", "response.header.x-a", "attribute.jwt.sub", "path.id"],
        "rename": { "header.user-agent": "agent" },
        "static": { "a": "b", "c": 1, "d": true },
        "max-value": "2KiB",
    });
    assert_eq!(schema.iter_errors(&good).map(|error| error.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(schema.is_valid(&json!({ "sink": "access", "format": "common", "user": "attribute.jwt.sub" })));
    for bad in [
        json!({}),
        json!({ "sink": "" }),
        json!({ "sink": "a", "Format": "json" }),
        json!({ "sink": "a", "format": "xml" }),
        json!({ "sink": "a", "fields": ["request_id"] }),
        json!({ "sink": "a", "fields": ["requestxid"] }),
        json!({ "sink": "a", "fields": ["header.a b"] }),
        json!({ "sink": "a", "fields": [] }),
        json!({ "sink": "a", "rename": { "nope": "x" } }),
        json!({ "sink": "a", "static": { "a": [1] } }),
        json!({ "sink": "a", "max-value": "2kb" }),
    ] {
        assert!(!schema.is_valid(&bad), "{bad}");
    }
}

#[test]
fn of_what_went_well_one_in_so_many_is_written_and_of_the_rest_everything() {
    let host = TestHost::new();
    let config = json!({ "sink": "access", "fields": ["request.id"], "sample": 10 });
    let mut plugin: TestPlugin<AccessLog> = host.plugin(config.clone()).unwrap();
    let mut other: TestPlugin<AccessLog> = TestHost::new().plugin(config).unwrap();
    let mut complete = |i: usize, outcome: &Outcome| {
        let mut exchange = TestExchange::new(TestRequest::get("/").id(&format!("{i:032x}")));
        plugin.complete(&mut exchange, outcome);
        other.complete(&mut exchange, outcome);
    };
    (0..1000).for_each(|i| complete(i, &ok()));
    let drawn = host.lines("access").len();
    assert!((60..=150).contains(&drawn), "{drawn} of 1000, and not about 100");
    let bad = [
        Outcome { status: Some(404), ..ok() },
        Outcome { failure: Some("upstream-timeout".to_owned()), ..ok() },
        left(),
    ];
    for outcome in &bad {
        (0..20).for_each(|i| complete(i, outcome));
    }
    assert_eq!(host.lines("access").len(), drawn + 60);
}

#[test]
fn secrets_in_queries_and_credentials_are_not_written() {
    let request = || {
        TestRequest::get("/a?x=1&access_token=s3cret&password=s3cret")
            .header("authorization", "Bearer s3cret")
            .header("cookie", "a=s3cret")
            .header("referer", "https://a/?api_key=s3cret")
    };
    let fields = ["original-target", "query", "header.authorization", "header.cookie", "header.referer"];
    for config in [
        json!({ "sink": "access", "fields": fields }),
        json!({ "sink": "access", "format": "combined", "user": "header.authorization" }),
    ] {
        let line = line(config, TestExchange::new(request()), &ok());
        assert!(!line.contains("s3cret") && line.contains("x=1&access_token=***&password=***"), "{line}");
    }
    let line =
        line(json!({ "sink": "access", "fields": ["query"], "redact-query": [] }), TestExchange::new(request()), &ok());
    assert!(line.contains("access_token=s3cret"), "{line}");
}
