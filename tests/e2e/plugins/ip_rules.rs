//! Addresses that are not let in, behind proxies too.

use serde_json::json;

use super::Behind;
use crate::support::client::Request;

#[tokio::test]
async fn an_address_is_let_in_or_not() {
    let denied = Behind::plugin("ip-rules", &json!({ "deny": ["127.0.0.0/8"] })).await;
    let response = denied.get("/").await;
    assert_eq!(response.status, 403);
    assert_eq!(response.problem()["detail"], "your address is not allowed here");
    assert_eq!(denied.upstream.requests(), 0);
    let metrics = denied.gateway.metrics().await;
    let line = "gateway_plugin_ip_rules_denied_total{plugin=\"ip-rules\",reason=\"denied\",route=\"all\"} 1";
    assert!(metrics.contains(line), "{metrics}");

    let allowed = Behind::plugin("ip-rules", &json!({ "allow": ["127.0.0.1"] })).await;
    assert_eq!(allowed.get("/").await.status, 200);
    // Nobody is believed who is no trusted proxy.
    assert_eq!(allowed.send(Request::get("/").header("x-forwarded-for", "192.0.2.7")).await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_client_who_counts() {
    let config = json!({ "allow": ["192.0.2.0/24"] });
    let plugins = format!("[{{ name: ip-rules, config: {config} }}]");
    let behind = Behind::with(&plugins, "trusted-proxies: [127.0.0.1]").await;
    for (client, status) in [("192.0.2.7", 200), ("198.51.100.7", 403), ("192.0.2.7, 198.51.100.7", 403)] {
        let response = behind.send(Request::get("/").header("x-forwarded-for", client)).await;
        assert_eq!(response.status, status, "{client}");
    }
    assert_eq!(behind.get("/").await.status, 403);
}
