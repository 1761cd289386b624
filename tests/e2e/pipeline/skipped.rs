//! A plugin that is skipped leaves nothing of the other side's in the headers that it sets or removes.

use super::{Piped, yaml};
use crate::support::{RawUpstream, TestGateway, client::Request, guests};

fn skipped(deed: &str, phase: &str) -> String {
    format!("{{ name: naughty, on-error: skip, config: {{ do: {deed}, phase: {phase} }} }}")
}

#[tokio::test]
async fn what_a_client_says_in_a_header_that_the_plugin_had_set_before_it_failed_is_gone() {
    for deed in ["edit-then-trap", "edit-then-err"] {
        let piped = Piped::through(&format!("[{}]", skipped(deed, "request"))).await;
        let response = piped.send(Request::get("/").header("x-out", "the client's").header("x-other", "1")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.upstream_saw("x-out").is_empty(), "{deed}");
        assert_eq!(response.upstream_saw("x-other"), ["1"]);
    }
}

#[tokio::test]
async fn what_an_upstream_says_in_such_a_header_is_gone_too() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 200 OK\r\nx-out: the upstream's\r\nx-other: 1\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let list = format!("[{}]", skipped("edit-then-trap", "response"));
    let yaml = yaml(&[("raw", upstream.address())], &list, "", "");
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let response = gateway.get("/").await;
    assert_eq!((response.status.as_u16(), response.header("x-out"), response.header("x-other")), (200, "", "1"));
}

#[tokio::test]
async fn what_a_plugin_has_a_list_of_edits_for_is_its_own_before_it_was_ever_called() {
    let piped = Piped::through(&format!("[{}]", skipped("declare-then-trap", "request"))).await;
    let response = piped.send(Request::get("/").header("x-out", "the client's").header("x-other", "1")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.upstream_saw("x-out").is_empty());
    assert_eq!(response.upstream_saw("x-other"), ["1"]);
}

#[tokio::test]
async fn what_a_plugin_has_set_once_is_its_own_when_it_fails_the_next_time() {
    let list = format!("[{}]", skipped("mark-or-trap", "request"));
    // One worker has seen both requests then.
    let upstream = crate::support::Upstream::echo().await;
    let yaml = yaml(&[("echo", upstream.address())], &list, "", "");
    let listeners = "workers: 1\nlisteners: [{ address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0' }\n";
    let gateway = TestGateway::start_in(guests::folder(), &format!("{listeners}{yaml}")).await;
    let request = || Request::get("/").header("x-out", "the client's");
    assert_eq!(gateway.send(request()).await.upstream_saw("x-out"), ["marked"]);
    let skipped = gateway.send(request().header("x-trap", "1")).await;
    assert_eq!(skipped.status, 200);
    assert!(skipped.upstream_saw("x-out").is_empty());
}

#[tokio::test]
async fn an_upstream_cannot_say_what_a_plugin_that_was_skipped_with_the_request_would_have_set() {
    let upstream =
        RawUpstream::answering(b"HTTP/1.1 200 OK\r\nx-out: the upstream's\r\ncontent-length: 2\r\n\r\nok").await;
    let list = format!("[{}]", skipped("declare-then-trap", "request"));
    let yaml = yaml(&[("raw", upstream.address())], &list, "", "");
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let response = gateway.get("/").await;
    assert_eq!((response.status.as_u16(), response.header("x-out")), (200, ""));
}
