//! Verified tokens are remembered, and never for longer than they are valid.

use std::time::Duration;

use crate::Jwt;
use plugin_sdk::testkit::{TestPlugin, TestRequest};
use serde_json::json;

use super::support::{NOW, accepted, bearer, config_with, plugin, refused, token};

#[test]
fn a_remembered_token_stops_working_when_it_expires() {
    let (host, mut plugin) = plugin(config_with(json!({ "leeway": "5s" })));
    let token = token(json!({ "exp": NOW + 60 }));
    accepted(plugin.request(bearer(&token)));
    host.advance(Duration::from_millis(64_999));
    accepted(plugin.request(bearer(&token)));
    host.advance(Duration::from_millis(1));
    for _ in 0..2 {
        refused(plugin.request(bearer(&token)), 401, "expired");
    }
}

#[test]
fn a_remembered_token_stops_working_at_its_maximum_age() {
    let (host, mut plugin) = plugin(config_with(json!({ "max-age": "30s" })));
    let token = token(json!({ "iat": NOW, "exp": NOW + 60 }));
    accepted(plugin.request(bearer(&token)));
    host.advance(Duration::from_secs(30));
    refused(plugin.request(bearer(&token)), 401, "expired");
}

#[test]
fn a_remembered_token_does_not_work_before_its_time() {
    let (host, mut plugin) = plugin(config_with(json!({})));
    let token = token(json!({ "nbf": NOW }));
    accepted(plugin.request(bearer(&token)));
    host.set_time(Duration::from_secs(NOW as u64 - 1));
    refused(plugin.request(bearer(&token)), 401, "not-yet-valid");
}

#[test]
fn a_refusal_for_missing_rights_is_remembered_as_one() {
    let (host, mut plugin) = plugin(config_with(json!({ "scopes": ["write"] })));
    let token = token(json!({ "scope": "read" }));
    for _ in 0..2 {
        refused(plugin.request(bearer(&token)), 403, "insufficient-scope");
    }
    host.advance(Duration::from_secs(60));
    refused(plugin.request(bearer(&token)), 401, "expired");
}

#[test]
fn a_token_with_the_signature_of_a_remembered_one_is_another_token() {
    let (_, mut plugin) = plugin(config_with(json!({})));
    let (anna, root) = (token(json!({})), token(json!({ "sub": "root" })));
    accepted(plugin.request(bearer(&anna)));
    let (_, signature) = anna.rsplit_once('.').unwrap();
    let (message, _) = root.rsplit_once('.').unwrap();
    refused(plugin.request(bearer(&format!("{message}.{signature}"))), 401, "signature");
    refused(plugin.request(bearer(&anna[1..])), 401, "malformed");
}

/// Requests of many clients, some of whom come again and again.
fn visit(plugin: &mut TestPlugin<Jwt>, clients: impl IntoIterator<Item = usize>) {
    for client in clients {
        let sub = format!("client-{client}");
        let exchange = accepted(plugin.request(bearer(&token(json!({ "sub": sub })))));
        assert_eq!(exchange.attribute("jwt.sub"), Some(sub.as_str()));
    }
}

#[test]
fn more_tokens_than_can_be_remembered_are_all_answered_rightly() {
    for token_cache_size in [0, 1, 2, 7] {
        let (host, mut plugin) = plugin(config_with(json!({ "token-cache-size": token_cache_size })));
        visit(&mut plugin, (0..200).flat_map(|i| [i % 3, i, (i * 7) % 11]));
        host.advance(Duration::from_secs(61));
        refused(plugin.request(bearer(&token(json!({ "sub": "client-1" })))), 401, "expired");
        refused(plugin.request(TestRequest::get("/")), 401, "missing");
    }
}
