//! What an operator sees: why it does not start, whether it is well, what it counts.

use std::{fs, net::TcpListener};

use tempfile::TempDir;

use super::{Running, free_address, to};
use crate::support::{Client, TestGateway, Upstream, client::Request, process::run};

#[tokio::test]
async fn a_port_in_use_is_said_clearly_and_exits_with_1() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&to(upstream.address())).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    for taken in [gateway.address, other.local_addr().unwrap()] {
        let config = to(upstream.address())
            .replace("listeners: [{ address: '127.0.0.1:0' }]", &format!("listeners: [{{ address: '{taken}' }}]"));
        fs::write(folder.path().join("gateway.yaml"), config).unwrap();
        let ended = run(folder.path(), ["run", "-c", "gateway.yaml"]).await;
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let expected = format!("cannot listen on {taken}: another process listens there");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    }
    assert_eq!(gateway.client().await.send(Request::get("/")).await.status, 200, "the first one is undisturbed");
}

#[tokio::test]
async fn a_broken_file_at_start_exits_with_3() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("gateway.yaml"), "listeners: 5\n").unwrap();
    let ended = run(folder.path(), ["run", "-c", "gateway.yaml"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("gateway.yaml:1:"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_operators_listener_has_health_and_metrics_for_everyone() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&to(upstream.address())).await;
    let mut admin = Client::connect(gateway.admin()).await;
    assert_eq!(admin.send(Request::get("/healthz")).await.status, 200);
    assert_eq!(admin.send(Request::get("/readyz")).await.status, 200);
    let head = admin.send(Request::new(http::Method::HEAD, "/healthz")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(admin.send(Request::get("/nothing")).await.status, 404);
    let posted = admin.send(Request::post("/healthz", "")).await;
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET,HEAD"));
    assert_eq!(admin.send(Request::get("/metrics")).await.status, 200);
    // And none of it is on the clients' side.
    assert_eq!(gateway.get("/metrics").await.json()["target"], "/metrics");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let upstream = Upstream::echo().await;
    let gone = free_address();
    let gateway = TestGateway::start(&format!(
        "upstreams:
  echo: {{ endpoints: ['http://{}'] }}
  gone: {{ endpoints: ['http://{gone}'] }}
routes:
  - {{ name: users, match: {{ path: '/users/{{id}}', methods: [GET, POST] }}, upstream: echo }}
  - {{ name: broken, match: {{ path: /broken }}, upstream: gone }}
",
        upstream.address()
    ))
    .await;
    let mut client = Client::connect(gateway.address()).await;
    for target in ["/users/1", "/users/2", "/users/3", "/broken", "/nowhere"] {
        client.send(Request::get(target)).await;
    }
    client.send(Request::post("/users/4", "x")).await;
    client.send(Request::new("BREW".parse().unwrap(), "/users/4")).await;
    let metrics = gateway.metrics().await;
    for line in [
        "gateway_requests_total{route=\"users\",method=\"GET\",status_class=\"2xx\",code=\"200\"} 3",
        "gateway_requests_total{route=\"users\",method=\"POST\",status_class=\"2xx\",code=\"200\"} 1",
        "gateway_requests_total{route=\"broken\",method=\"GET\",status_class=\"5xx\",code=\"502\"} 1",
        "gateway_requests_total{route=\"\",method=\"GET\",status_class=\"4xx\",code=\"404\"} 1",
        "gateway_requests_total{route=\"\",method=\"other\",status_class=\"4xx\",code=\"405\"} 1",
        "gateway_failures_total{reason=\"upstream-unreachable\"} 1",
        "gateway_failures_total{reason=\"no-route\"} 1",
        "gateway_failures_total{reason=\"method-not-allowed\"} 1",
        "gateway_request_duration_seconds_count{route=\"users\"} 4",
        "gateway_upstream_requests_total{upstream=\"echo\",status_class=\"2xx\"} 4",
        "gateway_upstream_connects_total{upstream=\"echo\",result=\"ok\"} 1",
        "gateway_upstream_connects_total{upstream=\"gone\",result=\"error\"} 1",
        "gateway_upstream_connections{upstream=\"echo\"} 1",
        "gateway_connections 1",
        "gateway_connections_accepted_total 1",
        "gateway_config_last_reload_successful 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("nowhere") && !metrics.contains("BREW"), "labels of the client's choice");
}
