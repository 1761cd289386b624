//! Keys that a provider publishes.

use std::{cell::RefCell, rc::Rc, time::Duration};

use plugin_sdk::{
    Reply,
    http_client::CallError,
    testkit::{TestExchange, TestHost, TestPlugin},
};
use serde_json::{Value, json};

use super::{
    keys::jwk,
    support::{Signer, accepted, bearer, refused},
};
use crate::Jwt;

/// A provider whose keys can be changed, and which can be away.
struct Provider {
    host: TestHost,
    answer: Rc<RefCell<Option<String>>>,
}

impl Provider {
    fn publishing(keys: &[(&str, &Signer)]) -> Self {
        let provider = Self { host: TestHost::new(), answer: Rc::default() };
        provider.publish(keys);
        let answer = Rc::clone(&provider.answer);
        provider.host.answer_calls(move |_| match &*answer.borrow() {
            Some(text) => Ok(Reply::new(200).with_body("application/json", text.clone())),
            None => Err(CallError::Timeout),
        });
        provider
    }

    fn publish(&self, keys: &[(&str, &Signer)]) {
        let keys = keys.iter().map(|(kid, signer)| {
            let mut key = jwk(signer);
            key["kid"] = (*kid).into();
            key
        });
        self.answer(Some(json!({ "keys": keys.collect::<Vec<_>>() }).to_string()));
    }

    fn answer(&self, text: Option<String>) {
        *self.answer.borrow_mut() = text;
    }

    fn plugin(&self) -> TestPlugin<Jwt> {
        let from = json!({ "upstream": "id", "path": "/keys", "refresh": "10m", "retry": "30s", "max-stale": "1h" });
        let config = json!({ "jwks-from": from, "require-expiry": false });
        self.host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn fetched(&self) -> usize {
        self.host.calls().len()
    }
}

fn forever(signer: &Signer, kid: &str) -> String {
    signer.token_of(json!({ "kid": kid }), &json!({ "sub": "anna" }))
}

fn send(plugin: &mut TestPlugin<Jwt>, signer: &Signer, kid: &str) -> TestExchange {
    plugin.request(bearer(&forever(signer, kid)))
}

#[test]
fn nothing_is_fetched_until_somebody_asks_and_then_once() {
    let signer = Signer::ed25519();
    let provider = Provider::publishing(&[("a", &signer)]);
    let (mut one, mut other) = (provider.plugin(), provider.plugin());
    assert_eq!(provider.fetched(), 0);
    for _ in 0..5 {
        accepted(send(&mut one, &signer, "a"));
        accepted(send(&mut other, &signer, "a"));
    }
    assert_eq!(provider.fetched(), 1);
    let call = provider.host.calls().remove(0);
    assert_eq!((&*call.upstream, &*call.method, &*call.path_with_query), ("id", "GET", "/keys"));
}

#[test]
fn a_key_that_is_not_known_is_looked_for_at_most_once_in_each_interval() {
    let (old, new, stranger) = (Signer::ed25519(), Signer::ed25519(), Signer::ed25519());
    let provider = Provider::publishing(&[("old", &old)]);
    let mut plugin = provider.plugin();
    accepted(send(&mut plugin, &old, "old"));
    provider.publish(&[("old", &old), ("new", &new)]);
    provider.host.advance(Duration::from_secs(30));
    accepted(send(&mut plugin, &new, "new"));
    assert_eq!(provider.fetched(), 2);
    for kid in ["x", "y", "z"] {
        refused(send(&mut plugin, &stranger, kid), 401, "unknown-key");
    }
    assert_eq!(provider.fetched(), 2, "strangers cannot make us ask");
    provider.host.advance(Duration::from_secs(30));
    refused(send(&mut plugin, &stranger, "x"), 401, "unknown-key");
    assert_eq!(provider.fetched(), 3);
    accepted(send(&mut plugin, &old, "old"));
}

#[test]
fn keys_are_renewed_and_who_had_one_that_is_gone_is_out_though_remembered() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::publishing(&[("old", &old)]);
    let mut plugin = provider.plugin();
    accepted(send(&mut plugin, &old, "old"));
    provider.publish(&[("new", &new)]);
    provider.host.advance(Duration::from_secs(599));
    accepted(send(&mut plugin, &old, "old"));
    provider.host.advance(Duration::from_secs(2));
    refused(send(&mut plugin, &old, "old"), 401, "unknown-key");
    accepted(send(&mut plugin, &new, "new"));
}

#[test]
fn keys_stay_while_the_provider_is_away_and_not_for_ever() {
    let signer = Signer::ed25519();
    let provider = Provider::publishing(&[("a", &signer)]);
    let mut plugin = provider.plugin();
    accepted(send(&mut plugin, &signer, "a"));
    provider.answer(None);
    provider.host.advance(Duration::from_secs(3599));
    accepted(send(&mut plugin, &signer, "a"));
    accepted(send(&mut provider.plugin(), &signer, "a"));
    provider.host.advance(Duration::from_secs(60));
    let reply = refused(send(&mut provider.plugin(), &signer, "a"), 503, "no-keys");
    assert_eq!(reply.header("retry-after").as_deref(), Some("30"));
    assert_eq!(reply.header("www-authenticate"), None);
    provider.publish(&[("a", &signer)]);
    provider.host.advance(Duration::from_secs(30));
    accepted(send(&mut plugin, &signer, "a"));
}

#[test]
fn a_set_without_a_usable_key_displaces_no_other() {
    let (signer, weak) = (Signer::ed25519(), json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }));
    let provider = Provider::publishing(&[("a", &signer)]);
    let mut plugin = provider.plugin();
    accepted(send(&mut plugin, &signer, "a"));
    let sets = [json!({ "keys": [weak] }), json!({ "keys": [] }), json!([]), json!({ "keys": [[1]] }), json!("x")];
    for set in sets {
        provider.answer(Some(set.to_string()));
        provider.host.advance(Duration::from_secs(601));
        accepted(send(&mut plugin, &signer, "a"));
        refused(send(&mut provider.plugin(), &signer, "a"), 503, "no-keys");
    }
    assert!(provider.host.log().iter().all(|line| line.message.contains("no key for verifying")));
}

/// Whoever can make the provider publish a secret could sign with it: everybody reads what is published.
#[test]
fn a_published_secret_is_no_key() {
    let secret = "a secret of more than thirty-two bytes";
    let set = json!({ "keys": [{ "kty": "oct", "k": super::support::encode(secret) }, jwk(&Signer::ed25519())] });
    let provider = Provider::publishing(&[]);
    provider.answer(Some(set.to_string()));
    let header = super::support::encode(json!({ "alg": "HS256" }).to_string());
    let message = format!("{header}.{}", super::support::encode(json!({ "sub": "anna" }).to_string()));
    let token = format!("{message}.{}", super::support::encode(super::support::mac(secret.as_bytes(), &message)));
    refused(provider.plugin().request(bearer(&token)), 401, "unknown-key");
}

#[test]
fn a_place_that_cannot_be_is_told() {
    let problems = |host: &TestHost, from: Value| {
        host.plugin::<Jwt>(json!({ "jwks-from": from })).err().map_or_else(String::new, |problems| problems.to_string())
    };
    let host = TestHost::new();
    assert_eq!(problems(&host, json!({ "upstream": "id", "path": "/k" })), "");
    assert_eq!(
        problems(&host, json!({ "upstream": "id", "path": "/k", "refresh": "1s", "timeout": "2m" })),
        "/jwks-from/refresh: must be from 10s to 1d, is 1s\n/jwks-from/timeout: must be from 1ms to 60s, is 2m"
    );
    assert_eq!(
        problems(&host, json!({ "upstream": "id", "path": "/k", "max-stale": "5m" })),
        "/jwks-from/max-stale: must not be less than `refresh`: there would be no keys in between"
    );
    host.deny("id");
    assert_eq!(
        problems(&host, json!({ "upstream": "id", "path": "/k" })),
        "/jwks-from/upstream: needs an upstream `id`, and `grants: { upstreams: [id] }` for the plugin"
    );
}
