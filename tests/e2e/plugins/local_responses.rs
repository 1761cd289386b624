//! Responses that the gateway makes itself have the headers of plugins like any other: a page could not read them otherwise.

use http::Method;
use serde_json::json;

use super::yaml;
use crate::support::{Client, Response, TestGateway, Upstream, client::Request, guests, token::Key};

const APP: &str = "https://app.example.com";

/// CORS and security headers, in the list of a route or among the global ones.
fn usual() -> String {
    format!("{{ name: cors, config: {} }}, security-headers", json!({ "allow-origins": [APP] }))
}

fn has_them(response: &Response, status: u16) {
    assert_eq!(response.status.as_u16(), status, "{}", response.text());
    assert_eq!(response.header("access-control-allow-origin"), APP, "{status}: {:?}", response.headers);
    assert_eq!(response.header("x-content-type-options"), "nosniff", "{status}");
}

async fn by_both(gateway: &TestGateway, request: impl Fn() -> Request) -> [Response; 2] {
    let address = gateway.address();
    let asked = || request().header("origin", APP);
    let first = Client::connect(address).await.send(asked()).await;
    [first, Client::connect_http2(address).await.send(asked()).await]
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_with_the_headers_of_plugins() {
    let upstream = Upstream::echo().await;
    let text = yaml(&upstream, &format!("[{}]", usual()), "limits: { body-bytes: 1KiB }");
    let gateway = TestGateway::start(&text).await;
    for response in by_both(&gateway, || Request::post("/", "x".repeat(2000))).await {
        has_them(&response, 413);
        response.problem();
    }
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\ncontent-length: 9999999\r\nexpect: 100-continue\r\n\r\n"
    );
    let answer = gateway.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "the body is not asked for: {answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn who_may_not_ask_does_not_learn_what_is_too_large() {
    let upstream = Upstream::echo().await;
    let key = Key::secret("a secret of the tests, longer than thirty-two bytes").config("k");
    let plugins = format!("[{}, {{ name: jwt, config: {} }}]", usual(), json!({ "keys": [key] }));
    let gateway = TestGateway::start(&yaml(&upstream, &plugins, "limits: { body-bytes: 1KiB }")).await;
    for response in by_both(&gateway, || Request::post("/", "x".repeat(2000))).await {
        has_them(&response, 401);
    }
}

#[tokio::test]
async fn a_plugin_that_fails_with_the_response_is_answered_for_with_the_headers_of_those_before_it() {
    let upstream = Upstream::echo().await;
    for deed in ["trap", "err"] {
        let fails = format!("{{ name: naughty, config: {{ do: {deed}, phase: response }} }}");
        // The second failure replaces the first one's answer, and is answered for the same way.
        let plugins = format!("[{}, {fails}, {fails}]", usual());
        let more = format!("{}plugins: {{ {} }}", guests::OWN, guests::naughty(""));
        let gateway = TestGateway::start_in(guests::folder(), &yaml(&upstream, &plugins, &more)).await;
        for response in by_both(&gateway, || Request::get("/")).await {
            has_them(&response, 500);
            response.problem();
        }
    }
}

/// Routes for two paths, one of which takes GET only.
fn routes(upstream: &Upstream, global: &str) -> String {
    format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
global-plugins: [{global}]
routes:
  - {{ name: got, match: {{ path: /got, methods: [GET] }}, upstream: echo }}
  - {{ name: any, match: {{ path: /any }}, upstream: echo }}
limits: {{ header-bytes: 8KiB, uri-bytes: 1KiB, header-count: 30 }}
",
        upstream.address()
    )
}

#[tokio::test]
async fn what_has_no_route_is_answered_with_the_headers_of_global_plugins() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&routes(&upstream, &usual())).await;
    for response in by_both(&gateway, || Request::get("/nothing")).await {
        has_them(&response, 404);
        response.problem();
    }
    for response in by_both(&gateway, || Request::new(Method::DELETE, "/got")).await {
        has_them(&response, 405);
        assert_eq!(response.header("allow"), "GET");
    }
    let preflight = || Request::new(Method::OPTIONS, "/got").header("access-control-request-method", "GET");
    for response in by_both(&gateway, preflight).await {
        assert_eq!((response.status.as_u16(), response.header("access-control-allow-origin")), (204, APP));
    }
    assert_eq!(upstream.requests(), 0);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_failures_total{reason=\"no-route\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_global_plugin_that_asks_who_the_client_is_asks_before_it_is_told_what_there_is() {
    let upstream = Upstream::echo().await;
    let key = Key::secret("a secret of the tests, longer than thirty-two bytes").config("k");
    let global = format!("{}, {{ name: jwt, config: {} }}", usual(), json!({ "keys": [key] }));
    let gateway = TestGateway::start(&routes(&upstream, &global)).await;
    for (method, path) in [(Method::GET, "/nothing"), (Method::DELETE, "/got"), (Method::GET, "/any")] {
        for response in by_both(&gateway, || Request::new(method.clone(), path)).await {
            has_them(&response, 401);
        }
    }
}

#[tokio::test]
async fn a_head_that_is_refused_is_answered_with_the_response_headers_of_global_plugins() {
    let upstream = Upstream::echo().await;
    let key = Key::secret("a secret of the tests, longer than thirty-two bytes").config("k");
    let edits = json!({ "response": { "set-headers": { "x-served-by": "gateway" } } });
    let global = format!(
        "{}, {{ name: transform, config: {edits} }}, {{ name: jwt, config: {} }}",
        usual(),
        json!({ "keys": [key] })
    );
    let gateway = TestGateway::start(&routes(&upstream, &global)).await;
    let long = "l".repeat(2000);
    let many = || (0..40).fold(Request::get("/any"), |request, n| request.header(&format!("x-{n}"), "1"));
    let cases: [(Box<dyn Fn() -> Request>, u16); 4] = [
        (Box::new(many), 431),
        (Box::new(|| Request::get(&format!("/any?{long}"))), 414),
        (Box::new(|| Request::get("/a/../../b")), 400),
        (Box::new(|| Request::get("/any").header("expect", "x")), 417),
    ];
    for (request, status) in cases {
        for response in by_both(&gateway, request).await {
            assert_eq!(response.status.as_u16(), status, "{}", response.text());
            assert_eq!(response.header("x-content-type-options"), "nosniff", "{status}");
            assert_eq!(response.header("x-served-by"), "gateway", "{status}");
            response.problem();
        }
    }
    assert_eq!(upstream.requests(), 0);
}
