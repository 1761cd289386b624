//! Which plugin sees what, in which order, and what comes of one that answers or fails.

use super::{Piped, naughty, passes, waiter, yaml};
use crate::support::{Client, TestGateway, Upstream, client::Request, guests};

#[tokio::test]
async fn requests_pass_in_the_order_of_the_list_and_responses_backwards_the_global_ones_outermost() {
    let (own, global) = (format!("[{}, {}]", passes("a"), passes("b")), format!("[{}]", passes("global")));
    let piped = Piped::with(&own, "", &format!("global-plugins: {global}")).await;
    let response = piped.get("/").await;
    assert_eq!(response.upstream_saw("x-passed"), ["global", "a", "b"]);
    assert_eq!(response.header_values("x-passed"), ["b", "a", "global"]);
}

#[tokio::test]
async fn who_answers_is_seen_by_the_stages_before_and_those_after_never_run() {
    for answering in ["{ name: naughty, config: { do: respond, with: enough } }".to_owned(), waiter("call-upstream")] {
        let list = format!("[{}, {}, {answering}, {}]", passes("a"), passes("b"), passes("never"));
        let piped = Piped::through(&list).await;
        let response = piped.get("/").await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header_values("x-passed"), ["b", "a"]);
        // The echo is not there for the request, but for the call that `waiter` made of its own.
        match answering.contains("waiter") {
            true => assert_eq!(response.json()["target"], "/from-plugin"),
            false => assert_eq!((response.text().as_str(), piped.upstream.requests()), ("enough", 0)),
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_read_does_not_disturb_the_next_request_of_its_connection() {
    let piped = Piped::through("[{ name: naughty, config: { do: respond, with: enough, when: x-deed } }]").await;
    let mut client = Client::connect(piped.gateway.address()).await;
    for _ in 0..3 {
        let answered = client.send(Request::post("/", "x".repeat(10_000)).header("x-deed", "1")).await;
        assert_eq!(answered.text(), "enough");
        let passed = client.send(Request::post("/next", "body")).await;
        assert_eq!(passed.json()["body"], "body");
    }
}

#[tokio::test]
async fn a_plugin_that_fails_answers_500_and_tells_the_client_nothing() {
    for deed in ["err", "trap", "panic", "edit-then-trap", "illegal-reply"] {
        let list = format!("[{}, {}, {}]", passes("a"), naughty(deed, "request"), passes("never"));
        let piped = Piped::through(&list).await;
        let response = piped.get("/").await;
        assert_eq!(response.status, 500, "{deed}");
        let problem = response.problem();
        assert_eq!(problem["detail"], "the request could not be processed", "{deed}");
        assert_eq!(response.header_values("x-passed"), ["a"], "{deed}: the stages before see the answer");
        assert!(!response.text().contains("purpose") && !response.text().contains("naughty"), "{}", response.text());
        assert_eq!(piped.upstream.requests(), 0, "{deed}");
    }
}

#[tokio::test]
async fn a_plugin_that_fails_on_the_way_back_answers_500_instead_of_the_upstream() {
    for deed in ["err", "trap", "edit-then-trap"] {
        let piped = Piped::through(&format!("[{}]", naughty(deed, "response"))).await;
        let response = piped.get("/secret-of-the-upstream").await;
        assert_eq!(response.status, 500, "{deed}");
        response.problem();
        assert!(!response.text().contains("secret"), "{deed}: {}", response.text());
        assert_eq!(response.header("x-out"), "");
        assert_eq!(piped.upstream.requests(), 1);
    }
}

#[tokio::test]
async fn a_plugin_that_is_skipped_leaves_no_trace() {
    for deed in ["edit-then-trap", "edit-then-err"] {
        let skipped = |phase| format!("{{ name: naughty, on-error: skip, config: {{ do: {deed}, phase: {phase} }} }}");
        let attribute =
            "{ name: transform, config: { request: { set-headers: { x-attribute: '{attribute.naughty|none}' } } } }";
        let list = format!("[{}, {}, {attribute}, {}]", passes("a"), skipped("request"), skipped("response"));
        let piped = Piped::through(&list).await;
        let response = piped.send(Request::post("/path?query", "body")).await;
        assert_eq!(response.status, 200, "{deed}: not the 418 that it had set");
        assert_eq!(response.json()["target"], "/path?query");
        assert_eq!(response.json()["body"], "body");
        assert!(response.upstream_saw("x-out").is_empty());
        assert_eq!(response.upstream_saw("x-attribute"), ["none"]);
        assert_eq!(response.header_values("x-passed"), ["a"], "what others did stays");
        assert_eq!(response.header("x-out"), "");
    }
}

#[tokio::test]
async fn a_failing_observer_is_nobodys_trouble() {
    let piped = Piped::through(&format!("[{}, {}]", naughty("trap", "complete"), passes("a"))).await;
    let mut client = Client::connect(piped.gateway.address()).await;
    for _ in 0..5 {
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    assert_eq!(
        piped.gateway.metric("gateway_wasm_failures_total", &[("plugin", "naughty"), ("kind", "trap")]).await,
        Some(5)
    );
}

#[tokio::test]
async fn the_list_of_a_reload_is_in_force_with_the_next_request() {
    let upstream = Upstream::echo().await;
    let lists = [vec!["a"], vec!["b", "a"], vec![], vec!["c"]];
    let yaml = |names: &[&str]| {
        let list: Vec<String> = names.iter().map(|name| passes(name)).collect();
        yaml(&[("echo", upstream.address())], &format!("[{}]", list.join(", ")), "", "")
    };
    let mut gateway = TestGateway::start_in(guests::folder(), &yaml(&lists[0])).await;
    let mut client = Client::connect(gateway.address()).await;
    for names in &lists {
        gateway.reload(&yaml(names)).await.unwrap();
        assert_eq!(client.send(Request::get("/")).await.upstream_saw("x-passed"), *names);
    }
}

#[tokio::test]
async fn a_status_that_a_plugin_set_has_the_body_that_goes_with_it() {
    for (status, body) in [("204", false), ("304", false), ("599", true)] {
        let list = format!("[{{ name: naughty, config: {{ do: status, phase: response, with: '{status}' }} }}]");
        let piped = Piped::through(&list).await;
        let address = piped.gateway.address();
        for mut client in [Client::connect(address).await, Client::connect_http2(address).await] {
            for _ in 0..2 {
                let response = client.send(Request::get("/")).await;
                assert_eq!(response.status.as_str(), status);
                assert_eq!(!response.body.is_empty(), body, "{status}: {}", response.text());
                assert!(status != "204" || response.header("content-length").is_empty());
            }
        }
    }
}
