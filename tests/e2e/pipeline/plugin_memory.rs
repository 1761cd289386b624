//! The instances of all plugins share a limited memory. None takes what the others need, and one that finds none left fails the call and
//! nothing else.

use std::fs;

use tokio::task::JoinSet;

use super::passes;
use crate::support::{Client, Gate, Process, Response, TestGateway, client::Request, eventually, guests};

/// The least that can be configured, which is room for about ten instances.
const LIMIT: u64 = 16 << 20;
const CALLS: usize = 40;

fn yaml(gate: &Gate, settings: &str) -> String {
    let waits = |name: &str, timeout: u32| {
        format!(
            "  - {{ name: {name}, match: {{ path: /{name} }}, respond: {{ status: 204 }}, plugins: [{{ name: waiter, config: {{ do: call-upstream, upstream: gate, timeout-ms: {timeout} }} }}] }}\n"
        )
    };
    format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
limits: {{ plugin-memory: 16MiB }}
upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
plugins: {{ {} }}
routes:
  - {{ name: other, match: {{ path: /other }}, respond: {{ status: 204 }}, plugins: [{}] }}
{}{}",
        gate.address(),
        guests::waiter("upstreams: [gate]", settings),
        passes("other"),
        waits("many", 50_000),
        waits("few", 50_001),
    )
}

/// The value of a series without labels.
async fn figure(gateway: &TestGateway, name: &str) -> u64 {
    let page = gateway.metrics().await;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

fn send(requests: &mut JoinSet<Response>, gateway: &TestGateway, path: &'static str) {
    let address = gateway.address();
    requests.spawn(async move { Client::connect(address).await.send(Request::get(path)).await });
}

#[tokio::test]
async fn a_plugin_with_many_waiting_calls_leaves_memory_to_other_routes() {
    for settings in ["", "isolation: request"] {
        let gate = Gate::answering("done").await;
        let gateway = TestGateway::start_in(guests::folder(), &yaml(&gate, settings)).await;
        assert_eq!(gateway.get("/other").await.header("x-passed"), "other");
        let created =
            async |plugin| gateway.metric("gateway_wasm_instances_created_total", &[("plugin", plugin)]).await;
        let before = created("transform").await;
        let mut requests = JoinSet::new();
        for _ in 0..CALLS {
            send(&mut requests, &gateway, "/many");
        }
        // As many as have an instance reach the service; the others wait for one.
        let held = async || gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "waiter")]).await.unwrap();
        eventually("instances of the one", async || gate.waiting() > 1 && gate.waiting() as u64 == held().await).await;
        for _ in 0..5 {
            assert_eq!(gateway.get("/other").await.header("x-passed"), "other");
        }
        assert_eq!(created("transform").await, before, "its warm instance was not evicted");
        let first = held().await;
        assert!(first < 8, "{first} instances of one megabyte and more are more than half of 16 MiB");
        send(&mut requests, &gateway, "/few");
        eventually("an instance of another", async || held().await > first).await;
        let (used, limit) = (
            figure(&gateway, "gateway_wasm_memory_used_bytes").await,
            figure(&gateway, "gateway_wasm_memory_limit_bytes").await,
        );
        assert!(limit == LIMIT && used <= limit && used >= first << 20, "{used} of {limit}");
        gate.release(CALLS + 1);
        let responses = requests.join_all().await;
        assert!(responses.iter().all(|response| response.text() == "done"), "{:?}", responses[0].text());
        if settings.is_empty() {
            assert!(created("waiter").await < Some(CALLS as u64 / 2), "calls that waited got instances that came back");
        }
        eventually("instances of exchanges being gone", async || {
            figure(&gateway, "gateway_wasm_memory_used_bytes").await <= used
        })
        .await;
    }
}

#[tokio::test]
async fn idle_instances_of_any_plugin_give_their_memory_to_one_that_needs_it() {
    const ROUTES: usize = 30;
    let route = |route: usize| {
        let plugin = passes(&format!("p{route}"));
        format!(
            "  - {{ name: r{route}, match: {{ path: /r{route} }}, respond: {{ status: 204 }}, plugins: [{plugin}] }}\n"
        )
    };
    let gateway = TestGateway::start(&format!(
        "limits: {{ plugin-memory: 16MiB }}
routes:
{}",
        (0..ROUTES).map(route).collect::<String>()
    ))
    .await;
    for _ in 0..2 {
        for route in 0..ROUTES {
            let response = gateway.get(&format!("/r{route}")).await;
            assert_eq!(response.header("x-passed"), format!("p{route}"), "{}", response.text());
        }
    }
    assert!(gateway.metric("gateway_wasm_instances_evicted_total", &[]).await > Some(ROUTES as u64));
    assert!(figure(&gateway, "gateway_wasm_memory_used_bytes").await <= LIMIT);
}

#[tokio::test]
async fn a_call_that_finds_no_memory_left_fails_and_says_which_limit_was_reached() {
    let folder = guests::folder();
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
limits: {{ plugin-memory: 16MiB }}
{}plugins: {{ {} }}
routes:
  - {{ name: grows, match: {{ path: /grows }}, respond: {{ status: 204 }}, plugins: [{{ name: naughty, config: {{ do: grow, phase: request }} }}] }}
  - {{ name: other, match: {{ path: /other }}, respond: {{ status: 204 }}, plugins: [{}] }}
",
        guests::OWN,
        guests::naughty("limits: { memory: 64MiB, time: 10s }"),
        passes("other"),
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut gateway = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let address = gateway.addresses().await[0];
    for _ in 0..3 {
        let response = Client::connect(address).await.send(Request::get("/grows")).await;
        assert_eq!((response.status.as_u16(), &response.problem()["detail"]), (503, &"the gateway is too busy".into()));
        let other = Client::connect(address).await.send(Request::get("/other")).await;
        assert_eq!((other.status.as_u16(), other.header("x-passed")), (204, "other"));
    }
    let line = gateway.logged("there is no memory left for it").await;
    assert!(line.contains("of 16 MiB (`limits.plugin-memory`)") && line.contains("raise the limit"), "{line}");
}
