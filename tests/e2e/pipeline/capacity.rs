//! All plugins of the process together have a limited number of instances: idle ones make room for others, and what finds no
//! room waits.

use tokio::task::JoinSet;

use super::passes;
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, guests};

/// The least that can be configured.
const LIMIT: usize = 16;

/// The value of a sample without labels, or the sum over all labels.
async fn metric(gateway: &TestGateway, name: &str) -> u64 {
    let page = gateway.metrics().await;
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(' ') || rest.starts_with('{')).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    samples.sum()
}

/// So many routes on four workers, each with three plugins that are configured like no others.
fn routes(count: usize, upstream: &Upstream) -> String {
    let route = |route: usize| {
        let plugins: Vec<_> = (0..3).map(|plugin| passes(&format!("r{route}p{plugin}"))).collect();
        let plugins = plugins.join(", ");
        format!("  - {{ name: r{route}, match: {{ path: /r{route} }}, upstream: echo, plugins: [{plugins}] }}\n")
    };
    format!(
        "workers: 4
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
limits: {{ plugin-instances: {LIMIT} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes:
{}",
        upstream.address(),
        (0..count).map(route).collect::<String>()
    )
}

/// Each route twice, by several clients at a time.
async fn all_are_served(gateway: &TestGateway, count: usize) {
    for _ in 0..2 {
        let mut requests = JoinSet::new();
        for route in 0..count {
            let address = gateway.address();
            requests.spawn(async move {
                let response = Client::connect(address).await.send(Request::get(&format!("/r{route}"))).await;
                assert_eq!(response.status, 200, "{}", response.text());
                let last = format!("r{route}p0");
                assert!(
                    response.header_values("x-passed").contains(&&*last),
                    "{:?}",
                    response.header_values("x-passed")
                );
            });
        }
        requests.join_all().await;
    }
}

#[tokio::test]
async fn more_configured_plugins_than_instances_are_served_before_and_after_a_reload() {
    const MANY: usize = 20;
    let upstream = Upstream::echo().await;
    let mut gateway = TestGateway::start(&routes(MANY, &upstream)).await;
    all_are_served(&gateway, MANY).await;
    assert_eq!(metric(&gateway, "gateway_wasm_instance_limit").await, LIMIT as u64);
    assert!(metric(&gateway, "gateway_wasm_instances").await <= LIMIT as u64);
    assert!(metric(&gateway, "gateway_wasm_instances_evicted_total").await > 0);
    for count in [MANY + 5, 3] {
        gateway.reload(&routes(count, &upstream)).await.unwrap();
        all_are_served(&gateway, count).await;
    }
    assert_eq!(metric(&gateway, "gateway_wasm_failures_total").await, 0);
}

#[tokio::test]
async fn while_every_instance_is_busy_calls_wait_and_a_configuration_is_reloaded() {
    let gate = Gate::answering("done").await;
    // Each is configured like no other, so that none holds more than its share.
    let held = |route: usize| {
        let config = format!("{{ do: call-upstream, upstream: gate, timeout-ms: {} }}", 50_000 + route);
        format!(
            "  - {{ name: held{route}, match: {{ path: /held{route} }}, respond: {{ status: 204 }}, plugins: [{{ name: waiter, config: {config} }}] }}\n"
        )
    };
    let yaml = |name: &str| {
        format!(
            "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
limits: {{ plugin-instances: {LIMIT} }}
upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
plugins: {{ {} }}
routes:
  - {{ name: other, match: {{ path: /other }}, respond: {{ status: 204 }}, plugins: [{}] }}
{}",
            gate.address(),
            guests::waiter("upstreams: [gate]", "isolation: request"),
            passes(name),
            (0..LIMIT).map(held).collect::<String>(),
        )
    };
    let mut gateway = TestGateway::start_in(guests::folder(), &yaml("old")).await;
    let mut held = JoinSet::new();
    for route in 0..LIMIT {
        let (address, path) = (gateway.address(), format!("/held{route}"));
        held.spawn(async move { Client::connect(address).await.send(Request::get(&path)).await.text() });
    }
    gate.arrivals(LIMIT as u32).await;
    let address = gateway.address();
    let other = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/other")).await });
    gateway.reload(&yaml("new")).await.unwrap();
    assert!(!other.is_finished(), "there is no room");
    gate.release(LIMIT);
    assert!(held.join_all().await.iter().all(|text| text == "done"));
    let response = other.await.unwrap();
    assert_eq!((response.status.as_u16(), response.header_values("x-passed").len()), (204, 1));
    assert_eq!(gateway.get("/other").await.header("x-passed"), "new");
}

#[tokio::test]
async fn a_configuration_that_is_no_longer_in_force_keeps_no_idle_instances() {
    let gate = Gate::answering("done").await;
    let yaml = |plugin: &str| {
        format!(
            "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, upstream: gate, plugins: [{}] }}]
",
            gate.address(),
            passes(plugin)
        )
    };
    let mut gateway = TestGateway::start(&yaml("old")).await;
    let address = gateway.address();
    let going_on = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status });
    gate.arrivals(1).await;
    assert_eq!(metric(&gateway, "gateway_wasm_instances").await, 1);
    gateway.reload(&yaml("new")).await.unwrap();
    eventually("the old instance ends", async || metric(&gateway, "gateway_wasm_instances").await == 0).await;
    gate.release(1);
    assert_eq!(going_on.await.unwrap(), 200, "its response phase has another instance");
}

/// The configurations of the test below: `/late` holds no instance while its upstream is waited for, and has another phase after that.
fn drained(first: &Gate, second: &Gate, routes: &str) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ drain: 1h }}
limits: {{ plugin-instances: {LIMIT} }}
upstreams: {{ first: {{ endpoints: ['http://{}'] }}, second: {{ endpoints: ['http://{}'] }} }}
routes:
{routes}",
        first.address(),
        second.address(),
    )
}

#[tokio::test]
async fn a_worker_that_drains_gives_its_idle_instances_to_one_that_needs_them() {
    let (first, second) = (Gate::answering("late").await, Gate::answering("held").await);
    let before = format!(
        "  - {{ name: probe, match: {{ path: /probe }}, respond: {{ status: 204 }}, plugins: [{}] }}
  - {{ name: late, match: {{ path: /late }}, upstream: first, plugins: [{}] }}\n",
        passes("probe"),
        passes("late"),
    );
    let mut gateway = TestGateway::start(&drained(&first, &second, &before)).await;
    // Connections to different workers: each makes an instance of its own.
    let created = async |gateway: &TestGateway| metric(gateway, "gateway_wasm_instances_created_total").await;
    let mut one = Client::connect(gateway.address()).await;
    assert_eq!(one.send(Request::get("/probe")).await.status, 204);
    let known = created(&gateway).await;
    let mut other = loop {
        let mut other = Client::connect(gateway.address()).await;
        assert_eq!(other.send(Request::get("/probe")).await.status, 204);
        if created(&gateway).await > known {
            break other;
        }
    };
    let late = tokio::spawn(async move { other.send(Request::get("/late")).await });
    first.arrivals(1).await;
    let plugins: Vec<_> = (0..LIMIT).map(|plugin| passes(&format!("p{plugin}"))).collect();
    let after = format!(
        "  - {{ name: many, match: {{ path: /many }}, respond: {{ status: 204 }}, plugins: [{}] }}
  - {{ name: held, match: {{ path: /held }}, upstream: second }}\n",
        plugins.join(", "),
    );
    gateway.reload(&drained(&first, &second, &after)).await.unwrap();
    eventually("the old instances end", async || metric(&gateway, "gateway_wasm_instances").await == 0).await;
    assert_eq!(one.send(Request::get("/many")).await.status, 204);
    assert_eq!(metric(&gateway, "gateway_wasm_instances").await, LIMIT as u64, "one worker has all");
    let held = tokio::spawn(async move { one.send(Request::get("/held")).await });
    second.arrivals(1).await;

    let address = gateway.address();
    let drained = gateway.drain();
    eventually("the drain has begun", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    first.release(1);
    let response = late.await.unwrap();
    assert_eq!((response.status.as_u16(), response.header("x-passed")), (200, "late"));
    assert!(!held.is_finished(), "the other worker still drains");
    second.release(1);
    assert_eq!(held.await.unwrap().text(), "held");
    drained.await.unwrap();
}
