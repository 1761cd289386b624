//! One process after another at the same address, which is never closed in between.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

use super::{Running, with};
use crate::support::{Client, Gate, Process, Upstream, client::Request, eventually, in_time, raw};

/// A process that a gateway has started in its place; it ends with the test.
struct Successor(String);

impl Successor {
    /// The one that the log speaks of after `known` others.
    async fn of(process: &mut Process, known: usize) -> Self {
        const SERVES: &str = " has taken over";
        process.logged_times(SERVES, known + 1).await;
        let log = process.log();
        let line = log.lines().filter(|line| line.contains(SERVES)).nth(known).expect("it was logged");
        let (_, rest) = line.split_once("process ").expect("it names the process");
        Self(rest.split(' ').next().expect("an identifier").to_owned())
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.0)).status();
        assert!(sent.expect("a shell").success(), "the signal could not be sent");
    }

    fn is_running(&self) -> bool {
        // It may be a zombie: nobody need wait for a process whose parent has gone.
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sh").arg("-c").arg(format!("kill -KILL {} 2>&1", self.0)).output();
    }
}

/// Clients that connect anew for each request, and notice every connection that is refused, reset or not answered.
struct Connecting {
    ends: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

const CLIENTS: usize = 8;

impl Connecting {
    fn start(address: SocketAddr) -> Self {
        let (ends, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| tokio::spawn(ask(address, ends.clone(), served.clone()));
        let clients = (0..CLIENTS).map(client).collect();
        Self { ends, served, clients }
    }

    /// Waits until each client has been served several times more, or one has failed.
    async fn goes_on(&self) {
        let before = self.served.load(Ordering::SeqCst);
        eventually("clients being served", async || {
            let failed = self.clients.iter().any(JoinHandle::is_finished);
            failed || self.served.load(Ordering::SeqCst) >= before + 5 * CLIENTS
        })
        .await;
    }

    async fn end(self) {
        self.ends.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("no panic").expect("every connection is served");
        }
    }
}

async fn ask(address: SocketAddr, ends: Arc<AtomicBool>, served: Arc<AtomicUsize>) -> Result<(), String> {
    while !ends.load(Ordering::SeqCst) {
        let mut stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.map_err(|error| format!("sending: {error}"))?;
        let response = raw::read_to_close(&mut stream).await;
        if !response.starts_with("HTTP/1.1 200 ") {
            return Err(format!("no good response: {response:?}"));
        }
        served.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[tokio::test]
async fn a_new_process_takes_over_under_load_and_no_connection_is_lost() {
    let upstream = Upstream::named("served").await;
    let yaml = with(upstream.address(), "timeouts: { drain: 1h }");
    let mut gateway = Running::start_with(&yaml, &["--no-watch"]).await;
    let clients = Connecting::start(gateway.address);
    clients.goes_on().await;
    gateway.process.signal("USR2");
    let second = Successor::of(&mut gateway.process, 0).await;
    eventually("the first process ends", async || !gateway.process.is_running()).await;
    clients.goes_on().await;
    // More workers than sockets, and fewer.
    fs::write(&gateway.file, yaml.replace("workers: 2", "workers: 4")).unwrap();
    second.signal("USR2");
    let third = Successor::of(&mut gateway.process, 1).await;
    eventually("the second process ends", async || !second.is_running()).await;
    clients.goes_on().await;
    fs::write(&gateway.file, yaml.replace("workers: 2", "workers: 1")).unwrap();
    third.signal("USR2");
    let fourth = Successor::of(&mut gateway.process, 2).await;
    eventually("the third process ends", async || !third.is_running()).await;
    clients.goes_on().await;
    clients.end().await;
    assert_eq!(gateway.admin_page("/readyz").await.0, 200, "the operator's listener was handed over, too");
    fourth.signal("INT");
    eventually("the last process ends", async || !fourth.is_running()).await;
}

#[tokio::test]
async fn the_old_process_finishes_its_requests_while_the_new_one_serves() {
    let upstream = Gate::answering("done").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 1h, drain: 1h }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { (client.send(Request::get("/")).await, client) });
    upstream.arrivals(1).await;
    gateway.process.signal("USR2");
    let new = Successor::of(&mut gateway.process, 0).await;
    gateway.process.logged("draining").await;
    // By the new process, unless the old one had it in its queue already.
    let mut other = gateway.client().await;
    let served = tokio::spawn(async move { other.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    assert!(gateway.process.is_running(), "it waits for its request");
    upstream.release(2);
    let ((old, mut client), served) = (in_flight.await.unwrap(), served.await.unwrap());
    assert_eq!((old.text().as_str(), served.text().as_str()), ("done", "done"));
    // It says so in the response only if its worker knew of the drain by then.
    in_time("the end of its connection", client.is_closed()).await;
    eventually("the old process ends", async || !gateway.process.is_running()).await;
    assert!(new.is_running());
}

#[tokio::test]
async fn operators_who_keep_their_connections_move_to_the_new_process() {
    let upstream = Gate::answering("done").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain: 1h }")).await;
    // So that the old process stays.
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    let mut connections = [Client::connect(gateway.admin).await, Client::connect(gateway.admin).await];
    for connection in &mut connections {
        let response = connection.send(Request::get("/readyz")).await;
        assert_eq!((response.status.as_u16(), response.header("connection")), (200, ""));
    }
    let [mut used, mut idle] = connections;
    gateway.process.signal("USR2");
    let _new = Successor::of(&mut gateway.process, 0).await;
    let response = used.send(Request::get("/readyz")).await;
    assert_eq!((response.status.as_u16(), response.header("connection")), (200, "close"));
    in_time("the end of the idle connection", idle.is_closed()).await;
    assert!(gateway.process.is_running());
    assert_eq!(gateway.admin_page("/readyz").await.0, 200);
    upstream.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "done");
    eventually("the old process ends", async || !gateway.process.is_running()).await;
}

#[tokio::test]
async fn a_new_process_that_cannot_serve_leaves_the_old_one_serving() {
    let upstream = Upstream::named("served").await;
    let mut gateway = Running::start_with(&with(upstream.address(), ""), &["--no-watch"]).await;
    let valid = fs::read_to_string(&gateway.file).unwrap();
    fs::write(&gateway.file, "listeners: 5\n").unwrap();
    gateway.process.signal("USR2");
    let line = gateway.process.logged("the new process failed to start").await;
    assert!(line.contains("exit status: 3"), "{line}");
    assert_eq!(gateway.get("/").await, "served");
    assert_eq!(gateway.admin_page("/readyz").await.0, 200);
    // And once it can, it does.
    fs::write(&gateway.file, valid).unwrap();
    gateway.process.signal("USR2");
    let _new = Successor::of(&mut gateway.process, 0).await;
    eventually("the old process ends", async || !gateway.process.is_running()).await;
    assert_eq!(gateway.get("/").await, "served");
}

/// `gateway run` with a listening socket from a service manager, as sd_listen_fds(3) has it.
fn activated(folder: &Path, socket: &TcpListener) -> Process {
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run -c gateway.yaml";
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_gateway"));
    let socket = socket.try_clone().expect("a copy");
    Process::of(folder, command, OwnedFd::from(socket).into())
}

#[tokio::test]
async fn with_a_socket_of_the_service_manager_clients_wait_while_it_restarts() {
    let upstream = Upstream::named("served").await;
    let folder = TempDir::new().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let yaml = with(upstream.address(), "timeouts: { drain-delay: 0s }");
    let yaml =
        yaml.replace("listeners: [{ address: '127.0.0.1:0' }]", &format!("listeners: [{{ address: '{address}' }}]"));
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    for _ in 0..2 {
        // Nobody accepts yet, and nobody is refused.
        let mut waiting = Client::connect(address).await;
        let mut gateway = activated(folder.path(), &socket);
        assert_eq!(gateway.addresses().await, [address]);
        assert_eq!(waiting.send(Request::get("/")).await.text(), "served");
        for _ in 0..8 {
            assert_eq!(Client::connect(address).await.send(Request::get("/")).await.text(), "served");
        }
        gateway.signal("TERM");
        assert_eq!(gateway.ended().await.code, 0);
    }
}
