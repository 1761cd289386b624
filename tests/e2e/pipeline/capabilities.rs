//! What plugins may touch beside the message, each over the real thing: store, metrics, secrets, sinks, upstreams.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt, task::JoinSet};

use super::{Piped, naughty, waiter, yaml};
use crate::support::{Client, Gate, RawUpstream, TestGateway, Upstream, client::Request, eventually, guests, nobody};

/// `naughty` doing a deed with something of this name.
fn with(deed: &str, name: &str) -> String {
    format!("[{{ name: naughty, config: {{ do: {deed}, with: {name} }} }}]")
}

#[tokio::test]
async fn the_store_is_one_for_all_workers_and_instances() {
    let piped = Piped::through(&with("store", "own")).await;
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let address = piped.gateway.address();
        requests
            .spawn(async move { Client::connect(address).await.send(Request::get("/")).await.upstream_saw("x-out") });
    }
    let mut sums: Vec<u32> = requests.join_all().await.into_iter().map(|seen| seen[0].parse().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_granted_is_denied_by_name() {
    for (deed, name) in [("store", "others"), ("secret", "others")] {
        let seen = Piped::through(&with(deed, name)).await.get("/").await.upstream_saw("x-out");
        assert!(seen[0].contains("denied") && seen[0].contains("others"), "{deed}: {seen:?}");
    }
}

#[tokio::test]
async fn a_granted_secret_is_read_without_its_line_end() {
    let seen = Piped::through(&with("secret", "own")).await.get("/").await.upstream_saw("x-out");
    assert_eq!(seen, ["whispered"]);
}

#[tokio::test]
async fn a_plugins_metrics_are_on_the_operators_page_with_its_name() {
    let piped = Piped::through(&format!("[{}]", naughty("metric", "request"))).await;
    for _ in 0..7 {
        assert_eq!(piped.get("/").await.status, 200);
    }
    let count = "gateway_plugin_naughty_deeds_total{plugin=\"naughty\",kind=\"metric\"}";
    assert_eq!(piped.metric(count).await, 7);
    assert_eq!(piped.metric("gateway_plugin_naughty_seconds_count{plugin=\"naughty\"}").await, 7);
    assert_eq!(
        piped.gateway.metric("gateway_wasm_calls_total", &[("plugin", "naughty"), ("phase", "request")]).await,
        Some(7)
    );
}

#[tokio::test]
async fn a_line_for_a_granted_sink_is_written_there() {
    let piped = Piped::through(&with("sink", "own")).await;
    for target in ["/one", "/two"] {
        piped.get(target).await;
    }
    let file = piped.gateway.folder().join("own.log");
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("both lines", async || text().lines().count() == 2).await;
    let mut lines: Vec<String> = text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["/one", "/two"]);
    piped.get("/three").await;
    eventually("the third line", async || text().ends_with("/three\n")).await;
    let denied = Piped::through(&with("sink", "others")).await;
    assert_eq!(denied.get("/one").await.status, 200, "`naughty` does not mind");
    assert_eq!(std::fs::read_to_string(denied.gateway.folder().join("own.log")).unwrap_or_default(), "");
}

#[tokio::test]
async fn a_granted_upstream_can_be_called_and_sees_a_request_of_the_plugins_own() {
    let piped = Piped::through(&format!("[{}]", waiter("call-upstream"))).await;
    let response = piped.send(Request::post("/client", "body").header("cookie", "secret")).await;
    let seen = response.json();
    assert_eq!((&seen["method"], &seen["target"]), (&"GET".into(), &"/from-plugin".into()));
    assert_eq!(response.upstream_saw("host"), [piped.upstream.address().to_string()]);
    assert!(response.upstream_saw("cookie").is_empty(), "nothing of the client's");
    assert_eq!(seen["body"], "");
}

#[tokio::test]
async fn an_upstream_that_is_not_granted_cannot_be_called() {
    let (granted, denied) = (Upstream::named("granted").await, Upstream::named("denied").await);
    let yaml = format!(
        "plugins: {{ {} }}
upstreams: {{ granted: {{ endpoints: ['http://{}'] }}, denied: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: a, match: {{ path: /a }}, upstream: denied, plugins: [{{ name: waiter, config: {{ do: call-upstream, upstream: granted }} }}] }}
  - {{ name: b, match: {{ path: /b }}, upstream: granted, plugins: [{{ name: waiter, config: {{ do: call-upstream, upstream: denied }} }}] }}
",
        guests::waiter("upstreams: [granted]", ""),
        granted.address(),
        denied.address(),
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    assert_eq!(gateway.get("/a").await.text(), "granted");
    let refused = gateway.get("/b").await;
    assert_eq!((refused.status.as_u16(), refused.text().as_str()), (599, "call denied: denied"));
    assert_eq!(denied.requests(), 0);
}

/// A gateway whose plugin calls this upstream, for so long.
async fn calling(address: SocketAddr, milliseconds: u32) -> TestGateway {
    let list =
        format!("[{{ name: waiter, config: {{ do: call-upstream, upstream: other, timeout-ms: {milliseconds} }} }}]");
    let yaml = yaml(&[("other", address)], &list, "", "limits: { buffer-bytes: 1KiB }");
    TestGateway::start_in(guests::folder(), &yaml).await
}

#[tokio::test]
async fn a_call_that_goes_wrong_is_told_to_the_plugin() {
    let gate = Gate::answering("never").await;
    let slow = calling(gate.address(), 100).await;
    assert_eq!(slow.get("/").await.text(), "call timed out");

    let nobody = nobody();
    let text = calling(nobody, 60_000).await.get("/").await.text();
    assert!(text.starts_with("upstream unreachable: "), "{text}");

    let large = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nthe beginning").await;
    let text = calling(large.address(), 60_000).await.get("/").await.text();
    assert_eq!(text, "the response to the call is too large");

    let broken = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        None
    })
    .await;
    let text = calling(broken.address(), 60_000).await.get("/").await.text();
    assert!(text.starts_with("upstream unreachable: "), "{text}");
}

#[tokio::test]
async fn calls_wait_beside_each_other() {
    let gate = Gate::answering("at last").await;
    let gateway = calling(gate.address(), 60_000).await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let address = gateway.address();
        requests.spawn(async move { Client::connect(address).await.send(Request::get("/")).await.text() });
    }
    // None of them ends before all of them wait.
    gate.arrivals(20).await;
    gate.release(20);
    assert!(requests.join_all().await.iter().all(|text| text == "at last"));
}
