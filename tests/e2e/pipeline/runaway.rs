//! A plugin that runs into its time limit again and again takes little time from others, and is not called for a while.

use serde_json::{Value, json};

use crate::support::{Client, TestGateway, Upstream, client::Request, eventually, guests};

/// Other requests that have to be answered while a plugin holds a worker as long as it can.
const OTHERS: usize = 10;

/// One worker with `/bad`, on which a plugin runs, and `/good`, on which none does.
async fn start(guest: &str, config: &Value, time: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let limits = format!("limits: {{ time: {time} }}");
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
{own}plugins:
  {naughty}
  {waiter}
upstreams: {{ echo: {{ endpoints: ['http://{address}'] }} }}
routes:
  - {{ name: good, match: {{ path: /good }}, upstream: echo }}
  - {{ name: bad, match: {{ path: /bad }}, upstream: echo, plugins: [{{ name: {guest}, config: {config} }}] }}
",
        own = guests::OWN,
        naughty = guests::naughty(&limits),
        waiter = guests::waiter("upstreams: [echo]", &limits),
        address = upstream.address(),
    );
    (TestGateway::start_in(guests::folder(), &yaml).await, upstream)
}

async fn failures(gateway: &TestGateway, kind: &str) -> u64 {
    gateway.metric("gateway_wasm_failures_total", &[("route", "bad"), ("kind", kind)]).await.unwrap_or_default()
}

/// Requests to `/good` that are answered while one to `/bad` is under way.
async fn others_meanwhile(gateway: &TestGateway) -> usize {
    let mut other = Client::connect(gateway.address()).await;
    let mut bad = Client::connect(gateway.address()).await;
    let bad = tokio::spawn(async move { bad.send(Request::get("/bad")).await });
    let mut answered = 0;
    while !bad.is_finished() {
        assert_eq!(other.send(Request::get("/good")).await.status, 200);
        answered += 1;
    }
    answered
}

#[tokio::test]
async fn after_its_first_time_out_an_endless_loop_leaves_the_worker_to_others() {
    for guest in ["naughty", "waiter"] {
        let (gateway, _upstream) = start(guest, &json!({ "do": "loop" }), "500ms").await;
        assert_eq!(gateway.get("/bad").await.status, 500);
        let answered = others_meanwhile(&gateway).await;
        assert_eq!(failures(&gateway, "timeout").await, 2);
        assert!(answered >= OTHERS, "{guest}: {answered}");
    }
}

#[tokio::test]
async fn a_plugin_that_times_out_again_and_again_is_not_called_for_a_while() {
    let (gateway, _upstream) = start("naughty", &json!({ "do": "loop" }), "20ms").await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/bad").await.status, 500);
    }
    // A second later it is called once more, which fails.
    eventually("the circuit is open", async || {
        let response = gateway.get("/bad").await;
        response.problem();
        response.status == 503
    })
    .await;
    assert!(failures(&gateway, "circuit-open").await > 0);
    let opened = gateway.metric("gateway_wasm_circuit_opened_total", &[("plugin", "naughty")]).await;
    assert_eq!(opened, Some(1));
    let page = gateway.metrics().await;
    assert!(page.contains("gateway_failures_total{reason=\"plugin-circuit-open\"}"), "{page}");
}

#[tokio::test]
async fn a_plugin_that_is_well_again_is_called_again() {
    let config = json!({ "do": "loop", "when": "x-deed" });
    let (gateway, _upstream) = start("naughty", &config, "20ms").await;
    for _ in 0..3 {
        gateway.send(Request::get("/bad").header("x-deed", "1")).await;
    }
    let opened = gateway.metric("gateway_wasm_circuit_opened_total", &[("plugin", "naughty")]).await;
    assert_eq!(opened, Some(1));
    eventually("the circuit closes", async || gateway.get("/bad").await.status == 200).await;
    assert_eq!(gateway.metric("gateway_wasm_circuit_open", &[("plugin", "naughty")]).await, Some(0));
}

#[tokio::test]
async fn an_instance_that_takes_long_to_configure_leaves_the_worker_to_others() {
    let config = json!({ "do": "spin", "phase": "configure", "with": "200" });
    let (gateway, _upstream) = start("naughty", &config, "10s").await;
    let answered = others_meanwhile(&gateway).await;
    assert_eq!(gateway.metric("gateway_wasm_instances_created_total", &[("plugin", "naughty")]).await, Some(1));
    assert!(answered >= OTHERS, "{answered}");
}

#[tokio::test]
async fn an_endless_loop_in_the_completion_leaves_the_worker_to_others() {
    let config = json!({ "do": "loop", "phase": "complete" });
    let (gateway, _upstream) = start("naughty", &config, "500ms").await;
    // Clients have their responses before it begins.
    for times in 1..=2 {
        assert_eq!(gateway.get("/bad").await.status, 200);
        if times == 1 {
            eventually("the first time-out", async || failures(&gateway, "timeout").await == 1).await;
        }
    }
    // The second call leaves room for others, for as long as it takes.
    let mut other = Client::connect(gateway.address()).await;
    let mut answered = 0;
    while failures(&gateway, "timeout").await < 2 {
        assert_eq!(other.send(Request::get("/good")).await.status, 200);
        answered += 1;
    }
    assert!(answered >= OTHERS, "{answered}");
    // After three in a row it is not called for a while, and requests are served all the same.
    assert_eq!(gateway.get("/bad").await.status, 200);
    eventually("the circuit is open", async || {
        gateway.get("/bad").await.status == 200 && failures(&gateway, "circuit-open").await > 0
    })
    .await;
}
