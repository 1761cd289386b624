//! What later plugins and the upstream are told.

use plugin_sdk::testkit::TestRequest;
use serde_json::json;

use super::support::{accepted, bearer, config_with, plugin, refused, token};

#[test]
fn claims_become_headers_and_attributes() {
    let (_, mut plugin) = plugin(config_with(json!({
        "claims-to-headers": { "X-User": "sub", "x-roles": "/realm/roles" },
        "claims-to-attributes": { "jwt.tenant": "/org/id" },
    })));
    let token = token(json!({ "iss": "https://a", "realm": { "roles": ["a", "b"] }, "org": { "id": 7 } }));
    let exchange = accepted(plugin.request(bearer(&token)));
    assert_eq!(exchange.header("x-user"), Some("anna"));
    assert_eq!(exchange.header("x-roles"), Some("a,b"));
    assert_eq!(exchange.attribute("jwt.sub"), Some("anna"));
    assert_eq!(exchange.attribute("jwt.iss"), Some("https://a"));
    assert_eq!(exchange.attribute("jwt.tenant"), Some("7"));
    assert_eq!(exchange.attribute("jwt.error"), None);
}

#[test]
fn every_token_is_known_by_itself() {
    let (_, mut plugin) = plugin(config_with(json!({ "required": false })));
    let mut mark = |token: &str| {
        let exchange = accepted(plugin.request(bearer(token)));
        exchange.attribute("jwt.token").unwrap().to_owned()
    };
    let (one, other) = (token(json!({ "sub": null })), token(json!({ "sub": null, "jti": 1 })));
    assert_eq!(mark(&one).len(), 32);
    assert_eq!(mark(&one), mark(&one));
    assert_ne!(mark(&one), mark(&other));
    assert_eq!(accepted(plugin.request(TestRequest::get("/"))).attribute("jwt.token"), None);
}

#[test]
fn what_the_client_says_about_itself_is_removed() {
    let options = json!({ "required": false, "claims-to-headers": { "x-user": "sub", "x-role": "role" } });
    let (_, mut plugin) = plugin(config_with(options));
    let spoofed =
        |request: TestRequest| request.header("X-User", "root").header("x-role", "admin").header("x-role", "b");

    let anonymous = accepted(plugin.request(spoofed(TestRequest::get("/"))));
    assert_eq!((anonymous.header("x-user"), anonymous.header("x-role")), (None, None));
    assert_eq!(anonymous.attribute("jwt.sub"), None);

    // The second time from memory.
    for _ in 0..2 {
        let known = accepted(plugin.request(spoofed(bearer(&token(json!({}))))));
        assert_eq!(known.header_values("x-user"), [b"anna"]);
        assert_eq!(known.header("x-role"), None);
    }
}

#[test]
fn a_request_without_a_token_is_challenged() {
    let (_, mut plugin) = plugin(config_with(json!({ "realm": "orders" })));
    let reply = refused(plugin.request(TestRequest::get("/").id("r-1")), 401, "missing");
    assert_eq!(reply.header("www-authenticate").as_deref(), Some(r#"Bearer realm="orders""#));
    assert_eq!(
        reply.into_text(),
        r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"a token is required","request-id":"r-1"}"#,
    );
}

#[test]
fn a_bad_token_is_refused_also_where_none_is_required() {
    let (_, mut plugin) = plugin(config_with(json!({ "required": false })));
    accepted(plugin.request(TestRequest::get("/").header("authorization", "Basic YTpi")));
    refused(plugin.request(bearer("x.y.z")), 401, "malformed");
    refused(plugin.request(bearer("")), 401, "malformed");
    refused(plugin.request(TestRequest::get("/").header("authorization", "bearer")), 401, "malformed");
}

#[test]
fn a_claim_that_cannot_be_told_safely_is_refused() {
    let (_, mut plugin) = plugin(config_with(json!({ "claims-to-headers": { "x-groups": "groups" } })));
    for groups in [json!("a\r\nx-admin: true"), json!("a ")] {
        let token = token(json!({ "groups": groups }));
        for _ in 0..2 {
            refused(plugin.request(bearer(&token)), 401, "unusable-claim");
        }
    }
    let listed = accepted(plugin.request(bearer(&token(json!({ "groups": ["CN=a,OU=b", { "id": 1 }] })))));
    assert_eq!(listed.header("x-groups"), Some("CN=a%2COU=b,{\"id\":1}"));
    let exchange = accepted(plugin.request(bearer(&token(json!({ "groups": "G\u{e4}ste" })))));
    assert_eq!(exchange.header_values("x-groups"), ["G\u{e4}ste".as_bytes()]);
}

#[test]
fn large_headers_are_the_clients_fault_and_not_the_plugins() {
    let claims = json!({
        "x-user-a": "sub", "x-user-b": "sub", "x-user-c": "sub", "x-user-d": "sub", "x-user-e": "sub", "x-user-f": "sub",
    });
    let config = json!({ "claims-to-headers": claims, "max-token-bytes": 64 * 1024 });
    let (_, mut plugin) = plugin(config_with(config));
    // What else the client sends takes no room away.
    let request = bearer(&token(json!({ "sub": "a".repeat(4000) }))).header("x-junk", "x".repeat(58_000));
    accepted(plugin.request(request));
    let reply = refused(plugin.request(bearer(&token(json!({ "sub": "a".repeat(40_000) })))), 431, "no-room");
    assert_eq!(reply.header("www-authenticate"), None);
}
