//! What happens while the store fails, and what it gets to see.

use plugin_sdk::{Decision, Error, Plugin, Problems, Request, RequestFilter, log::Level};
use serde_json::json;

use super::*;
use crate::{
    Config,
    key::{KeyRule, Subject},
};

#[test]
fn requests_pass_while_the_store_is_down_and_the_log_says_so_once_in_a_while() {
    let mut limiter = Limiter::new(json!({ "limit": 1, "per": "1m" }));
    limiter.host.set_store_available(false);
    for _ in 0..5 {
        let exchange = limiter.exchange(get());
        assert_eq!(exchange.attribute("rate-limit.outcome"), Some("unavailable"));
        assert_eq!(exchange.response_header("ratelimit"), None);
    }
    assert_eq!(limiter.host.log().len(), 1);
    assert_eq!(limiter.host.log()[0].level, Level::Error);
    limiter.wait(10_000);
    limiter.exchange(get());
    assert_eq!(limiter.host.log().len(), 2);
    assert_eq!(limiter.host.counter("rate_limit_store_failures", &[("route", "test")]), 6);

    limiter.host.set_store_available(true);
    assert_eq!(limiter.burst(&get()), 1);
}

#[test]
fn requests_can_be_refused_while_the_store_is_down() {
    let mut limiter = Limiter::new(json!({ "limit": 1, "per": "1m", "on-store-failure": "deny" }));
    limiter.host.set_store_available(false);
    let reply = limiter.refusal(get());
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("content-type").unwrap(), "application/problem+json");
    assert_eq!(reply.json::<Value>().unwrap()["detail"], "the service is not available, try again later");
}

#[test]
fn an_instance_can_be_made_while_the_store_is_down() {
    let host = TestHost::new();
    host.set_store_available(false);
    let mut limiter = Limiter::on(host.clone(), json!({ "limit": 1, "per": "1m" }));
    host.set_store_available(true);
    assert_eq!(limiter.burst(&get()), 1);
}

#[test]
fn a_bucket_that_is_not_granted_is_a_problem_of_the_configuration() {
    let host = TestHost::new();
    host.deny("limits");
    let problems = host.plugin::<RateLimit>(json!({ "limit": 1, "per": "1m", "bucket": "limits" })).err().unwrap();
    let message = "/bucket: the bucket `limits` is not granted; add it to the plugin's `grants: { store: [limits] }`";
    assert_eq!(problems.to_string(), message);
}

#[test]
fn a_grant_that_is_taken_away_lets_nobody_in_unseen() {
    let mut limiter = Limiter::new(json!({ "limit": 1, "per": "1m" }));
    limiter.host.deny("rate-limit");
    assert!(limiter.plugin.try_request(get()).is_err());
}

/// Shows the key under which a request would be counted.
struct Probe(KeyRule);

impl Plugin for Probe {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self(config.check()?.key))
    }
}

impl RequestFilter for Probe {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let Subject::Known(key) = self.0.subject(request) else { return Err(Error::new("no key")) };
        request.set_attribute("key", &key)?;
        Ok(Decision::Next)
    }
}

#[test]
fn credentials_do_not_reach_the_store() {
    let key = json!(["client-address", { "header": "authorization" }, { "attribute": "jwt.sub" }]);
    let mut probe = TestHost::new().plugin::<Probe>(json!({ "limit": 1, "per": "1m", "key": key })).unwrap();
    let request = get().client("2001:db8::1").header("authorization", "Bearer secret").attribute("jwt.sub", "anna");
    let exchange = probe.request(request);
    // The first 128 bits of SHA-256.
    let expected = "route=test/client-address=2001:db8::,64\
                    /header.authorization=bffde20413347b7a00e1363de3f97ca6\
                    /attribute.jwt.sub=55579b557896d0ce1764c47fed644f9b";
    assert_eq!(exchange.attribute("key"), Some(expected));
}
