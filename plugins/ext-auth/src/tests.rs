use std::time::Duration;

use plugin_sdk::{
    Reply,
    http_client::{Call, CallError},
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::ExtAuth;

/// Lets in who is called anna.
fn service(call: &Call) -> Result<Reply, CallError> {
    let header = |name: &str| call.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    Ok(match header("authorization").as_deref() {
        Some(b"anna") => {
            Reply::new(204).with_header("X-User", "anna").with_header("x-plan", "gold").with_header("x-secret", "s")
        }
        Some(b"nobody") => Reply::new(200),
        Some(b"groups") => Reply::new(200)
            .with_header("x-user", "anna")
            .with_header("x-user", b"caf\xe9")
            .with_header("x-plan", "gold")
            .with_header("x-plan", "beta")
            .with_header("set-cookie", "session=2")
            .with_header("set-cookie", "theme=dark"),
        Some(b"zipped") => Reply::new(403)
            .with_header("content-encoding", "gzip")
            .with_header("set-cookie", "a=1")
            .with_header("set-cookie", "b=2")
            .with_body("text/html", b"\x1f\x8b".to_vec()),
        Some(b"broken") => Reply::new(502).with_text("stack trace"),
        _ => Reply::new(401)
            .with_header("www-authenticate", "Bearer")
            .with_header("x-internal", "1")
            .with_text("who are you?"),
    })
}

fn plugin(more: Value) -> (TestHost, TestPlugin<ExtAuth>) {
    let host = TestHost::new();
    let mut config = json!({
        "upstream": "authorizer", "path": "/check", "set-headers": ["x-user"], "set-attributes": { "ext-auth.plan": "x-plan" },
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let plugin = host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"));
    host.answer_calls(service);
    (host, plugin)
}

fn from(user: &str) -> TestRequest {
    TestRequest::post("/orders?x=1").header("authorization", user).header("x-user", "root").client("192.0.2.7")
}

fn asked(host: &TestHost) -> usize {
    host.calls().iter().filter(|call| call.path_with_query == "/check").count()
}

fn outcome(exchange: &TestExchange) -> Option<&str> {
    exchange.attribute("ext-auth.outcome")
}

#[test]
fn a_consent_passes_on_what_it_says_and_nothing_else() {
    let (host, mut plugin) = plugin(json!({}));
    let exchange = plugin.request(from("anna"));
    assert!(exchange.reply().is_none());
    assert_eq!(exchange.header_values("x-user"), [b"anna"]);
    assert_eq!(exchange.attribute("ext-auth.plan"), Some("gold"));
    assert_eq!(exchange.header("x-secret"), None);

    let call = host.calls().pop().unwrap();
    assert_eq!((&*call.method, &*call.upstream, call.timeout), ("GET", "authorizer", Duration::from_secs(1)));
    let told = |name: &str| call.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &value[..]);
    assert_eq!(told("x-forwarded-method"), Some(&b"POST"[..]));
    assert_eq!(told("x-forwarded-uri"), Some(&b"/orders?x=1"[..]));
    assert_eq!(told("x-forwarded-for"), Some(&b"192.0.2.7"[..]));
    assert_eq!(told("x-user"), None, "what is not listed is not told");

    assert_eq!(plugin.request(from("nobody")).header("x-user"), None, "what the client says about itself is gone");
}

#[test]
fn a_refusal_is_told_as_the_service_said_it() {
    let (_, mut plugin) = plugin(json!({}));
    let exchange = plugin.request(from("ben"));
    assert_eq!(outcome(&exchange), Some("denied"));
    let reply = exchange.reply().unwrap();
    assert_eq!((reply.status, reply.header("www-authenticate").as_deref()), (401, Some("Bearer")));
    assert_eq!((&reply.body[..], reply.header("x-internal")), (&b"who are you?"[..], None));
}

#[test]
fn all_values_of_a_consent_are_passed_on_and_cookies_go_to_the_client_that_was_asked_about() {
    let (_, mut plugin) = plugin(json!({ "cache-ttl": "30s" }));
    let response = || TestResponse::new(200).header("set-cookie", "own=1");
    let exchange = plugin.request(from("groups")).with_response(response());
    assert_eq!(exchange.header_values("x-user"), [&b"anna"[..], b"caf\xe9"]);
    assert_eq!(exchange.attribute("ext-auth.plan"), Some("gold, beta"));
    let cookies: [&[u8]; 3] = [b"own=1", b"session=2", b"theme=dark"];
    assert_eq!(exchange.response_header_values("set-cookie"), cookies);
    let again = plugin.request(from("groups")).with_response(response());
    assert_eq!(again.header_values("x-user"), [&b"anna"[..], b"caf\xe9"]);
    assert_eq!(again.response_header_values("set-cookie"), [b"own=1"]);
}

#[test]
fn a_refusal_says_how_its_body_is_encoded() {
    let (_, mut plugin) = plugin(json!({}));
    let exchange = plugin.request(from("zipped"));
    let reply = exchange.reply().unwrap();
    assert_eq!((reply.header("content-encoding").as_deref(), &reply.body[..]), (Some("gzip"), &b"\x1f\x8b"[..]));
    assert_eq!(reply.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
}

#[test]
fn a_question_that_is_too_large_is_the_clients_fault() {
    let (host, mut allow) = plugin(json!({ "on-failure": "allow" }));
    host.answer_calls(|_| Err(CallError::Invalid("more than 100 headers".into())));
    assert_eq!(allow.request(from("anna")).reply().unwrap().status, 431);
}

#[test]
fn without_an_answer_it_is_as_configured_and_said_once() {
    let (host, mut deny) = plugin(json!({}));
    for _ in 0..3 {
        let exchange = deny.request(from("broken"));
        let reply = exchange.reply().unwrap();
        assert_eq!((reply.status, outcome(&exchange)), (503, Some("error")));
        assert!(!reply.clone().into_text().contains("stack trace"));
    }
    assert_eq!(host.log().len(), 1);
    assert_eq!(host.counter("ext_auth_requests", &[("route", "test"), ("result", "error")]), 3);

    let (host, mut allow) = plugin(json!({ "on-failure": "allow" }));
    host.answer_calls(|_| Err(CallError::Timeout));
    let exchange = allow.request(from("anna"));
    assert!(exchange.reply().is_none());
    assert_eq!((exchange.header("x-user"), outcome(&exchange)), (None, Some("error")));
    host.answer_calls(service);
    assert_eq!(allow.request(from("ben")).reply().unwrap().status, 401, "a refusal is an answer");
}

#[test]
fn a_consent_holds_for_the_same_question_and_a_refusal_does_not() {
    let (host, mut plugin) = plugin(json!({ "cache-ttl": "30s" }));
    for _ in 0..3 {
        let exchange = plugin.request(from("anna"));
        assert_eq!((exchange.header("x-user"), exchange.attribute("ext-auth.plan")), (Some("anna"), Some("gold")));
    }
    assert_eq!(asked(&host), 1);
    assert!(plugin.request(from("anna").client("192.0.2.8")).reply().is_none());
    assert!(plugin.request(TestRequest::get("/orders?x=1").header("authorization", "anna")).reply().is_none());
    assert_eq!(asked(&host), 3, "another client, another method");
    for _ in 0..2 {
        assert_eq!(plugin.request(from("ben")).reply().unwrap().status, 401);
    }
    assert_eq!(asked(&host), 5);
    host.advance(Duration::from_secs(31));
    plugin.request(from("anna"));
    assert_eq!(asked(&host), 6);
    host.set_store_available(false);
    assert!(plugin.request(from("anna")).reply().is_none());
    assert_eq!(asked(&host), 7);
}

#[test]
fn what_makes_no_sense_is_told() {
    let host = TestHost::new();
    host.deny("nobody");
    let problems = |more: Value| {
        let mut config = json!({ "upstream": "a" });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        host.plugin::<ExtAuth>(config).err().map_or_else(String::new, |problems| problems.to_string())
    };
    assert_eq!(problems(json!({})), "");
    assert_eq!(
        problems(json!({ "upstream": "nobody" })),
        "/upstream: needs an upstream `nobody`, and `grants: { upstreams: [nobody] }` for the plugin"
    );
    assert!(problems(json!({ "cache-ttl": "1m", "bucket": "nobody" })).contains("grants: { store: [nobody] }"));
    assert_eq!(problems(json!({ "set-headers": ["host"] })), "/set-headers/0: is a header that belongs to the gateway");
    assert_eq!(problems(json!({ "path": "check" })), "/path: must begin with a slash and be plain ASCII");
    assert_eq!(problems(json!({ "timeout": "0s" })), "/timeout: must be from 1ms to 60s");
    assert_eq!(problems(json!({ "cache-ttl": "2h" })), "/cache-ttl: must be at most 1h");
}

#[test]
fn the_schema_describes_every_option_and_the_readme_too() {
    let schema = config_schema::<ExtAuth>();
    for (name, option) in schema["properties"].as_object().unwrap() {
        assert!(option["description"].is_string(), "{name}");
        assert!(include_str!("../README.md").contains(&format!("| `{name}` |")), "{name}");
    }
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&schema["examples"][0]));
}
