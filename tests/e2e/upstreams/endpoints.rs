//! Several endpoints: whose turn it is, and who stands in for whom.

use std::collections::HashMap;

use super::{answers, balanced, configured, is_problem};
use crate::support::nobody;
use crate::support::{TestGateway, Upstream, client::Request, counted::failed, strict::StrictUpstream};

#[tokio::test]
async fn endpoints_take_turns_by_their_weights() {
    let (a, b, c) = (Upstream::named("a").await, Upstream::named("b").await, Upstream::named("c").await);
    let endpoints = format!(
        "'http://{}', {{ url: 'http://{}', weight: 2 }}, {{ url: 'http://{}', weight: 3 }}",
        a.address(),
        b.address(),
        c.address()
    );
    let gateway = TestGateway::start(&configured(&endpoints, "")).await;
    let expected = [("a", 10), ("b", 20), ("c", 30)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(answers(&gateway, 60).await, HashMap::from(expected));
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let alive = Upstream::named("alive").await;
    let gateway = TestGateway::start(&balanced(&[nobody(), alive.address(), nobody()], "")).await;
    assert_eq!(answers(&gateway, 30).await, HashMap::from([("alive".to_owned(), 30)]));
    assert_eq!(gateway.send(Request::post("/", "a body that is not lost")).await.text(), "alive");
}

#[tokio::test]
async fn an_endpoint_gets_its_own_name_also_when_it_stands_in_for_another() {
    let alive = StrictUpstream::start().await;
    let config = balanced(&[nobody(), alive.address()], "host: endpoint");
    let gateway = TestGateway::start(&config).await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    for request in alive.take_seen() {
        assert_eq!(request.expect("a request").value("host"), alive.address().to_string());
    }
}

#[tokio::test]
async fn all_endpoints_down_is_a_bad_gateway() {
    let gateway = TestGateway::start(&balanced(&[nobody(), nobody()], "")).await;
    is_problem(&gateway.get("/").await, 502);
    failed(&gateway, "upstream-unreachable", 1).await;
}

#[tokio::test]
async fn the_host_is_the_clients_or_the_endpoints() {
    for (setting, is_clients) in [("host: preserve", true), ("host: endpoint", false)] {
        let upstream = StrictUpstream::start().await;
        let gateway = TestGateway::start(&balanced(&[upstream.address()], setting)).await;
        gateway.send(Request::get("/").header("host", "www.example:8080")).await;
        let request = upstream.take_seen().remove(0).expect("a request");
        let expected = if is_clients { "www.example:8080".to_owned() } else { upstream.address().to_string() };
        assert_eq!(request.value("host"), expected);
        assert_eq!(request.value("x-forwarded-host"), "www.example:8080");
    }
}
