use std::time::Duration;

use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, config_schema},
};

use super::Concurrency;

fn plugin(host: &TestHost, config: Value) -> TestPlugin<Concurrency> {
    host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn passes(exchange: &TestExchange) -> bool {
    exchange.reply().is_none()
}

#[test]
fn so_many_may_be_under_way_and_the_next_has_to_come_again() {
    let host = TestHost::new();
    let (mut one, mut other) = (plugin(&host, json!({ "limit": 2 })), plugin(&host, json!({ "limit": 2 })));
    let mut first = one.request(TestRequest::get("/"));
    let second = other.request(TestRequest::get("/"));
    assert!(passes(&first) && passes(&second));
    let third = one.request(TestRequest::get("/"));
    let reply = third.reply().expect("denied").clone();
    assert_eq!((reply.status, reply.header("retry-after").as_deref()), (429, Some("1")));
    assert_eq!(third.attribute("concurrency.outcome"), Some("denied"));
    assert!(passes(&one.request(TestRequest::get("/").client("192.0.2.2"))), "another client");
    assert!(passes(&one.request(TestRequest::get("/").route("other"))), "another route");

    // A request that was refused holds nothing.
    let mut third = third;
    one.end(&mut third);
    assert!(!passes(&one.request(TestRequest::get("/"))));
    // The gateway releases the lease, whichever instance acquired it.
    other.end(&mut first);
    assert!(passes(&one.request(TestRequest::get("/"))));
    assert!(!passes(&one.request(TestRequest::get("/"))));
    assert_eq!(host.counter("concurrency_denied", &[("route", "test")]), 3);
}

#[test]
fn clients_are_told_apart_by_what_is_configured() {
    let host = TestHost::new();
    let get = || TestRequest::get("/");
    let mut by_user = plugin(&host, json!({ "limit": 1, "key": { "attribute": "jwt.sub" }, "missing": "skip" }));
    assert!(passes(&by_user.request(get().attribute("jwt.sub", "anna"))));
    assert!(passes(&by_user.request(get().attribute("jwt.sub", "ben"))));
    assert!(!passes(&by_user.request(get().attribute("jwt.sub", "anna").client("192.0.2.9"))));
    assert!(passes(&by_user.request(get())) && passes(&by_user.request(get())), "who is nobody is not counted");

    let mut by_header = plugin(&host, json!({ "limit": 1, "key": { "header": "x-tenant" } }));
    assert!(passes(&by_header.request(get().header("x-tenant", "blue"))));
    assert!(!passes(&by_header.request(get().header("x-tenant", "blue").client("192.0.2.9"))));
    assert!(passes(&by_header.request(get())));
    assert!(!passes(&by_header.request(get().header("x-tenant", ""))), "the address takes its place");

    let mut all = plugin(&host, json!({ "limit": 1, "key": "route", "status": 503, "shared": "db" }));
    assert!(passes(&all.request(get().route("a"))));
    let refused = all.request(get().route("b").client("192.0.2.9"));
    assert_eq!(refused.reply().expect("denied").status, 503);

    let mut by_address = plugin(&host, json!({ "limit": 1, "shared": "v6" }));
    assert!(passes(&by_address.request(get().client("2001:db8:1:2::1"))));
    assert!(!passes(&by_address.request(get().client("2001:db8:1:2:ffff::2"))));
    assert!(passes(&by_address.request(get().client("2001:db8:1:3::1"))));
    assert!(passes(&by_address.request(get().client("::ffff:192.0.2.1"))));
    assert!(!passes(&by_address.request(get().client("192.0.2.1"))));
}

#[test]
fn a_request_that_takes_longer_than_its_lease_still_counts() {
    let host = TestHost::new();
    let mut plugin = plugin(&host, json!({ "limit": 1, "lease-ttl": "1s" }));
    let mut long = plugin.request(TestRequest::get("/"));
    host.advance(Duration::from_secs(86_400));
    assert!(!passes(&plugin.request(TestRequest::get("/"))));
    plugin.end(&mut long);
    assert!(passes(&plugin.request(TestRequest::get("/"))));
}

#[test]
fn without_the_store_it_is_as_configured() {
    let host = TestHost::new();
    host.set_store_available(false);
    for (way, expected) in [("allow", [None, None]), ("deny", [Some(503); 2]), ("local", [None, Some(429)])] {
        let mut plugin = plugin(&host, json!({ "limit": 1, "on-store-failure": way }));
        let statuses = [(); 2].map(|()| {
            let exchange = plugin.request(TestRequest::get("/"));
            exchange.reply().map(|reply| reply.status)
        });
        assert_eq!(statuses, expected, "{way}");
    }
    assert_eq!(host.counter("concurrency_store_failures", &[("route", "test")]), 6);
}

#[test]
fn what_makes_no_sense_is_told() {
    let host = TestHost::new();
    host.deny("mine");
    let problems =
        |config| host.plugin::<Concurrency>(config).err().as_ref().map_or_else(String::new, Problems::to_string);
    assert!(problems(json!({ "limit": 0 })).starts_with("/limit: "));
    assert!(problems(json!({ "limit": 1, "status": 500 })).contains("must be 429 or 503"));
    assert_eq!(problems(json!({ "limit": 65_537 })), "/limit: must be 65536 at most");
    assert_eq!(problems(json!({ "limit": 1, "retry-after": "2h" })), "/retry-after: must be from 1s to 1h");
    assert_eq!(problems(json!({ "limit": 1, "lease-ttl": "500ms" })), "/lease-ttl: must be from 1s to 1h");
    assert!(problems(json!({ "limit": 1, "key": { "header": "a b" } })).starts_with("/key/header: "));
    assert!(problems(json!({ "limit": 1, "bucket": "mine" })).contains("grants: { store: [mine] }"));
}

#[test]
fn the_schema_describes_every_option_and_the_readme_too() {
    let schema = config_schema::<Concurrency>();
    for (name, option) in schema["properties"].as_object().unwrap() {
        assert!(option["description"].is_string(), "{name}");
        assert!(include_str!("../README.md").contains(&format!("| `{name}` |")), "{name}");
    }
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(validator.is_valid(&schema["examples"][0]) && !validator.is_valid(&json!({ "limit": 1, "status": 500 })));
    assert!(!validator.is_valid(&json!({ "limit": 65_537 })));
}
