//! A request through a gateway without plugins.

use crate::support::{Client, TestGateway, Upstream, client::Request};

/// Everything to one upstream.
pub fn everything_to(upstream: std::net::SocketAddr) -> String {
    format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
"
    )
}

#[tokio::test]
async fn a_request_reaches_the_upstream_and_its_response_comes_back() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let response = gateway.send(Request::post("/some/path?a=b", "hello").header("x-mine", "1")).await;
    assert_eq!(response.status, 200);
    let seen = response.json();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["target"], "/some/path?a=b");
    assert_eq!(seen["body"], "hello");
    assert!(seen["headers"].as_array().unwrap().contains(&serde_json::json!(["x-mine", "1"])));
}

#[tokio::test]
async fn connections_to_the_upstream_are_used_again() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..20 {
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_understood_on_the_same_port() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::post("/x", "over http2")).await;
    assert_eq!(response.version, http::Version::HTTP_2);
    assert_eq!(response.json()["body"], "over http2");
}
