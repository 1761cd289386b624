//! The plugin as the gateway calls it.

use std::{cell::Cell, rc::Rc, time::Duration};

use plugin_sdk::testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse};
use serde_json::{Value, json};

use crate::Cached;

/// A gateway and a plugin, whose clock the test moves.
struct Bench {
    host: TestHost,
    plugin: TestPlugin<Cached>,
}

impl Bench {
    fn new(config: Value) -> Self {
        let host = TestHost::new();
        let plugin = host.plugin(config).unwrap();
        Self { host, plugin }
    }

    fn ask(&mut self, request: TestRequest) -> TestExchange {
        self.plugin.request(request)
    }

    /// A request that goes on, and comes back with this.
    fn fetch(&mut self, request: TestRequest, response: TestResponse) -> TestExchange {
        let mut exchange = self.ask(request);
        assert!(exchange.reply().is_none(), "{:?}", exchange.reply());
        self.plugin.response(&mut exchange, response);
        exchange
    }

    fn later(&mut self, seconds: u64) {
        self.host.advance(Duration::from_secs(seconds));
    }
}

fn ok(cache_control: &str) -> TestResponse {
    TestResponse::new(200).header("cache-control", cache_control).header("etag", "\"v1\"").body("body")
}

fn get() -> TestRequest {
    TestRequest::get("/a")
}

#[test]
fn a_response_is_given_until_it_is_stale_and_then_asked_about() {
    let mut bench = Bench::new(json!({}));
    bench.fetch(get(), ok("max-age=60"));
    bench.later(59);
    let hit = bench.ask(get());
    let reply = hit.reply().unwrap();
    assert_eq!((reply.status, reply.header("age").unwrap(), reply.body.as_slice()), (200, "59".into(), &b"body"[..]));
    assert_eq!(reply.header("cache-status").unwrap(), "gateway; hit; ttl=1");
    assert_eq!(hit.attribute("cache.status"), Some("hit"));
    bench.later(1);
    let asked = bench.ask(get().header("if-none-match", "\"own\""));
    assert!(asked.reply().is_none());
    assert_eq!(asked.header("if-none-match"), Some("\"v1\""));
}

/// Counts how often an exchange waits for a lock. When it does so for the first time, the response of this one arrives.
fn count_waits(bench: &Bench, mut first: TestExchange) -> Rc<Cell<u32>> {
    let waits = Rc::new(Cell::new(0));
    let (counted, mut other) = (Rc::clone(&waits), bench.host.plugin::<Cached>(json!({})).unwrap());
    bench.host.while_waiting(move || {
        counted.set(counted.get() + 1);
        if counted.get() == 1 {
            other.response(&mut first, ok("max-age=60"));
        }
    });
    waits
}

#[test]
fn a_request_waits_for_the_one_that_fetches_the_same_response() {
    let mut bench = Bench::new(json!({}));
    let first = bench.ask(get());
    assert!(first.reply().is_none());
    let waits = count_waits(&bench, first);
    assert_eq!(bench.ask(get()).reply().unwrap().header("cache-status").unwrap(), "gateway; hit; ttl=60");
    assert_eq!(waits.get(), 1);

    let other = || TestRequest::get("/b");
    assert!(bench.ask(other()).reply().is_none());
    assert!(bench.ask(other()).reply().is_none(), "it has waited long enough");
    assert_eq!(waits.get(), 2);
}

#[test]
fn without_a_lock_timeout_no_request_waits() {
    let mut bench = Bench::new(json!({ "lock-timeout": "0s" }));
    let first = bench.ask(get());
    let waits = count_waits(&bench, first);
    assert!(bench.ask(get()).reply().is_none());
    assert_eq!(waits.get(), 0);
}

#[test]
fn a_stale_response_is_renewed_once_behind_the_clients_back() {
    let mut bench = Bench::new(json!({ "stale-while-revalidate": "1m" }));
    bench.fetch(get(), ok("max-age=60"));
    bench.later(70);
    for _ in 0..2 {
        assert_eq!(bench.ask(get()).reply().unwrap().header("cache-status").unwrap(), "gateway; hit; ttl=-10");
    }
    assert_eq!(bench.host.renewals(), ["example.com/a\nhttp"]);
    let renewal = bench.fetch(get().renewal(), TestResponse::new(304).header("cache-control", "max-age=60"));
    assert_eq!(renewal.header("if-none-match"), Some("\"v1\""));
    assert_eq!(bench.ask(get()).reply().unwrap().header("cache-status").unwrap(), "gateway; hit; ttl=60");
    bench.later(121);
    assert!(bench.ask(get()).reply().is_none());
}

#[test]
fn an_attribute_in_the_key_tells_resources_apart() {
    let mut each = Bench::new(json!({ "key": { "attributes": ["geo.country"] } }));
    each.fetch(get().attribute("geo.country", "de"), ok("max-age=60"));
    assert!(each.ask(get().attribute("geo.country", "de")).reply().is_some());
    assert!(each.ask(get().attribute("geo.country", "at")).reply().is_none());
}

#[test]
fn a_parameter_that_is_not_in_the_key_does_not_reach_the_upstream() {
    let mut bench = Bench::new(json!({ "key": { "query": { "only": ["id"] } } }));
    let asked = bench.fetch(TestRequest::get("/a?utm=1&%69d=2&x"), ok("max-age=60"));
    assert_eq!(asked.target(), "/a?%69d=2");
    assert!(bench.ask(TestRequest::get("/a?%69d=2&utm=3")).reply().is_some());
    assert_eq!(bench.ask(TestRequest::get("/a?utm=1")).target(), "/a");
    // What is changed is no resource that is stored.
    assert_eq!(bench.ask(TestRequest::new("POST", "/a?utm=1")).target(), "/a?utm=1");
}

#[test]
fn the_gateway_is_told_where_consumers_share_responses() {
    let mut isolated = Bench::new(json!({}));
    assert_eq!(isolated.ask(get()).attribute("cache.consumers"), None);
    let mut shared = Bench::new(json!({ "consumers": "share" }));
    assert_eq!(shared.ask(get()).attribute("cache.consumers"), Some("share"));
}

#[test]
fn fields_that_are_named_are_not_kept() {
    let mut bench = Bench::new(json!({}));
    let response = ok("max-age=60, no-cache=\"x-time\", private=\"set-cookie\"");
    bench.fetch(get(), response.header("x-time", "1").header("set-cookie", "a=b").header("x-other", "1"));
    let hit = bench.ask(get());
    let reply = hit.reply().unwrap();
    assert_eq!((reply.header("x-time"), reply.header("set-cookie")), (None, None));
    assert_eq!(reply.header("x-other").unwrap(), "1");
}

#[test]
fn a_denied_bucket_is_the_plugins_failure() {
    let mut bench = Bench::new(json!({ "bucket": "other" }));
    bench.host.deny("other");
    assert!(bench.plugin.try_request(get()).is_err());
}

#[test]
fn the_example_of_the_schema_is_a_configuration() {
    let schema = serde_json::to_value(plugin_sdk::schemars::schema_for!(crate::Config)).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(jsonschema::is_valid(&schema, example));
        Bench::new(example.clone());
    }
}
