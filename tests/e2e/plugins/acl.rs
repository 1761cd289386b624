//! Who is known may pass by groups, roles and scopes.

use serde_json::json;

use super::Behind;
use crate::support::{
    client::Request,
    token::{Key, now},
};

const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";

#[tokio::test]
async fn tokens_are_judged_by_their_groups_and_scopes() {
    let key = Key::secret(SECRET);
    let jwt = json!({
        "keys": [key.config("h")], "required": false,
        "claims-to-attributes": { "jwt.groups": "groups", "jwt.scope": "scope" },
    });
    let acl = json!({
        "allow": { "groups": ["staff", "partners"], "scopes": ["orders:read"] }, "deny": { "groups": ["suspended"] },
    });
    let plugins = format!("[{{ name: jwt, config: {jwt} }}, {{ name: acl, config: {acl} }}]");
    let behind = Behind::with(&plugins, "").await;
    for (groups, scope, status) in [
        (json!(["staff"]), "orders:read orders:write", 200),
        (json!(["x", "partners"]), "orders:read", 200),
        (json!(["staff", "suspended"]), "orders:read", 403),
        (json!(["staff"]), "orders:write", 403),
        (json!([]), "orders:read", 403),
    ] {
        let token = key.token("h", &json!({ "sub": "ada", "exp": now() + 3600, "groups": groups, "scope": scope }));
        let response = behind.send(Request::get("/").header("authorization", &format!("Bearer {token}"))).await;
        assert_eq!(response.status, status, "{groups} {scope}: {}", response.text());
    }
    let stranger = behind.get("/").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.header("www-authenticate"), "Bearer realm=\"gateway\"");
    assert_eq!(behind.upstream.requests(), 2);
    let metrics = behind.gateway.metrics().await;
    for (reason, count) in [("anonymous", 1), ("denied", 1), ("not-allowed", 2)] {
        let line =
            format!("gateway_plugin_acl_denied_total{{plugin=\"acl\",reason=\"{reason}\",route=\"all\"}} {count}");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}
