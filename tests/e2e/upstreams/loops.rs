//! A gateway that is its own upstream: `check` says so, and requests do not go round for ever.

use super::{balanced, is_problem};
use crate::support::{
    Client, Process, TestGateway, Upstream, client::Request, counted::failed, free_address, process::run,
};

#[tokio::test]
async fn a_request_that_comes_back_to_the_gateway_is_stopped() {
    let address = free_address();
    let config = balanced(&[address], "").replace("127.0.0.1:0' }]\nadmin", &format!("{address}' }}]\nadmin"));
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.get("/").await, 508);
    failed(&gateway, "loop-detected", 1).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    is_problem(&client.send(Request::get("/")).await, 508);
}

#[tokio::test]
async fn a_loop_over_two_gateways_is_stopped_whatever_they_speak() {
    let (first, second) = (free_address(), free_address());
    let config = |own: std::net::SocketAddr, other| {
        let listens = format!("{own}' }}]\nadmin");
        balanced(&[other], "protocol: http2").replace("127.0.0.1:0' }]\nadmin", &listens)
    };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.yaml"), config(second, first)).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml", "--no-watch"]);
    process.addresses().await;
    let gateway = TestGateway::start(&config(first, second)).await;
    is_problem(&gateway.get("/").await, 508);
}

#[tokio::test]
async fn what_others_say_about_loops_is_passed_on_and_gateways_in_a_row_are_none() {
    let upstream = Upstream::echo().await;
    let inner = TestGateway::start(&balanced(&[upstream.address()], "")).await;
    let outer = TestGateway::start(&balanced(&[inner.address()], "")).await;
    let mut marks =
        outer.send(Request::get("/").header("cdn-loop", "cdn.example, other")).await.upstream_saw("cdn-loop");
    marks.sort();
    // Both gateways run in this process, which has one mark.
    assert_eq!((marks.len(), &*marks[0]), (3, "cdn.example, other"), "{marks:?}");
    assert!(marks[1].starts_with("gateway-") && marks[1] == marks[2], "{marks:?}");
}

#[tokio::test]
async fn check_warns_of_endpoints_that_are_the_gateway_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "listeners: [{ address: '0.0.0.0:18080' }]
admin: { address: '127.0.0.1:18081' }
upstreams:
  itself: { endpoints: ['http://localhost:18080'] }
  admin: { endpoints: ['http://127.0.0.1:18081'] }
  other: { endpoints: ['http://127.0.0.1:18082'] }
routes:
  - { name: itself, upstream: itself }
  - { name: admin, match: { path: /admin }, upstream: admin }
  - { name: other, match: { path: /other }, upstream: other }
";
    std::fs::write(folder.path().join("gateway.yaml"), config).expect("a file");
    let ended = run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for warning in
        ["warning: gateway.yaml:4:", "own listener `0.0.0.0:18080`", "warning: gateway.yaml:5:", "own admin listener"]
    {
        assert!(ended.stderr.contains(warning), "{warning}: {ended:?}");
    }
    assert!(!ended.stderr.contains("gateway.yaml:6:"), "{ended:?}");
}
