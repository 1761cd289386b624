//! Timers of plugins: one call per process at a time, for as long as a route uses the plugin.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::Response;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener, sync::Semaphore};

use crate::support::{
    Gate, TestGateway, Upstream, eventually, guests,
    process::{Process, run},
    redis::Redis,
    upstream::full,
};

/// An upstream that timers call. It answers with the number of the request, and `/slow` only when it is released.
struct Called {
    upstream: Upstream,
    seen: Arc<Mutex<Vec<(String, Instant)>>>,
    released: Arc<Semaphore>,
}

impl Called {
    async fn start() -> Self {
        let seen = Arc::<Mutex<Vec<(String, Instant)>>>::default();
        let (released, number) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
        let shared = (seen.clone(), released.clone());
        let upstream = Upstream::serving(move |request| {
            let (seen, released) = shared.clone();
            let number = number.fetch_add(1, SeqCst) + 1;
            async move {
                let path = request.uri().path().to_owned();
                seen.lock().expect("no panic").push((path.clone(), Instant::now()));
                if path == "/slow" {
                    released.acquire().await.expect("never closed").forget();
                }
                Response::new(full(number.to_string()))
            }
        })
        .await;
        Self { upstream, seen, released }
    }

    fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// When the timer of this name called.
    fn calls(&self, timer: &str) -> Vec<Instant> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|(path, _)| path[1..] == *timer).map(|(_, at)| *at).collect()
    }

    async fn called(&self, timer: &str, times: usize) {
        eventually("calls of the timer", async || self.calls(timer).len() >= times).await;
    }
}

/// A use of the plugin with these timers, each with its interval in milliseconds.
fn ticking(name: &str, timers: &[(&str, u64)], config: &str) -> String {
    let timers = timers.iter().map(|(name, interval)| format!("{{ name: {name}, interval-ms: {interval} }}"));
    let timers = timers.collect::<Vec<_>>().join(", ");
    format!("{{ name: {name}, config: {{ timers: [{timers}], upstream: service{config} }} }}")
}

/// The plugin under two names, with an upstream to call.
fn definitions(service: SocketAddr) -> String {
    let plugin = "{ component: ticking.wasm, grants: { store: [own], upstreams: [service] } }";
    format!(
        "upstreams: {{ service: {{ endpoints: ['http://{service}'] }} }}\nplugins: {{ ticking: {plugin}, other: {plugin} }}\n"
    )
}

/// One route that these plugins answer.
fn route(plugins: &[String]) -> String {
    format!("routes: [{{ name: all, plugins: [{}], respond: {{}} }}]\n", plugins.join(", "))
}

async fn start(service: SocketAddr, plugins: &[String]) -> TestGateway {
    TestGateway::start_in(guests::folder(), &format!("{}{}", definitions(service), route(plugins))).await
}

async fn timer_calls(gateway: &TestGateway) -> u64 {
    let labels = [("plugin", "ticking"), ("route", ""), ("phase", "timer")];
    gateway.metric("gateway_wasm_calls_total", &labels).await.unwrap_or(0)
}

async fn failures(gateway: &TestGateway, kind: &str) -> u64 {
    let labels = [("plugin", "ticking"), ("route", ""), ("kind", kind)];
    gateway.metric("gateway_wasm_failures_total", &labels).await.unwrap_or(0)
}

#[tokio::test]
async fn requests_read_what_a_timer_has_refreshed() {
    let service = Called::start().await;
    let gateway = start(service.address(), &[ticking("ticking", &[("latest", 1000)], "")]).await;
    for value in ["1", "2"] {
        eventually("the value", async || gateway.get("/latest").await.text() == value).await;
    }
    eventually("the calls being counted", async || timer_calls(&gateway).await >= 2).await;
}

#[tokio::test]
async fn a_timer_keeps_its_value_in_redis() {
    let (redis, service) = (Redis::start().await, Called::start().await);
    let state = format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}\n", redis.url());
    let plugin = ticking("ticking", &[("latest", 3_600_000)], "");
    let yaml = format!("{state}{}{}", definitions(service.address()), route(&[plugin]));
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    eventually("the value", async || gateway.get("/latest").await.text() == "1").await;
    assert!(redis.ask("KEYS *own*").await.starts_with("*1"), "the value is in Redis");
    assert_eq!(failures(&gateway, "error").await, 0, "the first call waits for Redis");
}

#[tokio::test]
async fn of_several_gateways_with_one_redis_a_timer_with_a_lease_works_on_one() {
    let (redis, service) = (Redis::start().await, Called::start().await);
    let state = format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}\n", redis.url());
    let plugin = ticking("ticking", &[("latest", 3_600_000)], ", alone-ms: 3600000");
    let yaml = format!("{state}{}{}", definitions(service.address()), route(&[plugin]));
    let gateways =
        [TestGateway::start_in(guests::folder(), &yaml).await, TestGateway::start_in(guests::folder(), &yaml).await];
    for gateway in &gateways {
        eventually("the timer's call", async || timer_calls(gateway).await == 1).await;
        assert_eq!(gateway.get("/latest").await.text(), "1");
    }
    assert_eq!(service.calls("latest").len(), 1);
}

#[tokio::test]
async fn a_timer_runs_once_for_the_process_however_many_workers_and_routes_use_the_plugin() {
    let service = Called::start().await;
    let plugin = ticking("ticking", &[("latest", 1000)], "");
    let routes: Vec<_> = (0..500)
        .map(|number| {
            format!("{{ name: r{number}, match: {{ path: /r{number} }}, plugins: [{plugin}], respond: {{}} }}")
        })
        .collect();
    let yaml = format!(
        "workers: 4\nlisteners: [{{ address: '127.0.0.1:0' }}]\n{}routes: [{}]\n",
        definitions(service.address()),
        routes.join(", ")
    );
    let _gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    service.called("latest", 4).await;
    // A second one would call within the interval.
    for pair in service.calls("latest").windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
    }
}

#[tokio::test]
async fn a_timer_survives_a_reload_and_uses_the_new_configuration() {
    let (before, after) = (Called::start().await, Called::start().await);
    let interval = Duration::from_secs(4);
    let plugin = ticking("ticking", &[("latest", 4000)], "");
    let mut gateway = start(before.address(), std::slice::from_ref(&plugin)).await;
    before.called("latest", 1).await;
    for number in 0..3 {
        let more = format!("{{ name: more{number}, match: {{ path: /more{number} }}, respond: {{}} }}");
        let routes = route(std::slice::from_ref(&plugin)).replace("routes: [", &format!("routes: [{more}, "));
        gateway.reload(&format!("{}{routes}", definitions(after.address()))).await.unwrap();
    }
    // The plugin, its configuration and its grants are the same, the upstream's endpoint is another one.
    after.called("latest", 1).await;
    let (calls, later) = (before.calls("latest"), after.calls("latest"));
    assert_eq!(calls.len(), 1, "the timer is not started again");
    assert!(later[0] - calls[0] >= interval, "{:?}", later[0] - calls[0]);
}

#[tokio::test]
async fn timers_stop_when_no_route_uses_the_plugin_and_run_again_when_one_does() {
    let service = Called::start().await;
    let removed = ticking("ticking", &[("removed", 1000)], "");
    // It takes part in no phase with this configuration.
    let stays = ticking("other", &[("stays", 1000)], ", answers: false");
    let mut gateway = start(service.address(), &[stays.clone(), removed.clone()]).await;
    service.called("removed", 1).await;
    service.called("stays", 1).await;
    // The plugin is still defined.
    gateway
        .reload(&format!("{}{}", definitions(service.address()), route(std::slice::from_ref(&stays))))
        .await
        .unwrap();
    let (ended, clock) = (service.calls("removed").len(), service.calls("stays").len());
    service.called("stays", clock + 3).await;
    assert_eq!(service.calls("removed").len(), ended);
    gateway.reload(&format!("{}{}", definitions(service.address()), route(&[stays, removed]))).await.unwrap();
    service.called("removed", ended + 1).await;
}

#[tokio::test]
async fn calls_of_a_slow_timer_do_not_overlap_and_other_timers_go_on() {
    let service = Called::start().await;
    let timers = [("slow", 1000), ("clock", 1000)];
    let gateway = start(service.address(), &[ticking("ticking", &timers, "")]).await;
    service.called("slow", 1).await;
    service.called("clock", service.calls("clock").len() + 3).await;
    assert_eq!(service.calls("slow").len(), 1, "neither a second call nor a queue of them");
    assert_eq!(gateway.get("/slow").await.status, 404);
    let released = Instant::now();
    service.released.add_permits(1);
    service.called("slow", 2).await;
    let next = service.calls("slow")[1];
    assert!(next - released >= Duration::from_secs(1), "the interval counts from the end of the call");
    service.released.add_permits(1000);
}

#[tokio::test]
async fn a_timer_that_traps_fails_or_loops_is_counted_and_harms_nothing() {
    let service = Called::start().await;
    let timers = [("trap", 1000), ("fail", 1000), ("loop", 1000), ("latest", 1000)];
    let gateway = start(service.address(), &[ticking("ticking", &timers, "")]).await;
    // Each is called again after its failure.
    for kind in ["trap", "error", "timeout"] {
        eventually(kind, async || failures(&gateway, kind).await >= 2).await;
    }
    let calls = service.calls("latest").len();
    service.called("latest", calls + 1).await;
    eventually("the value", async || gateway.get("/latest").await.status == 200).await;
    let labels = [("plugin", "ticking"), ("route", "all")];
    assert_eq!(gateway.metric("gateway_wasm_failures_total", &labels).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_failure_is_logged_with_the_name_of_the_timer() {
    let folder = guests::folder();
    let plugin = ticking("ticking", &[("fail", 3_600_000)], "");
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\n{}{}",
        definitions(SocketAddr::from(([127, 0, 0, 1], 9))),
        route(&[plugin])
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let line = process.logged("plugin failed in a timer").await;
    for part in ["the timer was told to fail", "fail", "ticking"] {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn a_drain_lets_the_call_of_a_timer_finish_and_begins_no_other() {
    let gate = Gate::answering("done").await;
    let mut gateway = start(gate.address(), &[ticking("ticking", &[("latest", 1000)], "")]).await;
    gate.arrivals(1).await;
    let mut drained = gateway.drain();
    tokio::select! {
        _ = &mut drained => panic!("the call is in progress"),
        // What could end too early has ended by then.
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    gate.release(1);
    drained.await.unwrap();
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn the_deadline_of_a_drain_cancels_the_call_of_a_timer() {
    let gate = Gate::answering("never").await;
    let plugin = ticking("ticking", &[("latest", 1000)], "");
    let yaml = format!("timeouts: {{ drain: 100ms }}\n{}{}", definitions(gate.address()), route(&[plugin]));
    let mut gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    gate.arrivals(1).await;
    gateway.drain().await.unwrap();
}

#[tokio::test]
async fn a_timer_speaks_to_a_tcp_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut message = [0; 4];
            stream.read_exact(&mut message).await.unwrap();
            stream.write_all(&message.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
        }
    });
    let yaml = definitions(address).replace("http://", "tcp://");
    let yaml = format!("{yaml}{}", route(&[ticking("ticking", &[("tcp", 3_600_000)], "")]));
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    eventually("the answer", async || gateway.get("/tcp").await.text() == "PING").await;
}

#[tokio::test]
async fn invalid_timers_are_rejected_and_valid_ones_are_listed() {
    let folder = guests::folder();
    let check = async |timers: &[(&str, u64)]| {
        let plugin = ticking("ticking", timers, "");
        let yaml = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\n{}{}",
            definitions(SocketAddr::from(([127, 0, 0, 1], 9))),
            route(&[plugin])
        );
        fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
        run(folder.path(), ["check", "-c", "gateway.yaml"]).await
    };
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"]
        .map(|name| (name, 1000))
        .to_vec();
    for (timers, problem) in [
        (vec![("often", 999)], "the plugin's timer `often` has an interval of 999 ms, and 1 second to 24 hours"),
        (vec![("twice", 1000), ("twice", 1000)], "the plugin has two timers with the name `twice`"),
        (many, "the plugin has 17 timers, and 16 are allowed"),
    ] {
        let ended = check(&timers).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains(problem), "{}", ended.stderr);
        assert!(ended.stderr.contains("gateway.yaml:"), "with its place: {}", ended.stderr);
    }
    let ended = check(&[("refresh", 30_000), ("flush", 1500)]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("plugin `ticking` has timers: refresh every 30s, flush every 1.5s"), "{ended:?}");
    let config = "timers: [{ name: refresh, interval-ms: 60000 }]";
    let ended = run(folder.path(), ["plugin", "inspect", "ticking.wasm", "--config", config]).await;
    assert!(ended.stdout.contains("timers   refresh every 60s"), "{ended:?}");
}

#[tokio::test]
async fn a_case_of_a_plugin_calls_a_timer_in_one_line() {
    let folder = guests::folder();
    fs::create_dir(folder.path().join("tests")).expect("a folder");
    fs::write(
        folder.path().join("tests/cases.yaml"),
        "component: ../ticking.wasm
config: { timers: [{ name: latest, interval-ms: 60000 }, { name: fail, interval-ms: 60000 }], upstream: rates }
services: { rates: { body: '1.08' } }
store: [own]
cases:
  - name: it keeps what it has fetched
    steps:
      - { request: { path: /latest }, expect: { response: { status: 404 }, services: { rates: 0 } } }
      - { timer: latest, expect: { services: { rates: { path: /latest } } } }
      - { request: { path: /latest }, expect: { response: { body: '1.08' } } }
  - { name: it fails, timer: fail, expect: { timer-fails: told to fail } }
",
    )
    .expect("a file");
    let ended = run(folder.path(), ["plugin", "test"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    fs::write(
        folder.path().join("tests/cases.yaml"),
        "component: ../ticking.wasm
config: { timers: [{ name: fail, interval-ms: 60000 }], upstream: service }
store: [own]
cases:
  - { name: it fails, timer: fail }
  - { name: it is missing, timer: other }
",
    )
    .expect("a file");
    let ended = run(folder.path(), ["plugin", "test"]).await;
    assert_ne!(ended.code, 0);
    for miss in ["timer: it failed: the timer was told to fail", "the plugin has no timer `other`"] {
        assert!(ended.stdout.contains(miss) || ended.stderr.contains(miss), "{ended:?}");
    }
}
