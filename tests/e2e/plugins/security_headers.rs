//! Responses that tell browsers to be careful.

use serde_json::json;

use super::Behind;
use crate::support::{RawUpstream, TestGateway};

#[tokio::test]
async fn responses_get_the_defaults_as_changed_and_lose_what_tells_too_much() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 200 OK\r\nserver: secret/1\r\nx-powered-by: secret\r\nreferrer-policy: no-referrer\r\n\
          strict-transport-security: max-age=1\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let config = json!({ "set": { "x-frame-options": "SAMEORIGIN", "cross-origin-opener-policy": false } });
    let yaml = format!(
        "upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: security-headers, config: {config} }}], upstream: raw }}]",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let response = gateway.get("/").await;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "ok"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", ""),
        ("strict-transport-security", ""),
        ("server", ""),
        ("x-powered-by", ""),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn the_answer_of_a_later_plugin_has_them_too() {
    let deny = json!({ "deny": ["127.0.0.0/8"] });
    let plugins = format!("[{{ name: security-headers }}, {{ name: ip-rules, config: {deny} }}]");
    let response = Behind::with(&plugins, "").await.get("/").await;
    assert_eq!((response.status.as_u16(), response.header("x-content-type-options")), (403, "nosniff"));
}
