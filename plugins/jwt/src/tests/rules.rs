//! Issuer, audience, times, type, scopes and claims.

use plugin_sdk::testkit::TestExchange;
use serde_json::{Value, json};

use super::support::{NOW, accepted, bearer, claims, config_with, plugin, refused, signed, token};

fn send(options: Value, more: Value) -> TestExchange {
    plugin(config_with(options)).1.request(bearer(&token(more)))
}

#[test]
fn the_issuer_must_be_one_of_ours() {
    let one = json!({ "issuer": "https://a" });
    accepted(send(one.clone(), json!({ "iss": "https://a" })));
    for iss in ["https://b", "https://a/", "HTTPS://A", ""] {
        refused(send(one.clone(), json!({ "iss": iss })), 401, "issuer");
    }
    refused(send(one.clone(), json!({})), 401, "issuer");
    refused(send(one, json!({ "iss": ["https://a"] })), 401, "claims");
    accepted(send(json!({ "issuer": ["https://a", "https://b"] }), json!({ "iss": "https://b" })));
}

#[test]
fn the_audience_is_a_text_or_a_list() {
    let one = json!({ "audience": "api" });
    accepted(send(one.clone(), json!({ "aud": "api" })));
    accepted(send(one.clone(), json!({ "aud": ["other", "api"] })));
    for aud in [json!("other"), json!([]), json!(["API"]), json!("api other")] {
        refused(send(one.clone(), json!({ "aud": aud })), 401, "audience");
    }
    refused(send(one.clone(), json!({})), 401, "audience");
    refused(send(one.clone(), json!({ "aud": ["api", 1] })), 401, "claims");
    refused(send(one, json!({ "aud": null })), 401, "claims");
    accepted(send(json!({ "audience": ["a", "b"] }), json!({ "aud": "b" })));
}

#[test]
fn a_token_for_an_audience_is_not_for_whoever_has_no_name() {
    refused(send(json!({}), json!({ "aud": "api" })), 401, "audience");
    refused(send(json!({}), json!({ "aud": [] })), 401, "audience");
    accepted(send(json!({ "any-audience": true }), json!({ "aud": "api" })));
}

#[test]
fn a_token_ends_at_its_expiry_and_begins_at_its_nbf() {
    refused(send(json!({}), json!({ "exp": NOW })), 401, "expired");
    accepted(send(json!({}), json!({ "exp": NOW + 1 })));
    accepted(send(json!({}), json!({ "exp": NOW as f64 + 0.5 })));
    refused(send(json!({}), json!({ "nbf": NOW + 1 })), 401, "not-yet-valid");
    accepted(send(json!({}), json!({ "nbf": NOW })));
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let leeway = json!({ "leeway": "30s" });
    accepted(send(leeway.clone(), json!({ "exp": NOW - 29 })));
    refused(send(leeway.clone(), json!({ "exp": NOW - 30 })), 401, "expired");
    accepted(send(leeway.clone(), json!({ "nbf": NOW + 30 })));
    refused(send(leeway, json!({ "nbf": NOW + 31 })), 401, "not-yet-valid");
}

#[test]
fn times_are_numbers_of_any_size() {
    for time in [json!("1"), json!(null), json!([1])] {
        for name in ["exp", "nbf", "iat"] {
            refused(send(json!({}), json!({ name: time })), 401, "claims");
        }
    }
    for far in [json!(1e300), json!(u64::MAX), json!(i64::MAX)] {
        accepted(send(json!({ "leeway": "30s" }), json!({ "exp": far })));
        refused(send(json!({}), json!({ "nbf": far })), 401, "not-yet-valid");
    }
    for past in [json!(-1e300), json!(i64::MIN), json!(-1)] {
        refused(send(json!({}), json!({ "exp": past })), 401, "expired");
        accepted(send(json!({ "leeway": "30s" }), json!({ "nbf": past })));
    }
}

#[test]
fn a_token_needs_an_expiry_unless_told_otherwise() {
    let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "anna" }));
    refused(plugin(config_with(json!({}))).1.request(bearer(&token)), 401, "no-expiry");
    accepted(plugin(config_with(json!({ "require-expiry": false }))).1.request(bearer(&token)));
}

#[test]
fn a_token_is_no_older_than_the_maximum_age() {
    let max_age = json!({ "max-age": "10m" });
    accepted(send(max_age.clone(), json!({ "iat": NOW - 599 })));
    refused(send(max_age.clone(), json!({ "iat": NOW - 600 })), 401, "expired");
    refused(send(max_age.clone(), json!({ "iat": NOW + 1 })), 401, "not-yet-valid");
    refused(send(max_age, json!({})), 401, "claims");
}

#[test]
fn the_type_is_looked_at_on_demand() {
    let send = |typ: Value| {
        let header = if typ.is_null() { json!({ "alg": "HS256" }) } else { json!({ "alg": "HS256", "typ": typ }) };
        let token = signed(&header, &claims(json!({})));
        plugin(config_with(json!({ "typ": "at+jwt" }))).1.request(bearer(&token))
    };
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/at+JWT"] {
        accepted(send(json!(typ)));
    }
    for typ in [json!("JWT"), json!(null), json!(""), json!("text/at+jwt"), json!("application/at+jwt/x")] {
        refused(send(typ), 401, "type");
    }
}

#[test]
fn scopes_must_all_be_there() {
    let two = json!({ "scopes": ["read", "write"] });
    for claims in [
        json!({ "scope": "write other read" }),
        json!({ "scope": ["read", "write"] }),
        json!({ "scp": "read write" }),
        json!({ "scp": ["write", "read"] }),
    ] {
        accepted(send(two.clone(), claims));
    }
    for claims in [
        json!({}),
        json!({ "scope": "read" }),
        json!({ "scope": "readwrite" }),
        json!({ "scope": "read", "scp": "write" }),
    ] {
        let reply = refused(send(two.clone(), claims), 403, "insufficient-scope");
        assert_eq!(
            reply.header("www-authenticate").as_deref(),
            Some(concat!(
                r#"Bearer realm="gateway", error="insufficient_scope", "#,
                r#"error_description="the token lacks a required scope", scope="read write""#,
            )),
        );
    }
}

#[test]
fn claims_can_be_demanded() {
    let more = json!({ "email_verified": true, "level": 3, "id": 9_007_199_254_740_993_u64, "realm": { "roles": ["a", "b"] }, "nil": null, "groups": "superuser admin", "email": "anna@example.com" });
    for rule in [
        json!({ "claim": "level" }),
        json!({ "claim": "email_verified", "equals": true }),
        json!({ "claim": "level", "equals": 3.0 }),
        json!({ "claim": "level", "one-of": [1, 3] }),
        json!({ "claim": "/realm/roles", "one-of": ["x", "b"] }),
        json!({ "claim": "/realm/roles", "all-of": ["b", "a"] }),
        json!({ "claim": "/realm/roles", "equals": ["a", "b"] }),
        json!({ "claim": "/realm/roles/0", "equals": "a" }),
        json!({ "claim": "/realm/roles", "contains": "b" }),
        json!({ "claim": "groups", "contains": "admin" }),
        json!({ "claim": "email", "pattern": ".+@example\\.com" }),
        json!({ "claim": "/realm/roles", "pattern": "[bc]" }),
    ] {
        accepted(send(json!({ "claims": [rule] }), more.clone()));
    }
    for rule in [
        json!({ "claim": "absent" }),
        json!({ "claim": "nil" }),
        json!({ "claim": "email_verified", "equals": "true" }),
        json!({ "claim": "level", "equals": "3" }),
        json!({ "claim": "level", "all-of": [3] }),
        json!({ "claim": "id", "equals": 9_007_199_254_740_992_u64 }),
        json!({ "claim": "/realm/roles", "one-of": ["x"] }),
        json!({ "claim": "/realm/roles", "all-of": ["a", "c"] }),
        json!({ "claim": "/realm/roles", "equals": ["b", "a"] }),
        json!({ "claim": "/realm/roles", "contains": "ab" }),
        json!({ "claim": "groups", "contains": "super" }),
        json!({ "claim": "level", "contains": 3 }),
        json!({ "claim": "email", "pattern": "@example\\.com" }),
        json!({ "claim": "email", "pattern": "x|.+@example" }),
        json!({ "claim": "level", "pattern": "3" }),
    ] {
        let reply = refused(send(json!({ "claims": [rule] }), more.clone()), 403, "insufficient-claims");
        assert!(reply.header("www-authenticate").unwrap().contains(r#"error="insufficient_scope""#));
    }
}
