//! In each language, one plugin with a counter in Redis, a call to an upstream, a chosen upstream and a changed body, in
//! straight-line code.

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{Copied, ROOT};
use crate::support::{Client, Upstream, client::Request, process::Process, redis::Redis, upstream::full};

/// The parts of a gateway's configuration that name what is outside of it.
struct Outside<'a> {
    component: &'a Path,
    redis: &'a Redis,
    users: &'a Upstream,
    other: &'a Upstream,
    lines: std::net::SocketAddr,
}

impl Outside<'_> {
    /// A gateway of its own with the plugin on each route, whose upstream is not reachable.
    async fn gateway(&self, folder: &Path, plugin: &str, config: &str) -> (Process, std::net::SocketAddr) {
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]
state: {{ backend: {{ redis: {{ url: '{redis}', timeout: 10s }} }} }}
plugins:
  {plugin}:
    component: {component}
    limits: {{ time: 5s }}
    grants: {{ store: [visits], secrets: [key], files: [list], sinks: [audit], upstreams: [users, other, lines] }}
upstreams:
  none: {{ endpoints: ['http://127.0.0.1:1'] }}
  users: {{ endpoints: ['http://{users}'] }}
  other: {{ endpoints: ['http://{other}'] }}
  lines: {{ endpoints: ['tcp://{lines}'] }}
sinks: {{ audit: stderr }}
secrets: {{ key: {{ file: list }} }}
files: {{ list: list }}
routes:
  - {{ name: served, match: {{ from-plugin: {plugin} }}, plugins: [{{ name: {plugin}, config: {config} }}], upstream: none }}
  - {{ name: all, match: {{ path: '/{{*rest}}' }}, plugins: [{{ name: {plugin}, config: {config} }}], upstream: none }}
",
            redis = self.redis.url(),
            component = self.component.display(),
            users = self.users.address(),
            other = self.other.address(),
            lines = self.lines,
        );
        fs::write(folder.join("list"), "a").expect("a file");
        fs::write(folder.join("account.yaml"), yaml).expect("a file");
        let mut gateway = Process::start(folder, ["run", "-c", "account.yaml"]);
        let address = gateway.addresses().await[0];
        gateway.logged("redis state backend available").await;
        (gateway, address)
    }
}

/// A server that answers each line with itself.
async fn echo_of_lines() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
                    // In two parts, so that a plugin has to wait for the second.
                    for part in [&line[..1], &line[1..]] {
                        stream.write_all(part.as_bytes()).await.expect("sent");
                        stream.flush().await.expect("sent");
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// The counter is in Redis: two gateways count together.
pub(super) async fn counts_calls_chooses_and_changes(component: &Path, plugin: &str, config: &str) {
    let (redis, other) = (Redis::start().await, Upstream::echo().await);
    let users =
        Upstream::serving(|_| async { http::Response::builder().status(203).body(full("anna")).expect("valid") });
    let users = users.await;
    let lines = echo_of_lines().await;
    let outside = Outside { component, redis: &redis, users: &users, other: &other, lines };
    for count in 1..=2 {
        let folder = TempDir::new().expect("a folder");
        let (mut gateway, address) = outside.gateway(folder.path(), plugin, config).await;
        let response = Client::connect(address).await.send(Request::post("/account", "some text")).await;
        assert_eq!(response.status, 200, "{}\n{}", response.text(), gateway.log());
        let seen = response.json();
        let sent: serde_json::Value = serde_json::from_str(seen["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(
            sent,
            serde_json::json!({ "count": count, "status": 203, "text": "some text" }),
            "{}",
            gateway.log()
        );
        assert_eq!(users.requests(), count);
        let is_active = response.headers.contains_key("x-inactive");
        assert!(!is_active, "the plugin leaves out its response phase");
        let served = Client::connect(address).await.send(Request::get("/served/7")).await;
        assert_eq!(served.json(), serde_json::json!({ "route": "served", "id": "7" }), "{}", gateway.log());

        if plugin == "errand" {
            let response = Client::connect(address).await.send(Request::get("/lines")).await;
            assert_eq!(response.status, 200, "{}\n{}", response.text(), gateway.log());
            assert_eq!(response.json(), serde_json::json!({ "line": "PING\n", "again": "other" }));
        } else {
            let response = Client::connect(address).await.send(Request::get("/fail")).await;
            assert_eq!(response.status, 500);
            has_causes_and_positions(&gateway.logged("plugin failed: ").await);
        }
    }
}

#[tokio::test]
async fn a_plugin_in_javascript_counts_in_redis_calls_chooses_an_upstream_and_changes_the_body() {
    let copied = Copied::of("tests/languages/javascript");
    let component = copied.build().await;
    counts_calls_chooses_and_changes(&component, "account", "{}").await;
}

/// What JavaScript throws is in the log with its causes and the positions in its own source.
fn has_causes_and_positions(logged: &str) {
    let source = fs::read_to_string(format!("{ROOT}/tests/languages/javascript/account.js")).expect("a file");
    let line = |text: &str| source.lines().position(|line| line.contains(text)).expect("it is there") + 1;
    let (thrown, called) = (line("throw new RangeError"), line("\"/fail\""));
    let expected = [
        format!("plugin failed: RangeError: as it was told, at fail (account.js:{thrown}:"),
        format!("onRequest (account.js:{called}:"),
        format!("; caused by Error: behind it, at fail (account.js:{thrown}:"),
    ];
    for text in expected {
        assert!(logged.contains(&text), "{text}\n{logged}");
    }
}
