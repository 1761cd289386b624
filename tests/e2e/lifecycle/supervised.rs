//! What a service manager hears from the binary, over a socket such as systemd's (sd_notify(3)).

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::net::UnixDatagram;

use super::{to, with};
use crate::support::{Client, Gate, Process, Upstream, client::Request, in_time};

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    /// The datagrams that came, less the watchdog's.
    strokes: usize,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        Self { socket: UnixDatagram::bind(path).unwrap(), strokes: 0 }
    }

    async fn message(&self) -> String {
        let mut buffer = [0; 1024];
        let length = in_time("a message to the manager", self.socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next one that is not the watchdog's.
    async fn news(&mut self) -> Vec<String> {
        loop {
            let message = self.message().await;
            if message.trim() == "WATCHDOG=1" {
                self.strokes += 1;
            } else {
                return message.lines().map(str::to_owned).collect();
            }
        }
    }
}

async fn start(folder: &TempDir, variables: &[(&str, &str)]) -> Process {
    let upstream = Upstream::echo().await;
    fs::write(folder.path().join("gateway.yaml"), to(upstream.address())).unwrap();
    Process::start_with(folder.path(), ["run", "-c", "gateway.yaml"], variables)
}

#[tokio::test]
async fn a_service_manager_hears_when_it_serves_reloads_and_stops() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::listen(&path);
    let gateway = start(&folder, &[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
    assert_eq!(manager.news().await, ["READY=1"]);

    gateway.signal("HUP");
    let reloading = manager.news().await;
    assert_eq!(reloading[0], "RELOADING=1");
    let time = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("the time of it");
    assert!(time.parse::<u64>().is_ok(), "{time}");
    assert_eq!(manager.news().await, ["READY=1"]);

    // What cannot be taken in leaves it serving, which is what ready means.
    fs::write(folder.path().join("gateway.yaml"), "listeners: 5\n").unwrap();
    gateway.signal("HUP");
    assert_eq!(manager.news().await[0], "RELOADING=1");
    assert_eq!(manager.news().await, ["READY=1"]);

    gateway.signal("TERM");
    let mut last = manager.news().await;
    while last != ["STOPPING=1"] {
        // The file's change was noticed as well.
        assert!(last == ["READY=1"] || last[0] == "RELOADING=1", "{last:?}");
        last = manager.news().await;
    }
    assert_eq!(gateway.ended().await.code, 0);
    assert_eq!(manager.strokes, 0, "nobody asked for a watchdog");
}

#[tokio::test]
async fn the_watchdog_is_told_that_all_workers_are_alive() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::listen(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let gateway = start(&folder, &variables).await;
    let mut ready = false;
    while manager.strokes < 3 || !ready {
        match manager.message().await.trim() {
            "WATCHDOG=1" => manager.strokes += 1,
            "READY=1" => ready = true,
            other => panic!("{other}"),
        }
    }
    gateway.signal("TERM");
    assert_eq!(manager.news().await, ["STOPPING=1"]);
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test]
async fn the_watchdog_is_satisfied_in_a_long_drain_in_which_some_workers_have_ended() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::listen(&path);
    let upstream = Gate::answering("done").await;
    let yaml = with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 1h }");
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut gateway = Process::start_with(folder.path(), ["run", "-c", "gateway.yaml"], &variables);
    let mut client = Client::connect(gateway.addresses().await[0]).await;
    // One of the two workers has something to wait for.
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    gateway.signal("TERM");
    while manager.news().await != ["STOPPING=1"] {}
    // Ten a second: a worker without a sign of life would be missed after three seconds.
    let before = manager.strokes;
    while manager.strokes < before + 45 {
        assert_eq!(manager.message().await.trim(), "WATCHDOG=1");
        manager.strokes += 1;
    }
    upstream.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "done");
    let ended = gateway.ended().await;
    assert_eq!(ended.code, 0);
    assert!(!ended.stderr.contains("does not respond"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_manager_that_does_not_listen_does_no_harm() {
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("nowhere");
    let mut gateway = start(&folder, &[("NOTIFY_SOCKET", nowhere.to_str().unwrap())]).await;
    gateway.logged("cannot notify the service manager").await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code, 0);
}
