//! Heads are edited by configuration, and no value can mean more than itself.

use serde_json::json;

use super::Behind;
use crate::support::{RawUpstream, TestGateway, client::Request};

#[tokio::test]
async fn request_headers_are_removed_renamed_set_and_appended_in_this_order() {
    let config = json!({ "request": {
        "remove-headers": ["x-debug"],
        "rename-headers": { "x-old": "x-new", "x-absent": "x-kept" },
        "set-headers": {
            "x-debug-was": "{header.x-debug}",
            "x-client": "{client.address}",
            "x-where": "{method} {path} {query} {route} {protocol}",
            "x-user": "{attribute.jwt.sub}",
            "x-plan": "{header.x-plan|free}",
        },
        "append-headers": { "x-tag": "second", "x-none": "{header.x-absent}" },
    } });
    let behind = Behind::plugin("transform", &config).await;
    let request = Request::get("/some/path?q=1")
        .header("x-debug", "on")
        .header("x-debug", "twice")
        .header("x-old", "1")
        .header("x-old", "2")
        .header("x-new", "gone")
        .header("x-kept", "kept")
        .header("x-user", "root")
        .header("x-tag", "first");
    let response = behind.send(request).await;
    let saw = |name| response.upstream_saw(name);
    assert!(saw("x-debug").is_empty() && saw("x-old").is_empty());
    assert_eq!(saw("x-new"), ["1", "2"]);
    assert_eq!(saw("x-kept"), ["kept"], "there was nothing to rename");
    assert_eq!(saw("x-debug-was"), ["on"], "values are computed before the first edit");
    assert_eq!(saw("x-client"), ["127.0.0.1"]);
    assert_eq!(saw("x-where"), ["GET /some/path q=1 all HTTP/1.1"]);
    assert!(saw("x-user").is_empty(), "a client cannot supply what the gateway vouches for");
    assert_eq!(saw("x-plan"), ["free"]);
    assert_eq!(saw("x-tag"), ["first", "second"]);
    assert!(saw("x-none").is_empty());
}

#[tokio::test]
async fn response_headers_are_edited() {
    let config = json!({ "response": {
        "remove-headers": ["server"],
        "rename-headers": { "x-internal-version": "x-version" },
        "set-headers": { "x-id": "{request.id}", "x-status": "{response.status}", "x-kind": "{response.header.content-type}" },
        "append-headers": { "set-cookie": "b=2" },
    } });
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 203 Fine\r\nserver: secret/1\r\nx-internal-version: 7\r\ncontent-type: text/plain\r\n\
          set-cookie: a=1\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let yaml = format!(
        "upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: transform, config: {config} }}], upstream: raw }}]",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let response = gateway.get("/").await;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (203, "ok"));
    assert_eq!(response.header("server"), "");
    assert_eq!((response.header("x-version"), response.header("x-internal-version")), ("7", ""));
    assert_eq!(response.header("x-id"), response.header("x-request-id"));
    assert_eq!((response.header("x-status"), response.header("x-kind")), ("203", "text/plain"));
    assert_eq!(response.header_values("set-cookie"), ["a=1", "b=2"]);
}

/// A route `/api/users/{id}` and its plugin.
async fn users(request: &serde_json::Value) -> (TestGateway, crate::support::Upstream) {
    let upstream = crate::support::Upstream::echo().await;
    let config = json!({ "request": request });
    let yaml = format!(
        "paths: {{ encoded-slashes: keep }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: user, match: {{ path: '/api/users/{{id}}' }}, plugins: [{{ name: transform, config: {config} }}], upstream: echo }}
  - {{ name: rest, match: {{ path: '/files/{{*rest}}' }}, plugins: [{{ name: transform, config: {config} }}], upstream: echo }}
",
        upstream.address()
    );
    (TestGateway::start(&yaml).await, upstream)
}

#[tokio::test]
async fn a_path_is_rewritten_with_what_it_captured_and_a_value_stays_one_segment() {
    let (gateway, upstream) = users(&json!({ "path": { "rewrite": "/v2/people/{path.id}/home" } })).await;
    let rewritten = async |target: &str| gateway.get(target).await.json()["target"].as_str().unwrap().to_owned();
    assert_eq!(rewritten("/api/users/7?x=1").await, "/v2/people/7/home?x=1");
    assert_eq!(rewritten("/api/users/a%20b%3Fc").await, "/v2/people/a%20b%3Fc/home");
    assert_eq!(rewritten("/api/users/a%2Fb").await, "/v2/people/a%2Fb/home");
    let before = upstream.requests();
    // Where a value is missing no request goes to a path that nobody meant.
    assert_eq!(gateway.get("/files/a/b").await.problem()["status"], 400);
    assert_eq!(upstream.requests(), before);
}

#[tokio::test]
async fn what_a_wildcard_captured_stays_as_it_stands_in_the_path() {
    let request = json!({
        "path": { "rewrite": "/v2/{path.*rest}" },
        "set-headers": { "x-raw": "{path.*rest}", "x-decoded": "{path.rest}" },
        "query": { "set": { "file": "{path.*rest}" } },
    });
    let (gateway, _upstream) = users(&request).await;
    let response = gateway.get("/files/a%2fb/c%20d%3Fe/%25").await;
    assert_eq!(response.json()["target"], "/v2/a%2Fb/c%20d%3Fe/%25?file=a%2Fb%2Fc%20d%3Fe%2F%25");
    assert_eq!(response.upstream_saw("x-raw"), ["a%2Fb/c%20d%3Fe/%25"]);
    assert_eq!(response.upstream_saw("x-decoded"), ["a/b/c d?e/%"]);
}

#[tokio::test]
async fn prefixes_are_whole_segments_and_query_parameters_are_edited_by_name() {
    let request = json!({
        "path": { "strip-prefix": "/api", "add-prefix": "/internal" },
        "query": { "remove": ["debug", "a b"], "rename": { "q": "search" }, "set": { "who": "{header.x-who}", "n": "{path.id}" } },
        "set-headers": { "x-original": "{original-target}" },
    });
    let (gateway, _upstream) = users(&request).await;
    let who = "a&admin=1";
    let target = "/api/users/7?debug=1&q=x&a%20b=2&who=me&who=root&keep";
    let response = gateway.send(Request::get(target).header("x-who", who)).await;
    assert_eq!(response.json()["target"], "/internal/users/7?search=x&keep&n=7&who=a%26admin%3D1");
    assert_eq!(response.upstream_saw("x-original"), [target]);
    let response = gateway.get("/files/x?who=root").await;
    assert_eq!(response.json()["target"], "/internal/files/x", "not under the prefix; no value, no parameter");
}

#[tokio::test]
async fn a_line_end_in_a_value_ends_no_line() {
    let (gateway, _upstream) = users(&json!({ "set-headers": { "x-name": "{query.name}" } })).await;
    let response = gateway.get("/api/users/7?name=ada%0d%0ax-admin:%20yes").await;
    assert_eq!(response.upstream_saw("x-name"), ["ada%0D%0Ax-admin: yes"]);
    assert!(response.upstream_saw("x-admin").is_empty());
}

#[tokio::test]
async fn a_query_with_a_backslash_is_edited_like_any_other() {
    let request = json!({ "query": { "remove": ["debug"] } });
    let (gateway, _upstream) = users(&request).await;
    let response = gateway.raw(b"GET /api/users/7?debug&a=\\b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains(r#""target":"/api/users/7?a=\\b""#), "{response}");
}
