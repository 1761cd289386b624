//! As many clients that wait as a service has on a bad day. What they cost is printed: `cargo test --workspace --test e2e -- crowds
//! --nocapture`.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::Response as Answer;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::passes;
use crate::support::{Client, Gate, Process, Upstream, client::Request, eventually, guests, in_time, upstream::full};

/// Requests of one HTTP/2 connection at a time.
const STREAMS: usize = 100;
/// Requests of the other route, one after the other.
const PROBES: usize = 50;

/// Two workers, a route `/crowd` with this plugin, and another one beside it.
async fn start(
    folder: &TempDir,
    upstream: SocketAddr,
    plugins: &str,
    crowd: &str,
) -> (Process, SocketAddr, SocketAddr) {
    let yaml = format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ service: {{ endpoints: ['http://{upstream}'] }} }}
{plugins}
routes:
  - {{ name: crowd, match: {{ path: /crowd }}, {crowd} }}
  - {{ name: other, match: {{ path: /other }}, respond: {{ status: 204 }}, plugins: [{}] }}
",
        passes("other")
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut gateway = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let (admin, address) = (gateway.admin().await, gateway.addresses().await[0]);
    (gateway, address, admin)
}

/// Starts clients that ask at the same time; each task ends with the number of those that got the text.
async fn crowd(address: SocketAddr, clients: usize, text: &'static str) -> JoinSet<usize> {
    let mut connections = JoinSet::new();
    for _ in 0..clients.div_ceil(STREAMS) {
        let client = Client::connect_http2(address).await;
        connections.spawn(async move {
            let mut requests = JoinSet::new();
            for _ in 0..STREAMS {
                let mut client = client.share();
                requests.spawn(async move { client.send(Request::get("/crowd")).await });
            }
            requests.join_all().await.iter().filter(|response| response.text() == text).count()
        });
    }
    connections
}

/// How long requests of the other route take: the median.
async fn other_route(address: SocketAddr) -> Duration {
    let mut client = Client::connect(address).await;
    let mut times = Vec::new();
    for _ in 0..PROBES {
        let began = Instant::now();
        let response = client.send(Request::get("/other")).await;
        assert_eq!((response.status.as_u16(), response.header("x-passed")), (204, "other"));
        times.push(began.elapsed());
    }
    times.sort();
    times[PROBES / 2]
}

/// The sum of a metric's samples that have this label.
async fn metric(admin: SocketAddr, name: &str, label: &str) -> u64 {
    let page = Client::connect(admin).await.send(Request::get("/metrics")).await.text();
    let samples = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn ten_thousand_clients_that_wait_for_one_cache_key_hold_no_instance() {
    const CLIENTS: usize = 10_000;
    let (gate, folder) = (Gate::answering("late").await, TempDir::new().unwrap());
    let route = "upstream: service, timeouts: { request: 10m }, plugins: [{ name: cache, config: { default-ttl: 10m, lock-timeout: 1m } }]";
    let (gateway, address, admin) = start(&folder, gate.address(), "", route).await;
    let (before, alone) = (gateway.memory("VmRSS"), other_route(address).await);
    let clients = crowd(address, CLIENTS, "late").await;
    // Each was called, and all but the one that asks the service wait.
    eventually("all clients waiting", async || {
        let label = "plugin=\"cache\",route=\"crowd\",phase=\"request\"";
        metric(admin, "gateway_wasm_calls_total", label).await >= CLIENTS as u64
    })
    .await;
    let beside = other_route(address).await;
    let instances = metric(admin, "gateway_wasm_instances{", "plugin=\"cache\"").await;
    assert!(instances <= 2, "{instances} instances on two workers");
    let held = gateway.memory("VmRSS").saturating_sub(before);
    assert_eq!(gate.waiting(), 1, "one request for all");
    gate.release(1);
    let served = in_time("all clients being served", clients.join_all()).await;
    assert_eq!(served.iter().sum::<usize>(), CLIENTS);
    println!(
        "{CLIENTS} clients waiting for one key: {} KiB each, {instances} instances of `cache`; another route takes {beside:?} \
         meanwhile, {alone:?} alone",
        held / 1024 / CLIENTS as u64
    );
}

#[tokio::test]
async fn a_thousand_clients_wait_for_a_plugin_that_waits_a_second_for_its_service() {
    const CLIENTS: usize = 1000;
    let service = Upstream::serving(|_| async {
        // The service that clients wait for.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Answer::new(full("done"))
    })
    .await;
    let plugins = format!("plugins: {{ {} }}", guests::waiter("upstreams: [service]", ""));
    let route =
        "respond: {}, plugins: [{ name: waiter, config: { do: call-upstream, upstream: service, timeout-ms: 60000 } }]";
    let (gateway, address, admin) = start(&guests::folder(), service.address(), &plugins, route).await;
    let (before, alone) = (gateway.memory("VmRSS"), other_route(address).await);
    let began = Instant::now();
    let clients = crowd(address, CLIENTS, "done").await;
    let some = async || metric(admin, "gateway_wasm_calls_in_progress", "plugin=\"waiter\"").await;
    eventually("calls waiting", async || some().await > 20).await;
    let beside = other_route(address).await;
    let served = in_time("all clients being served", clients.join_all()).await;
    let took = began.elapsed();
    assert_eq!(served.iter().sum::<usize>(), CLIENTS);
    let (most, used) = (gateway.memory("VmHWM"), metric(admin, "gateway_wasm_memory_used_bytes", "").await);
    println!(
        "{CLIENTS} clients waiting for a service that takes a second: served in {took:?}, {} KiB each, {} MiB accounted for; \
         another route takes {beside:?} meanwhile, {alone:?} alone",
        most.saturating_sub(before) / 1024 / CLIENTS as u64,
        used >> 20
    );
}
