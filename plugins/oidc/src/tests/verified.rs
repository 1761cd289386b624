//! What an ID token must say.

use serde_json::{Value, json};

use super::support::{Browser, ISSUER, NOW, World, location, refused};

/// Logs in with an ID token of these claims and this header.
fn login(config: Value, header: Value, claims: Value) -> plugin_sdk::testkit::TestExchange {
    let mut world = World::new(config);
    let mut browser = Browser::default();
    let state = browser.begin(&mut world, "/page")["state"].clone();
    {
        let mut provider = world.provider.borrow_mut();
        provider.claims = claims;
        if !header.is_null() {
            provider.header = header;
        }
    }
    browser.come_back(&mut world, &state, "c")
}

#[test]
fn an_id_token_that_is_not_valid_is_no_login() {
    for claims in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "iss": format!("{ISSUER}/") }),
        json!({ "aud": "other" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": ["app", "other"] }),
        json!({ "aud": ["app", "other"], "azp": "other" }),
        json!({ "azp": "other" }),
        json!({ "exp": null }),
        json!({ "exp": NOW - 30 }),
        json!({ "exp": "never" }),
        json!({ "iat": null }),
        json!({ "iat": NOW + 31 }),
        json!({ "nbf": NOW + 31 }),
        json!({ "nonce": "other" }),
        json!({ "nonce": null }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "at_hash": "AAAA" }),
    ] {
        let exchange = login(json!({}), Value::Null, claims.clone());
        assert_eq!(exchange.attribute("oidc.error"), Some("id-token"), "{claims}");
        refused(&exchange, 502, "id-token");
    }
}

#[test]
fn clocks_may_be_apart_by_the_leeway() {
    for claims in [
        json!({ "exp": NOW - 29 }),
        json!({ "iat": NOW + 30 }),
        json!({ "nbf": NOW + 30 }),
        json!({ "aud": ["app", "other"], "azp": "app" }),
        json!({ "azp": "app" }),
    ] {
        assert_eq!(location(&login(json!({}), Value::Null, claims)), "/page");
    }
    refused(&login(json!({ "leeway": "0s" }), Value::Null, json!({ "iat": NOW + 1 })), 502, "id-token");
}

#[test]
fn signatures_are_of_the_providers_keys_and_accepted_algorithms() {
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256", "kid": "k" }),
        json!({ "alg": "RS256", "kid": "k" }),
        json!({ "alg": "EdDSA", "kid": "other" }),
        json!({ "alg": "EdDSA", "kid": "k", "typ": "at+jwt" }),
        json!({ "alg": "EdDSA", "kid": "k", "typ": "logout+jwt" }),
        json!({ "alg": "EdDSA", "kid": "k", "typ": "application/logout+jwt" }),
        json!({ "alg": "EdDSA", "kid": "k", "crit": ["x"] }),
    ] {
        let exchange = login(json!({}), header.clone(), json!({}));
        assert_eq!(exchange.attribute("oidc.error"), Some("id-token"), "{header}");
    }
    assert_eq!(location(&login(json!({}), json!({ "alg": "EdDSA", "typ": "JWT" }), json!({}))), "/page");
    let rs256 =
        json!([{ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app", "algorithms": ["RS256"] }]);
    refused(&login(json!({ "providers": rs256 }), Value::Null, json!({})), 502, "id-token");
}

#[test]
fn a_user_who_was_authenticated_before_the_max_age_is_not_logged_in() {
    let mut provider = json!({ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" });
    provider["authorization-parameters"] = json!({ "max_age": "300" });
    let config = || json!({ "providers": [provider] });
    for claims in [json!({}), json!({ "auth_time": NOW - 332 }), json!({ "auth_time": "now" })] {
        refused(&login(config(), Value::Null, claims), 502, "id-token");
    }
    for claims in [json!({ "auth_time": NOW - 300 }), json!({ "auth_time": NOW })] {
        assert_eq!(location(&login(config(), Value::Null, claims)), "/page");
    }
}
