//! Services that are slow, fail, or are waited for when the exchange ends.

use std::time::Duration;

use plugin_sdk::{
    Decision, Error, NoConfig, Plugin, Problems, Reply, Request, RequestFilter,
    documents::{self, DocumentError, Source},
    http_client::{Call, CallError},
    store::{Bucket, Scope, StoreError, Wake},
    testkit::{TestHost, TestRequest},
};
use serde_json::json;

/// Takes a lock, calls a service, and releases the lock.
struct Locking;

impl Plugin for Locking {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        Ok(Self)
    }
}

impl RequestFilter for Locking {
    fn on_request(&mut self, _: &Request) -> Result<Decision, Error> {
        let locks = Bucket::new("locks");
        locks.set("lock", b"held", None)?;
        let status = Call::get("users", "/").send()?.status;
        locks.delete("lock")?;
        Ok(Reply::new(status).into())
    }
}

#[test]
fn one_upstream_answers_with_a_status_while_others_answer_as_before() {
    let host = TestHost::new();
    host.answer_calls(|_| Ok(Reply::new(200)));
    host.set_answer("users", Ok(Reply::new(503)));
    host.run(|| {
        assert_eq!(Call::get("users", "/a").send().unwrap().status, 503);
        assert_eq!(Call::get("others", "/b").send().unwrap().status, 200);
        let document = documents::get(&Source::new("users", "/keys"), 0, false);
        assert_eq!(document, Err(DocumentError::Unavailable("it is answered with 503".into())));
    });
    let paths: Vec<_> = host.calls_of("users").into_iter().map(|call| call.path_with_query).collect();
    assert_eq!(paths, ["/a", "/keys"]);
}

#[test]
fn a_slow_upstream_moves_the_clock_and_exceeds_the_time_out_of_a_call() {
    let host = TestHost::new();
    host.set_time(Duration::ZERO);
    host.set_answer("users", Ok(Reply::new(200)));
    host.set_delay("users", Duration::from_secs(3));
    host.run(|| {
        assert_eq!(Call::get("users", "/").with_timeout(Duration::from_secs(1)).send(), Err(CallError::Timeout));
        assert_eq!(plugin_sdk::clock::since_epoch(), Duration::from_secs(1));
        // Together they take no longer than one of them.
        let calls = [(); 3].map(|()| Call::get("users", "/").start().unwrap());
        assert_eq!(calls.map(|call| call.wait().unwrap().status), [200; 3]);
        assert_eq!(plugin_sdk::clock::since_epoch(), Duration::from_secs(4));
    });
}

#[test]
fn one_bucket_fails_and_is_slow_while_others_are_as_before() {
    let host = TestHost::new();
    host.set_time(Duration::ZERO);
    host.set_delay("slow", Duration::from_secs(2));
    host.set_store_error("gone", Some(StoreError::Unavailable("refused".into())));
    host.run(|| {
        Bucket::new("slow").increment("a", 1, None).unwrap();
        assert_eq!(plugin_sdk::clock::since_epoch(), Duration::from_secs(2));
        assert_eq!(Bucket::new("gone").get("a"), Err(StoreError::Unavailable("refused".into())));
        assert_eq!(Bucket::new("other").get("a"), Ok(None));
        host.set_store_error("gone", None);
        assert_eq!(Bucket::new("gone").get("a"), Ok(None));
    });
}

#[test]
fn an_exchange_that_ends_while_a_plugin_waits_leaves_what_the_plugin_has_done() {
    let host = TestHost::new();
    host.set_answer("users", Ok(Reply::new(204)));
    let mut plugin = host.plugin::<Locking>(json!({})).unwrap();
    assert_eq!(plugin.request(TestRequest::get("/")).reply().unwrap().status, 204);
    let lock = || host.run(|| Bucket::new("locks").get("lock")).unwrap();
    assert_eq!(lock(), None);
    plugin.request_cancelled_at("users", TestRequest::get("/"));
    assert_eq!(lock(), Some(b"held".to_vec()), "nothing after the call has happened");
    // Only that request ended.
    let mut another = host.plugin::<Locking>(json!({})).unwrap();
    assert_eq!(another.request(TestRequest::get("/")).reply().unwrap().status, 204);
}

#[test]
#[should_panic(expected = "the plugin did not call `others`")]
fn a_service_that_the_plugin_does_not_call_cannot_end_the_exchange() {
    let host = TestHost::new();
    let mut plugin = host.plugin::<Locking>(json!({})).unwrap();
    plugin.request_cancelled_at("others", TestRequest::get("/"));
}

/// Lets one request at a time call a service.
struct Queueing;

impl Plugin for Queueing {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        Ok(Self)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

impl RequestFilter for Queueing {
    fn on_request(&mut self, _: &Request) -> Result<Decision, Error> {
        let places = Bucket::new("places");
        if places.acquire("users", 1, MINUTE, Scope::Shared)?.lease.is_some() {
            return Ok(Reply::new(Call::get("users", "/").send()?.status).into());
        }
        match places.wait_for_lease("users", 1, MINUTE, Wake::InTurn, Scope::Shared)? {
            true => Ok(Decision::AwaitRelease),
            false => Ok(Reply::new(429).into()),
        }
    }
}

#[test]
fn an_exchange_that_ends_in_a_call_holds_no_lease() {
    let host = TestHost::new();
    host.set_answer("users", Ok(Reply::new(204)));
    let mut plugin = host.plugin::<Queueing>(json!({})).unwrap();
    plugin.request_cancelled_at("users", TestRequest::get("/"));
    let mut another = host.plugin::<Queueing>(json!({})).unwrap();
    assert_eq!(another.request(TestRequest::get("/")).reply().unwrap().status, 204);
}

#[test]
fn an_exchange_waits_for_a_lease_until_it_is_released_or_the_time_is_over() {
    let host = TestHost::new();
    host.set_time(Duration::ZERO);
    host.set_answer("users", Ok(Reply::new(204)));
    let places = Bucket::new("places");
    let acquire = || host.run(|| places.acquire("users", 1, Duration::from_secs(3600), Scope::Shared)).unwrap().lease;
    let lease = acquire().expect("nothing else holds it");
    let release = {
        let places = places.clone();
        move || places.release("users", &lease).unwrap()
    };
    host.while_waiting(release);
    let mut plugin = host.plugin::<Queueing>(json!({})).unwrap();
    let mut exchange = plugin.request(TestRequest::get("/"));
    assert_eq!(exchange.reply().unwrap().status, 204);
    assert_eq!(host.run(plugin_sdk::clock::since_epoch), Duration::ZERO, "it has waited for the release alone");
    plugin.end(&mut exchange);
    // Nothing releases it: each time to wait passes, as often as an exchange can wait.
    host.while_waiting(|| {});
    assert!(acquire().is_some());
    assert_eq!(plugin.request(TestRequest::get("/")).reply().unwrap().status, 429);
    assert_eq!(host.run(plugin_sdk::clock::since_epoch), 16 * MINUTE);
    let wait = || places.wait_for_lease("users", 1, MINUTE, Wake::All, Scope::Shared);
    assert!(matches!(host.run(wait), Err(StoreError::Unavailable(_))), "there is no exchange");
}
