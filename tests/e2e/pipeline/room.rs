//! What clients and upstreams send takes no room away from plugins, so that neither can make one fail by sending much.

use serde_json::json;

use crate::support::{Client, RawUpstream, Response, TestGateway, client::Request};

/// An upstream that takes heads of any size, and a route to it with one plugin.
async fn behind(plugin: &str, more: &str) -> (TestGateway, RawUpstream) {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    let yaml = format!(
        "{more}
upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{plugin}], upstream: raw }}]",
        upstream.address()
    );
    (TestGateway::start(&yaml).await, upstream)
}

fn transform(request: &serde_json::Value, on_error: &str) -> String {
    format!("{{ name: transform, on-error: {on_error}, config: {{ request: {request} }} }}")
}

/// Over HTTP/1.1 and over HTTP/2.
async fn by_both(gateway: &TestGateway, request: impl Fn() -> Request) -> [Response; 2] {
    let address = gateway.address();
    let first = Client::connect(address).await.send(request()).await;
    [first, Client::connect_http2(address).await.send(request()).await]
}

/// With so many fields, of which one says who the client is.
fn many(fields: usize) -> Request {
    (1..fields).fold(Request::get("/").header("x-user", "admin"), |request, n| request.header(&format!("x-{n}"), "1"))
}

#[tokio::test]
async fn a_plugin_sets_its_headers_however_many_fields_a_client_sends() {
    let edits = json!({ "set-headers": {
        "x-user": "{attribute.jwt.sub}", "x-a": "{client.address}", "x-b": "b", "x-c": "c", "x-d": "d",
    } });
    for on_error in ["skip", "fail"] {
        let (gateway, upstream) = behind(&transform(&edits, on_error), "").await;
        // With `host`, as many as `limits.header-count` allows; HTTP/2 has it elsewhere.
        for response in by_both(&gateway, || many(99)).await {
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let seen = upstream.received();
        assert_eq!(seen.matches("x-98: 1\r\n").count(), 2);
        assert_eq!(seen.matches("x-d: d\r\n").count(), 2);
        assert!(!seen.contains("admin"), "{seen}");
        for response in by_both(&gateway, || many(101)).await {
            assert_eq!(response.status, 431);
        }
        assert_eq!(upstream.received(), seen, "what is over the limit reaches nobody");
    }
}

#[tokio::test]
async fn a_header_that_a_plugin_sets_or_removes_has_no_other_spelling() {
    let edits = json!({ "set-headers": { "x-user-id": "1" }, "remove-headers": ["x-admin-role"] });
    let (gateway, upstream) = behind(&transform(&edits, "fail"), "").await;
    let spelt = || {
        let request = Request::get("/").header("x_user_id", "admin").header("x-user_id", "admin");
        request.header("x_admin_role", "admin").header("x_other", "stays")
    };
    for response in by_both(&gateway, spelt).await {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let seen = upstream.received();
    assert!(!seen.contains("admin"), "{seen}");
    assert_eq!((seen.matches("x-user-id: 1").count(), seen.matches("x_other: stays").count()), (2, 2), "{seen}");
}

#[tokio::test]
async fn a_header_that_a_plugin_reads_has_no_other_spelling() {
    let edits = json!({ "set-headers": { "x-copy": "{header.x-tenant}", "x_kept": "{header.x-kept}" } });
    let (gateway, upstream) = behind(&transform(&edits, "fail"), "").await;
    let spelt = || {
        let request = Request::get("/").header("x-tenant", "1").header("x_tenant", "evil");
        request.header("x-kept", "2").header("x_other", "stays")
    };
    for response in by_both(&gateway, spelt).await {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let seen = upstream.received();
    assert!(!seen.contains("evil"), "{seen}");
    for line in ["x-tenant: 1", "x-copy: 1", "x_kept: 2", "x_other: stays"] {
        assert_eq!(seen.matches(line).count(), 2, "{line}: {seen}");
    }
}

#[tokio::test]
async fn a_plugin_sets_its_headers_however_long_a_clients_are() {
    let edits = json!({ "set-headers": { "x-user": "{attribute.jwt.sub}", "x-copy": "{header.x-long}" } });
    let (gateway, upstream) = behind(&transform(&edits, "skip"), "").await;
    let long = "l".repeat(60_000);
    let response = gateway.send(Request::get("/").header("x-user", "admin").header("x-long", &long)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = upstream.received();
    assert!(seen.contains(&format!("x-copy: {long}\r\n")) && !seen.contains("admin"));
}

#[tokio::test]
async fn a_request_that_would_become_too_large_is_refused_and_never_skipped_past_the_plugin() {
    let copies = "{header.x-long}".repeat(4);
    for (edits, status) in [
        (json!({ "set-headers": { "x-user": "nobody", "x-copies": copies } }), 431),
        (json!({ "set-headers": { "x-user": "nobody" }, "query": { "set": { "q": copies } } }), 414),
    ] {
        for on_error in ["skip", "fail"] {
            let (gateway, upstream) = behind(&transform(&edits, on_error), "").await;
            let request = || Request::get("/").header("x-user", "admin").header("x-long", &"l".repeat(50_000));
            for response in by_both(&gateway, request).await {
                assert_eq!(response.status.as_u16(), status, "{on_error}: {}", response.text());
                response.problem();
            }
            assert_eq!(upstream.received(), "", "{on_error}");
        }
    }
}

#[tokio::test]
async fn a_path_that_a_client_makes_long_is_rewritten_like_any_other() {
    let edits = json!({ "path": { "strip-prefix": "/api", "add-prefix": "/public/of/the/service" } });
    let (gateway, upstream) = behind(&transform(&edits, "skip"), "").await;
    let target = format!("/api/{}", "a".repeat(16_000));
    assert_eq!(gateway.get(&target).await.status, 200);
    assert!(upstream.received().starts_with("GET /public/of/the/service/aaa"), "{}", upstream.received());
}

#[tokio::test]
async fn a_request_from_which_no_path_can_be_made_is_refused_and_never_skipped_past_the_plugin() {
    let edits = json!({ "path": { "rewrite": "/tenants/{header.x-tenant}/" } });
    let (gateway, upstream) = behind(&transform(&edits, "skip"), "").await;
    for request in [Request::get("/admin"), Request::get("/admin").header("x-tenant", "..")] {
        let refused = gateway.send(request).await;
        assert_eq!(refused.status, 400);
        refused.problem();
    }
    assert_eq!(upstream.received(), "");
}

#[tokio::test]
async fn a_host_that_no_name_can_have_is_refused() {
    let (gateway, upstream) = behind(&transform(&json!({ "set-headers": { "x-a": "a" } }), "skip"), "").await;
    let host = "h".repeat(300);
    let refused = gateway.send(Request::get("/").header("host", &host)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(upstream.received(), "");
}

#[tokio::test]
async fn a_response_with_many_fields_gets_the_headers_of_plugins_like_any_other() {
    static RESPONSE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let fields: String = (1..97).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nserver: theirs\r\n{fields}content-length: 2\r\n\r\nok").into_bytes()
    });
    let upstream = RawUpstream::answering(&RESPONSE).await;
    let yaml = format!(
        "limits: {{ header-count: 20, header-bytes: 4KiB, uri-bytes: 1KiB }}
upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: all
    plugins:
      - {{ name: cors, config: {{ allow-origins: ['*'] }} }}
      - security-headers
      - {{ name: transform, config: {{ response: {{ set-headers: {{ x-status: '{{response.status}}' }} }} }} }}
    upstream: raw",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::get("/").header("origin", "https://a.example")).await;
    assert_eq!((response.status.as_u16(), response.header("x-96")), (200, "1"));
    assert_eq!(response.header("access-control-allow-origin"), "*");
    assert_eq!((response.header("x-frame-options"), response.header("server")), ("DENY", ""));
    assert_eq!(response.header("x-status"), "200");
}

#[tokio::test]
async fn a_preflight_that_asks_for_very_many_headers_is_answered() {
    let config = json!({ "allow-origins": ["*"], "allow-headers": ["*"], "allow-credentials": false });
    let (gateway, upstream) = behind(&format!("{{ name: cors, on-error: skip, config: {config} }}"), "").await;
    let asked = "x-header, ".repeat(6_500) + "x-last";
    let preflight = Request::new(http::Method::OPTIONS, "/")
        .header("origin", "https://a.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", &asked);
    assert_eq!(gateway.send(preflight).await.status, 204);
    assert_eq!(upstream.received(), "");
}

#[tokio::test]
async fn a_response_that_varies_by_a_long_header_passes_and_is_not_kept() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncache-control: max-age=60\r\nvary: x-long\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let yaml = format!(
        "upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [cache], upstream: raw }}]",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    for _ in 0..2 {
        let response = gateway.send(Request::get("/").header("x-long", &"l".repeat(30_000))).await;
        assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "ok"));
        assert!(response.header("cache-status").contains("fwd="), "{}", response.header("cache-status"));
    }
}
