//! What the gateway offers to plugins beside the exchange (state, calls, documents, TCP, passwords), as plugins in several languages
//! use it. `services` is the same plugin in each: `tests/guests/services`, `tests/languages/services`.

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Barrier,
};

use super::Copied;
use crate::support::{Client, Process, Upstream, client::Request, guests, redis::Redis, upstream::full};

/// Answers with the last segment of the path; paths below `/together` when two of them have arrived, and `/never` never.
async fn users() -> Upstream {
    let together = Arc::new(Barrier::new(2));
    Upstream::serving(move |request| {
        let together = Arc::clone(&together);
        async move {
            let path = request.uri().path().to_owned();
            if path.starts_with("/together/") {
                together.wait().await;
            } else if path == "/never" {
                std::future::pending::<()>().await;
            }
            http::Response::new(full(path.rsplit('/').next().unwrap_or_default().to_owned()))
        }
    })
    .await
}

/// Sends everything back, first three bytes, then the rest.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 7];
                while stream.read_exact(&mut bytes).await.is_ok() {
                    let _ = stream.write_all(&bytes[..3]).await;
                    let _ = stream.write_all(&bytes[3..]).await;
                }
            });
        }
    });
    address
}

/// All of it with the state in Redis, so that each operation of the store waits.
async fn services_are_used(component: &Path) {
    let folder = TempDir::new().expect("a folder");
    let (redis, users, echo) = (Redis::start().await, users().await, echo().await);
    let (stable, canary) = (Upstream::echo().await, Upstream::echo().await);
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}
plugins:
  services:
    component: {}
    limits: {{ time: 5s }}
    grants: {{ store: [visits], upstreams: [users, canary, echo] }}
upstreams:
  users: {{ endpoints: ['http://{}'] }}
  stable: {{ endpoints: ['http://{}'] }}
  canary: {{ endpoints: ['http://{}'] }}
  echo: {{ endpoints: ['tcp://{echo}'] }}
routes:
  - {{ name: all, match: {{ path: '/{{*rest}}' }}, plugins: [{{ name: services }}], upstream: stable }}
",
        redis.url(),
        component.display(),
        users.address(),
        stable.address(),
        canary.address(),
    );
    fs::write(folder.path().join("services.yaml"), yaml).expect("a file");
    let mut gateway = Process::start(folder.path(), ["run", "-c", "services.yaml"]);
    let address = gateway.addresses().await[0];
    // Before that, state is unavailable.
    gateway.logged("redis state backend available").await;
    let ask = async |request| Client::connect(address).await.send(request).await;

    for visit in 1..=2 {
        let response = ask(Request::post("/journey", "hello").header("x-user", "canary")).await;
        assert_eq!(response.status, 200, "{}\n{}", response.text(), gateway.log());
        assert_eq!(response.json()["body"], format!("hello, visit {visit}"));
    }
    assert_eq!((stable.requests(), canary.requests()), (0, 2), "the plugin chose the upstream");
    assert_eq!(redis.ask("dbsize").await, ":1", "the count is in Redis");

    for (path, expected) in [
        ("/parallel", "one two"),
        ("/batch", "-1099511627776 word none done done too-large"),
        ("/take-all", "true 2 true 1"),
        // One of them is refused, so the other is not taken either.
        ("/take-all", "true 2 false 1"),
        ("/document", "document unchanged"),
        ("/password", "true false true"),
        ("/selection", "GET /selection given missing"),
        ("/tcp", "one two"),
        // On the connection that was released.
        ("/tcp", "one two"),
        ("/denied", "denied"),
    ] {
        let response = ask(Request::get(path).header("x-given", "given")).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, expected),
            "{path}: {}\n{}",
            response.text(),
            gateway.log()
        );
    }
    // A call that is not waited for ends with its phase: a phase has 16 of them at a time.
    for _ in 0..16 {
        assert_eq!(ask(Request::get("/parallel")).await.text(), "one two", "{}", gateway.log());
    }
}

#[tokio::test]
async fn a_plugin_in_rust_counts_in_redis_calls_an_upstream_and_chooses_another_in_straight_line_code() {
    let folder = guests::folder();
    let component = folder.path().join("services.wasm");
    fs::write(&component, test_guests::services()).expect("a file");
    services_are_used(&component).await;
}

#[tokio::test]
async fn a_plugin_in_go_counts_in_redis_calls_an_upstream_and_chooses_another_in_straight_line_code() {
    let copied = Copied::of("tests/languages/services/go");
    services_are_used(&copied.build().await).await;
}

#[tokio::test]
async fn a_plugin_in_c_counts_in_redis_calls_an_upstream_and_chooses_another_in_straight_line_code() {
    let copied = Copied::of("tests/languages/services/c");
    services_are_used(&copied.build().await).await;
}
