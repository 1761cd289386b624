//! One test for each defect that was found by reading; its name says what is right.

use crate::{
    basics::everything_to,
    support::{Client, TestGateway, Upstream, client::Request, upstream::full},
};

/// A gateway on which the guest `naughty` is on every route, with this configuration.
async fn with_naughty(upstream: std::net::SocketAddr, config: &str) -> TestGateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("naughty.wasm"), test_guests::NAUGHTY).expect("the folder takes files");
    std::fs::write(folder.path().join("own.txt"), "own").expect("the folder takes files");
    let yaml = format!(
        "secrets: {{ own: {{ file: own.txt }} }}
sinks: {{ own: {{ file: own.log }} }}
plugins:
  naughty: {{ component: naughty.wasm, grants: {{ store: [own], secrets: [own], sinks: [own] }} }}
global-plugins: [{{ name: naughty, config: {config} }}]
{}",
        everything_to(upstream)
    );
    TestGateway::start_in(folder, &yaml).await
}

#[tokio::test]
async fn whether_a_response_has_a_body_depends_on_the_clients_method_and_not_on_a_plugins() {
    let upstream = Upstream::serving(|_| async { http::Response::new(full("hello")) }).await;
    for (theirs, plugins, body) in [("GET", "HEAD", ""), ("HEAD", "GET", "")] {
        let gateway = with_naughty(upstream.address(), &format!("{{ do: method, with: {plugins} }}")).await;
        for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
            for _ in 0..2 {
                let response = client.send(Request::new(theirs.parse().unwrap(), "/")).await;
                assert_eq!((response.status.as_u16(), response.text().as_str()), (200, body), "{theirs}");
            }
        }
        let metrics = gateway.metrics().await;
        assert!(metrics.contains("gateway_failures_total{reason=\"client-closed\"} 0"), "{theirs}: {metrics}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_whole_when_its_time_is_over_is_the_clients_fault() {
    let upstream = Upstream::echo().await;
    let yaml = format!("timeouts: {{ request: 300ms }}\n{}", everything_to(upstream.address()));
    let gateway = TestGateway::start(&yaml).await;
    let half = gateway.raw(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(half.starts_with("HTTP/1.1 408 "), "{half}");
}
