//! Endpoints given by name: every address is one, and they follow the name server.

use std::collections::HashMap;

use super::{answers, configured, is_problem};
use crate::support::{TestGateway, Upstream, counted::metric, dns::NameServer, eventually, upstream::full};

/// Two servers on one port, at two addresses of this machine.
async fn two_at_one_port() -> (Upstream, Upstream, u16) {
    loop {
        let first = Upstream::named("first").await;
        let port = first.address().port();
        let answer = |_| async { http::Response::new(full("second")) };
        if let Ok(second) = Upstream::serving_at(([127, 0, 0, 2], port).into(), answer).await {
            return (first, second, port);
        }
    }
}

fn named(port: u16, dns: &NameServer) -> String {
    let config = configured(&format!("'http://service.example:{port}'"), "");
    format!("{config}dns: {{ servers: ['{}'] }}\n", dns.address())
}

const FIT: &str = "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}";

#[tokio::test]
async fn every_address_of_a_name_is_an_endpoint() {
    let (_first, _second, port) = two_at_one_port().await;
    let dns = NameServer::start().await;
    dns.say("service.example", &["127.0.0.1", "127.0.0.2"], 300);
    let gateway = TestGateway::start(&named(port, &dns)).await;
    let both = [("first".to_owned(), 10), ("second".to_owned(), 10)];
    assert_eq!(answers(&gateway, 20).await, HashMap::from(both));
}

#[tokio::test]
async fn both_families_of_addresses_are_asked_for() {
    let dns = NameServer::start().await;
    dns.say("service.example", &["127.0.0.1", "::1"], 300);
    let gateway = TestGateway::start(&named(1, &dns)).await;
    assert_eq!(metric(&gateway, FIT).await, 2);
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_its_answer_has_grown_too_old() {
    let (_first, _second, port) = two_at_one_port().await;
    let dns = NameServer::start().await;
    dns.say("service.example", &["127.0.0.1"], 1);
    let gateway = TestGateway::start(&named(port, &dns)).await;
    assert_eq!(gateway.get("/").await.text(), "first");
    dns.say("service.example", &["127.0.0.2"], 1);
    eventually("requests follow the name", async || gateway.get("/").await.text() == "second").await;
    assert_eq!(answers(&gateway, 10).await, HashMap::from([("second".to_owned(), 10)]));
}

#[tokio::test]
async fn the_last_good_answer_is_kept() {
    let (_first, _second, port) = two_at_one_port().await;
    let dns = NameServer::start().await;
    dns.say("service.example", &["127.0.0.2"], 1);
    let mut gateway = TestGateway::start(&named(port, &dns)).await;
    dns.fail("service.example");
    let before = dns.queries();
    eventually("the name being looked up again", async || dns.queries() > before + 2).await;
    assert_eq!(gateway.get("/").await.text(), "second");
    // Also by a reload that changes the upstream.
    let changed =
        named(port, &dns).replace("] }, ", "], idle-connections: 3 }, ").replace("request: 5s", "request: 6s");
    gateway.reload(&changed).await.expect("a good configuration");
    assert_eq!(gateway.get("/").await.text(), "second");
}

#[tokio::test]
async fn without_any_answer_yet_there_is_no_endpoint() {
    let (_first, _second, port) = two_at_one_port().await;
    let dns = NameServer::start().await;
    let gateway = TestGateway::start(&named(port, &dns)).await;
    is_problem(&gateway.get("/").await, 503);
    dns.say("service.example", &["127.0.0.1"], 300);
    eventually("the name being known", async || gateway.get("/").await.status == 200).await;
}
