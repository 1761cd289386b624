//! Endpoints that are processes, killed, frozen, slowed and replaced while they are under load. What is asserted is
//! what clients saw; what it took is printed (`cargo test … -- --nocapture`).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::free_address;
use crate::support::{Client, Process, TestGateway, client::Request, counted::metric, eventually, in_time};

/// A service that answers with its name; the gateway's own binary serves for one.
struct Service {
    name: &'static str,
    address: SocketAddr,
    folder: TempDir,
    process: Process,
}

impl Service {
    async fn named(name: &'static str) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let yaml = format!(
            "workers: 1\nlisteners: [{{ address: '{address}' }}]\ntimeouts: {{ drain: 10s }}\n\
            routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, respond: {{ body: {name} }} }}]\n"
        );
        std::fs::write(folder.path().join("service.yaml"), yaml).expect("a file");
        let process = Self::launch(&folder).await;
        Self { name, address, folder, process }
    }

    async fn launch(folder: &TempDir) -> Process {
        let mut process = Process::start(folder.path(), ["run", "--config", "service.yaml"]);
        process.addresses().await;
        process
    }

    /// Ends it by a signal, and waits until it has.
    async fn end(self, signal: &str) -> Ended {
        self.process.signal(signal);
        self.process.ended().await;
        Ended { name: self.name, address: self.address, folder: self.folder }
    }
}

/// A service that has ended, and can begin again where it was.
struct Ended {
    name: &'static str,
    address: SocketAddr,
    folder: TempDir,
}

impl Ended {
    async fn again(self) -> Service {
        let process = Service::launch(&self.folder).await;
        Service { name: self.name, address: self.address, folder: self.folder, process }
    }
}

/// Clients that ask one after the other, and what they saw.
struct Load {
    seen: Arc<Mutex<Vec<Seen>>>,
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

struct Seen {
    /// The service's name, or what went wrong.
    answer: Result<String, String>,
    took: Duration,
}

const CLIENTS: usize = 8;

impl Load {
    async fn on(gateway: &TestGateway) -> Self {
        let (seen, ends) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let address = gateway.address();
        let ask = |_| {
            let (seen, ends) = (seen.clone(), ends.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !ends.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let answer = match client.try_send(Request::get("/")).await {
                        Ok(response) if response.status == 200 => Ok(response.text()),
                        Ok(response) => Err(format!("{} {}", response.status, response.text())),
                        Err(error) => Err(error.to_string()),
                    };
                    if answer.is_err() {
                        client = Client::connect(address).await;
                    }
                    seen.lock().expect("no panic").push(Seen { answer, took: began.elapsed() });
                }
            })
        };
        let clients = (0..CLIENTS).map(ask).collect();
        Self { seen, ends, clients }
    }

    /// Forgets what was seen, and waits for so many more answers.
    async fn next(&self, answers: usize) -> Window {
        self.seen.lock().expect("no panic").clear();
        eventually("the load goes on", async || self.seen.lock().expect("no panic").len() >= answers).await;
        self.window()
    }

    /// What was seen since it was last forgotten.
    fn window(&self) -> Window {
        let mut window = Window::default();
        for seen in &*self.seen.lock().expect("no panic") {
            match &seen.answer {
                Ok(name) => *window.answers.entry(name.clone()).or_default() += 1,
                Err(error) => window.lost.push(error.clone()),
            }
            window.slowest = window.slowest.max(seen.took);
        }
        window
    }

    async fn end(self) {
        self.ends.store(true, Ordering::SeqCst);
        for client in self.clients {
            in_time("a client's end", client).await.expect("no panic");
        }
    }
}

#[derive(Debug, Default)]
struct Window {
    answers: BTreeMap<String, usize>,
    lost: Vec<String>,
    slowest: Duration,
}

impl Window {
    fn of(&self, name: &str) -> usize {
        self.answers.get(name).copied().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.answers.values().sum::<usize>() + self.lost.len()
    }
}

const WATCHED: &str = "
    timeouts: { connect: 1s, response: 1s }
    retry: { attempts: 2, on: [connect-failure, reset, timeout], budget: 100%, backoff: 1ms }
    health:
      active: { path: /, interval: 100ms, timeout: 500ms, unhealthy-after: 2, healthy-after: 2 }
      passive: { consecutive-failures: 5, ejection-time: 500ms, max-ejection-time: 1s }
";

async fn before(services: &[&Service], settings: &str) -> TestGateway {
    let endpoints: Vec<_> = services.iter().map(|service| format!("'http://{}'", service.address)).collect();
    let yaml = format!(
        "upstreams:\n  it:\n    endpoints: [{}]\n{settings}\n\
        routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]\n",
        endpoints.join(", ")
    );
    TestGateway::start(&yaml).await
}

async fn fit(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_endpoint_loses_no_idempotent_request_and_is_used_again_when_it_is_back() {
    let (a, b, c) = (Service::named("a").await, Service::named("b").await, Service::named("c").await);
    let gateway = before(&[&a, &b, &c], WATCHED).await;
    let load = Load::on(&gateway).await;
    load.next(300).await;
    let killed = Instant::now();
    let a = a.end("KILL").await;
    eventually("it being found out", async || fit(&gateway).await == 2).await;
    let found_out = killed.elapsed();
    let after = load.next(600).await;
    let lost = load.window();
    assert!(lost.lost.is_empty() && after.lost.is_empty(), "{:?} {:?}", lost.lost, after.lost);
    assert_eq!(after.of("a"), 0, "{after:?}");
    let a = a.again().await;
    let returned = Instant::now();
    eventually("it being used again", async || load.next(60).await.of("a") > 0).await;
    eprintln!("killed: found out after {found_out:?}, 0 lost; used again {:?} after its start", returned.elapsed());
    load.end().await;
    drop((a, b, c));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_endpoint_delays_few_requests_and_loses_none() {
    let (a, b, c) = (Service::named("a").await, Service::named("b").await, Service::named("c").await);
    let gateway = before(&[&a, &b, &c], WATCHED).await;
    let load = Load::on(&gateway).await;
    load.next(300).await;
    load.next(0).await;
    let frozen = Instant::now();
    a.process.signal("STOP");
    eventually("it being found out", async || fit(&gateway).await == 2).await;
    let found_out = frozen.elapsed();
    let during = load.window();
    let after = load.next(600).await;
    assert!(during.lost.is_empty() && after.lost.is_empty(), "{:?} {:?}", during.lost, after.lost);
    let later = load.next(600).await;
    assert_eq!(later.of("a"), 0, "{later:?}");
    a.process.signal("CONT");
    let thawed = Instant::now();
    eventually("it being used again", async || load.next(60).await.of("a") > 0).await;
    eprintln!(
        "frozen: found out after {found_out:?}, {} requests meanwhile, 0 lost, the slowest {:?}; used again after {:?}",
        during.total(),
        during.slowest.max(after.slowest),
        thawed.elapsed()
    );
    load.end().await;
}

/// It is healthy by every check, and yet each request to it takes a hundred times as long as to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slowed_endpoint_gets_less_of_the_load_by_least_request() {
    let (a, b, c) = (Service::named("a").await, Service::named("b").await, Service::named("c").await);
    let gateway = before(&[&a, &b, &c], "    balance: least-request\n").await;
    let load = Load::on(&gateway).await;
    let slow = Arc::new(AtomicBool::new(true));
    let goes_on = slow.clone();
    let slowed = tokio::spawn(async move {
        // It runs for a twentieth of the time.
        while goes_on.load(Ordering::SeqCst) {
            a.process.signal("STOP");
            tokio::time::sleep(Duration::from_millis(38)).await;
            a.process.signal("CONT");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        a
    });
    load.next(100).await;
    let window = load.next(1500).await;
    slow.store(false, Ordering::SeqCst);
    let a = in_time("the end of its slowness", slowed).await.expect("no panic");
    let share = window.of(a.name) as f64 / window.total() as f64;
    eprintln!("slowed: {:.1} % of the load instead of 33 %, {} lost", share * 100.0, window.lost.len());
    assert!(window.lost.is_empty(), "{:?}", window.lost);
    assert!(window.of(a.name) * 5 < window.total(), "{window:?}");
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_three_endpoints_loses_nothing() {
    let services = [Service::named("a").await, Service::named("b").await, Service::named("c").await];
    let gateway = before(&services.each_ref(), WATCHED).await;
    let load = Load::on(&gateway).await;
    load.next(300).await;
    load.next(0).await;
    let mut restarted = Vec::new();
    for service in services {
        let name = service.name;
        let ended = service.end("TERM").await;
        eventually("requests go to the others", async || fit(&gateway).await == 2).await;
        restarted.push(ended.again().await);
        eventually("all being fit again", async || fit(&gateway).await == 3).await;
        eventually("it being used again", async || load.window().of(name) > 0).await;
    }
    let window = load.window();
    eprintln!("rolling restart: {} requests, {} lost", window.total(), window.lost.len());
    assert!(window.lost.is_empty(), "{:?}", window.lost);
    let window = load.next(300).await;
    assert_eq!(window.answers.len(), 3, "{window:?}");
    load.end().await;
}
