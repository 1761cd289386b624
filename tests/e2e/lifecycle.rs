//! Starting, reloading, draining, ending: with the real binary where a signal or an exit code matters, and in
//! this process where it does not.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Client, Gate, Process, TestGateway, Upstream, client::Request, eventually, in_time, raw};

/// `gateway run` and the file that it was started with.
struct Running {
    process: Process,
    file: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[]).await
    }

    async fn start_with(yaml: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, yaml).unwrap();
        let args = ["run", "-c", "gateway.yaml"].iter().chain(options);
        let mut process = Process::start(folder.path(), args);
        let admin = process.admin().await;
        let address = process.addresses().await[0];
        Self { process, file, folder, address, admin }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    async fn get(&self, target: &str) -> String {
        self.client().await.send(Request::get(target)).await.text()
    }

    async fn admin_page(&self, target: &str) -> (u16, String) {
        let response = Client::connect(self.admin).await.send(Request::get(target)).await;
        (response.status.as_u16(), response.text())
    }

    async fn metrics(&self) -> String {
        self.admin_page("/metrics").await.1
    }
}

/// Everything to one upstream.
fn to(upstream: SocketAddr) -> String {
    with(upstream, "")
}

fn with(upstream: SocketAddr, settings: &str) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
{settings}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
"
    )
}

/// An address where nobody listens a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

#[tokio::test]
async fn sigterm_drains_readiness_falls_requests_finish_and_it_exits_with_0() {
    let upstream = Gate::answering("done").await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain: 1h }")).await;
    assert_eq!(gateway.admin_page("/readyz").await, (200, "ready\n".to_owned()));
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;

    gateway.process.signal("TERM");
    eventually("readiness falls", async || gateway.admin_page("/readyz").await.0 == 503).await;
    assert_eq!(gateway.admin_page("/healthz").await.0, 200, "it is alive until it ends");
    eventually("new connections are refused", async || is_refused(gateway.address).await).await;

    upstream.release(1);
    let response = in_flight.await.unwrap();
    assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "done"));
    assert_eq!(response.header("connection"), "close");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("drained"), "{}", ended.stderr);
}

#[tokio::test]
async fn sigint_drains_too() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&to(upstream.address())).await;
    gateway.process.signal("INT");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_finish() {
    let upstream = Gate::answering("never").await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain: 200ms }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.try_send(Request::get("/")).await });
    upstream.arrivals(1).await;
    let started = Instant::now();
    gateway.process.signal("TERM");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(started.elapsed() >= Duration::from_millis(200), "before the deadline");
    assert!(in_flight.await.unwrap().is_err(), "the connection is closed without an answer");
}

#[tokio::test]
async fn who_asks_twice_does_not_wait() {
    let upstream = Gate::answering("never").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain: 1h }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.try_send(Request::get("/")).await });
    upstream.arrivals(1).await;
    gateway.process.signal("TERM");
    gateway.process.logged("draining").await;
    assert!(gateway.process.is_running());
    gateway.process.signal("TERM");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn connections_that_ask_nothing_do_not_hold_up_a_drain() {
    let upstream = Upstream::echo().await;
    let mut gateway =
        TestGateway::start(&with(upstream.address(), "timeouts: { drain: 1h, idle: 1h, header-read: 10m }")).await;
    let mut kept_alive = Client::connect(gateway.address()).await;
    assert_eq!(kept_alive.send(Request::get("/")).await.status, 200);
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    // It could still become HTTP/2 or something else.
    let mut beginning = TcpStream::connect(gateway.address()).await.unwrap();
    beginning.write_all(b"P").await.unwrap();
    eventually("all are open", async || gateway.metrics().await.contains("gateway_connections 3\n")).await;
    in_time("the drain", gateway.drain()).await.unwrap();
    assert_eq!(raw::read_to_close(&mut silent).await, "");
    assert_eq!(raw::read_to_close(&mut beginning).await, "");
}

#[tokio::test]
async fn sighup_puts_the_changed_file_in_force() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let mut gateway = Running::start_with(&to(one.address()), &["--no-watch"]).await;
    assert_eq!(gateway.get("/").await, "one");
    fs::write(&gateway.file, to(two.address())).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("configuration reloaded").await;
    assert_eq!(gateway.get("/").await, "two");
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"ok\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_one_serving_and_the_log_says_why() {
    let upstream = Upstream::named("one").await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    let valid = fs::read_to_string(&gateway.file).unwrap();
    fs::write(&gateway.file, valid.replace("upstream: echo", "upstream: ecko")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("reload without effect").await;
    let problem = gateway.process.logged("gateway.yaml:6:").await;
    assert!(problem.contains("did you mean `echo`?"), "{problem}");
    assert_eq!(gateway.get("/").await, "one");
    assert_eq!(gateway.admin_page("/readyz").await.0, 200, "it still serves");
    eventually("the failure is counted", async || {
        let metrics = gateway.metrics().await;
        metrics.contains("gateway_config_last_reload_successful 0\n")
            && metrics.contains("gateway_config_reloads_total{result=\"failed\"} 1\n")
    })
    .await;

    fs::write(&gateway.file, valid).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("configuration reloaded").await;
    eventually("all is well again", async || {
        gateway.metrics().await.contains("gateway_config_last_reload_successful 1\n")
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_gone_leaves_the_old_one_serving() {
    let upstream = Upstream::named("one").await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::remove_file(&gateway.file).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("reload without effect").await;
    assert_eq!(gateway.get("/").await, "one");
}

#[tokio::test]
async fn a_change_of_the_file_is_noticed_however_it_is_made() {
    let names = ["one", "two", "three"];
    let mut upstreams = Vec::new();
    for name in names {
        upstreams.push(Upstream::named(name).await);
    }
    let gateway = Running::start(&to(upstreams[0].address())).await;
    assert_eq!(gateway.get("/").await, "one");
    // Written in place.
    fs::write(&gateway.file, to(upstreams[1].address())).unwrap();
    eventually("the second is in force", async || gateway.get("/").await == "two").await;
    // Replaced, as editors do.
    let beside = gateway.folder.path().join("gateway.yaml.new");
    fs::write(&beside, to(upstreams[2].address())).unwrap();
    fs::rename(&beside, &gateway.file).unwrap();
    eventually("the third is in force", async || gateway.get("/").await == "three").await;
    // Other files in the folder do not count.
    fs::write(gateway.folder.path().join("other.yaml"), "x").unwrap();
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"failed\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_folder_that_kubernetes_mounts_is_noticed_when_its_link_turns() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let folder = TempDir::new().unwrap();
    for (version, upstream) in [("v1", &one), ("v2", &two)] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("gateway.yaml"), to(upstream.address())).unwrap();
    }
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    link("..data", "v1");
    link("gateway.yaml", "..data/gateway.yaml");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let address = process.addresses().await[0];
    let answer = async || Client::connect(address).await.send(Request::get("/")).await.text();
    assert_eq!(answer().await, "one");
    link("..data_new", "v2");
    fs::rename(folder.path().join("..data_new"), folder.path().join("..data")).unwrap();
    eventually("the second is in force", async || answer().await == "two").await;
}

#[tokio::test]
async fn no_request_is_lost_while_fifty_reloads_happen() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let mut gateway = TestGateway::start(&to(one.address())).await;
    let address = gateway.address();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut http2 = Client::connect_http2(address).await;
                while !stop.load(Ordering::Relaxed) {
                    // Connections that are kept, of both kinds, and new ones.
                    let response = match n % 3 {
                        0 => client.send(Request::get("/")).await,
                        1 => http2.send(Request::post("/", "hello")).await,
                        _ => Client::connect(address).await.send(Request::get("/")).await,
                    };
                    assert_eq!(response.status, 200);
                    assert!(["one", "two"].contains(&response.text().as_str()));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..50 {
        let before = answered.load(Ordering::Relaxed);
        let upstream = if n % 2 == 0 { &two } else { &one };
        gateway.reload(&to(upstream.address())).await.unwrap();
        // Every configuration gets its share of requests.
        eventually("requests are answered", async || answered.load(Ordering::Relaxed) > before + 6).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(one.requests() > 100 && two.requests() > 100, "{} and {}", one.requests(), two.requests());
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"ok\"} 50\n"), "{metrics}");
}

#[tokio::test]
async fn a_request_in_flight_finishes_on_the_configuration_it_began_with() {
    let old = Gate::answering("old").await;
    let new = Upstream::named("new").await;
    let config = |path: &str, upstream: SocketAddr| {
        format!(
            "upstreams: {{ only: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: only, match: {{ path: {path} }}, upstream: only }}]
"
        )
    };
    let mut gateway = TestGateway::start(&config("/old", old.address())).await;
    let mut client = Client::connect(gateway.address()).await;
    let in_flight = tokio::spawn(async move {
        let response = client.send(Request::get("/old")).await;
        (client, response)
    });
    old.arrivals(1).await;
    gateway.reload(&config("/new", new.address())).await.unwrap();
    old.release(1);
    let (mut client, response) = in_flight.await.unwrap();
    assert_eq!(response.text(), "old");
    // The next request on the same connection goes by the new one.
    assert_eq!(client.send(Request::get("/old")).await.status, 404);
    assert_eq!(client.send(Request::get("/new")).await.text(), "new");
}

#[tokio::test]
async fn listeners_come_and_go_by_reload() {
    let slow = Gate::answering("slow").await;
    let quick = Upstream::named("quick").await;
    let (first, second) = (free_address(), free_address());
    let config = |listeners: &[SocketAddr]| {
        let listeners: String = listeners.iter().map(|address| format!("  - address: {address}\n")).collect();
        format!(
            "workers: 2
listeners:
{listeners}
upstreams:
  slow: {{ endpoints: ['http://{}'] }}
  quick: {{ endpoints: ['http://{}'] }}
routes:
  - {{ name: slow, match: {{ path: /slow }}, upstream: slow }}
  - {{ name: quick, match: {{ path: /quick }}, upstream: quick }}
",
            slow.address(),
            quick.address()
        )
    };
    let answer = async |address| Client::connect(address).await.send(Request::get("/quick")).await.text();
    let mut gateway = TestGateway::start(&config(&[first])).await;
    let mut client = Client::connect(first).await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/slow")).await });
    slow.arrivals(1).await;
    assert!(is_refused(second).await);

    gateway.reload(&config(&[first, second])).await.unwrap();
    assert_eq!(answer(first).await, "quick");
    assert_eq!(answer(second).await, "quick");

    gateway.reload(&config(&[second])).await.unwrap();
    eventually("the first is closed", async || is_refused(first).await).await;
    assert_eq!(answer(second).await, "quick");
    slow.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "slow", "the request came before its listener went");

    // The port is free again, also for the gateway itself.
    gateway.reload(&config(&[first, second])).await.unwrap();
    assert_eq!(answer(first).await, "quick");
}

#[tokio::test]
async fn a_reload_that_cannot_listen_has_no_effect_at_all() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let mut gateway = TestGateway::start(&to(one.address())).await;
    let free = free_address();
    let listeners =
        format!("listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '{free}' }}, {{ address: '{}' }}]\n", taken.0);
    let config = to(two.address()).replace("listeners: [{ address: '127.0.0.1:0' }]\n", &listeners);
    let error = gateway.reload(&config).await.unwrap_err().to_string();
    assert!(error.contains(&taken.0.to_string()), "{error}");
    assert_eq!(gateway.get("/").await.text(), "one");
    assert!(is_refused(free).await, "a listener of the refused configuration is open");
}

#[tokio::test]
async fn what_changes_only_at_the_next_start_is_warned_of() {
    let upstream = Upstream::echo().await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::write(&gateway.file, to(upstream.address()).replace("workers: 2", "workers: 3")).unwrap();
    gateway.process.signal("HUP");
    let warning = gateway.process.logged("`workers`").await;
    assert!(warning.contains("WARN") && warning.contains("next start"), "{warning}");
    gateway.process.logged("configuration reloaded").await;
    assert_eq!(gateway.client().await.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn the_logs_level_changes_by_reload_and_its_format_at_the_next_start() {
    let upstream = Upstream::echo().await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::write(&gateway.file, with(upstream.address(), "log: { level: debug, format: json }")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("`log.format` changes at the next start").await;
    gateway.process.logged("configuration reloaded").await;
    // A client that talks nonsense is worth a word at this level.
    raw::exchange(gateway.address, b"nonsense\r\n\r\n").await;
    gateway.process.logged("DEBUG gateway::").await;
}

#[tokio::test]
async fn a_port_in_use_is_said_clearly_and_exits_with_1() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&to(upstream.address())).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    for taken in [gateway.address, other.local_addr().unwrap()] {
        let config = to(upstream.address())
            .replace("listeners: [{ address: '127.0.0.1:0' }]", &format!("listeners: [{{ address: '{taken}' }}]"));
        fs::write(folder.path().join("gateway.yaml"), config).unwrap();
        let ended = crate::support::process::run(folder.path(), ["run", "-c", "gateway.yaml"]).await;
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let expected = format!("cannot listen on {taken}: another process does already");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    }
    assert_eq!(gateway.client().await.send(Request::get("/")).await.status, 200, "the first one is undisturbed");
}

#[tokio::test]
async fn a_broken_file_at_start_exits_with_3() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("gateway.yaml"), "listeners: 5\n").unwrap();
    let ended = crate::support::process::run(folder.path(), ["run", "-c", "gateway.yaml"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("gateway.yaml:1:"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_operators_listener_has_health_and_metrics_and_nothing_else() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&to(upstream.address())).await;
    let mut admin = Client::connect(gateway.admin()).await;
    assert_eq!(admin.send(Request::get("/healthz")).await.status, 200);
    assert_eq!(admin.send(Request::get("/readyz")).await.status, 200);
    let head = admin.send(Request::new(http::Method::HEAD, "/healthz")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(admin.send(Request::get("/")).await.status, 404);
    let posted = admin.send(Request::post("/healthz", "")).await;
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET, HEAD"));
    let metrics = admin.send(Request::get("/metrics")).await;
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.text().ends_with("# EOF\n"));
    // And none of it is on the clients' side.
    assert_eq!(gateway.get("/metrics").await.json()["target"], "/metrics");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let upstream = Upstream::echo().await;
    let gone = free_address();
    let gateway = TestGateway::start(&format!(
        "upstreams:
  echo: {{ endpoints: ['http://{}'] }}
  gone: {{ endpoints: ['http://{gone}'] }}
routes:
  - {{ name: users, match: {{ path: '/users/{{id}}', methods: [GET, POST] }}, upstream: echo }}
  - {{ name: broken, match: {{ path: /broken }}, upstream: gone }}
",
        upstream.address()
    ))
    .await;
    let mut client = Client::connect(gateway.address()).await;
    for target in ["/users/1", "/users/2", "/users/3", "/broken", "/nowhere"] {
        client.send(Request::get(target)).await;
    }
    client.send(Request::post("/users/4", "x")).await;
    client.send(Request::new("BREW".parse().unwrap(), "/users/4")).await;
    let metrics = gateway.metrics().await;
    for line in [
        "gateway_requests_total{route=\"users\",method=\"GET\",status=\"2xx\"} 3",
        "gateway_requests_total{route=\"users\",method=\"POST\",status=\"2xx\"} 1",
        "gateway_requests_total{route=\"broken\",method=\"GET\",status=\"5xx\"} 1",
        "gateway_requests_total{route=\"\",method=\"GET\",status=\"4xx\"} 1",
        "gateway_requests_total{route=\"\",method=\"other\",status=\"4xx\"} 1",
        "gateway_failures_total{reason=\"upstream-unreachable\"} 1",
        "gateway_failures_total{reason=\"no-route\"} 1",
        "gateway_failures_total{reason=\"method-not-allowed\"} 1",
        "gateway_request_duration_seconds_count{route=\"users\"} 4",
        "gateway_upstream_requests_total{upstream=\"echo\",status=\"2xx\"} 4",
        "gateway_upstream_connects_total{upstream=\"echo\",result=\"ok\"} 1",
        "gateway_upstream_connects_total{upstream=\"gone\",result=\"failed\"} 1",
        "gateway_upstream_connections{upstream=\"echo\"} 1",
        "gateway_connections 1",
        "gateway_connections_accepted_total 1",
        "gateway_config_last_reload_successful 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("nowhere") && !metrics.contains("BREW"), "labels of the client's choice");
}
