//! Pages of the origins that are let in may use an API, and no others.

use http::Method;
use serde_json::json;

use super::Behind;
use crate::support::{RawUpstream, Response, TestGateway, Upstream, client::Request, nobody, upstream::full};

const APP: &str = "https://app.example.com";

fn preflight(origin: &str) -> Request {
    Request::new(Method::OPTIONS, "/").header("origin", origin).header("access-control-request-method", "PUT")
}

/// The names of the CORS fields of a response.
fn cors_fields(response: &Response) -> Vec<&str> {
    let names = response.headers.keys().map(|name| name.as_str());
    names.filter_map(|name| name.strip_prefix("access-control-")).collect()
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway() {
    let config = json!({
        "allow-origins": ["https://*.example.com"], "allow-methods": ["PUT"], "allow-headers": ["*"],
        "allow-credentials": true, "max-age": "1h",
    });
    let behind = Behind::plugin("cors", &config).await;
    let response = behind.send(preflight(APP).header("access-control-request-headers", "x-a, authorization")).await;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (204, ""));
    assert_eq!(response.header("access-control-allow-origin"), APP);
    assert_eq!(response.header("access-control-allow-methods"), "PUT");
    assert_eq!(response.header("access-control-allow-headers"), "x-a, authorization");
    assert_eq!(response.header("access-control-allow-credentials"), "true");
    assert_eq!(response.header("access-control-max-age"), "3600");
    assert!(response.header("vary").starts_with("Origin, "));

    let response = behind.send(preflight("https://example.com.evil.test")).await;
    assert_eq!(response.status, 204);
    assert!(cors_fields(&response).is_empty(), "{:?}", response.headers);
    assert_eq!(behind.upstream.requests(), 0);
    let metrics = behind.gateway.metrics().await;
    for outcome in ["allowed", "denied"] {
        let line =
            format!("gateway_plugin_cors_preflights_total{{plugin=\"cors\",result=\"{outcome}\",route=\"all\"}} 1");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn the_upstreams_own_fields_are_replaced_and_others_learn_nothing() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 200 OK\r\nconnection: close\r\naccess-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n\
          access-control-expose-headers: x-internal\r\nvary: accept\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let config = json!({ "allow-origins": [APP], "expose-headers": ["etag"] });
    // The origin is known in the response phase although a plugin has taken it away from the upstream.
    let yaml = format!(
        "upstreams: {{ raw: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: all
    plugins:
      - {{ name: cors, config: {config} }}
      - {{ name: transform, config: {{ request: {{ remove-headers: [origin] }} }} }}
    upstream: raw",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let response = gateway.send(Request::get("/").header("origin", APP)).await;
    assert_eq!(response.header_values("access-control-allow-origin"), [APP]);
    assert_eq!(response.header_values("access-control-expose-headers"), ["etag"]);
    assert_eq!(response.header("access-control-allow-credentials"), "");
    assert_eq!(response.header_values("vary"), ["accept", "Origin"]);
    for stranger in [Request::get("/").header("origin", "https://evil.test"), Request::get("/")] {
        let response = gateway.send(stranger).await;
        assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "ok"));
        assert!(cors_fields(&response).is_empty(), "{:?}", response.headers);
        assert_eq!(response.header_values("vary"), ["accept", "Origin"]);
    }
}

#[tokio::test]
async fn a_page_can_read_the_refusal_of_a_later_plugin() {
    let cors = json!({ "allow-origins": [APP] });
    let limit = json!({ "limit": 1, "per": "1h" });
    let plugins = format!("[{{ name: cors, config: {cors} }}, {{ name: rate-limit, config: {limit} }}]");
    let behind = Behind::with(&plugins, "").await;
    for status in [200, 429] {
        let response = behind.send(Request::get("/").header("origin", APP)).await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), APP);
        // Preflights stand before the limit, and cost nothing.
        assert_eq!(behind.send(preflight(APP)).await.status, 204);
    }
}

#[tokio::test]
async fn whatever_response_comes_back_has_what_was_said_with_its_own_request() {
    let upstream = Upstream::serving(|_| async {
        let response = http::Response::builder().header("cache-control", "max-age=60").header("server", "theirs");
        response.body(full("ok")).expect("a response")
    })
    .await;
    let config = json!({ "allow-origins": ["https://*.example.com"] });
    let yaml = format!(
        "upstreams:
  up: {{ endpoints: ['http://{}'] }}
  nobody: {{ endpoints: ['http://{}'] }}
global-plugins:
  - {{ name: cors, config: {config} }}
  - {{ name: request-id, config: {{ header: x-correlation-id }} }}
routes:
  - {{ name: kept, plugins: [{{ name: cache }}], upstream: up }}
  - {{ name: nobody, match: {{ path: /nobody }}, upstream: nobody }}
",
        upstream.address(),
        nobody()
    );
    let gateway = TestGateway::start(&yaml).await;
    let asked = async |target, page| gateway.send(Request::get(target).header("origin", page)).await;
    let (page, other) = ("https://a.example.com", "https://b.example.com");
    let responses = [asked("/", page).await, asked("/", other).await, asked("/nobody", other).await];
    for (response, page) in responses.iter().zip([page, other, other]) {
        assert_eq!(response.header_values("access-control-allow-origin"), [page], "{:?}", response.headers);
        assert_eq!(response.header_values("vary"), ["Origin"]);
        assert_eq!(response.header_values("x-correlation-id").len(), 1);
    }
    let [first, hit, failed] = responses;
    assert_eq!(upstream.requests(), 1);
    assert!(hit.header("cache-status").contains("hit"), "{:?}", hit.headers);
    assert_eq!(failed.status, 502);
    assert_ne!(first.header("x-correlation-id"), hit.header("x-correlation-id"));
}
