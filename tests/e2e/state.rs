//! State that gateways share in Redis: a real one, which goes away and comes back.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Authority, Client, Process, TestGateway, Traffic, Upstream,
    client::Request,
    eventually, in_time,
    redis::Redis,
    token::{Key, now},
    upstream::full,
};

/// A configuration with `rate-limit` on its routes, and its state in Redis; one of them is for warming up.
fn yaml(upstream: &Upstream, redis: &Value, limit: &Value) -> String {
    format!(
        "state: {{ backend: {{ redis: {redis} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: all, plugins: [{{ name: rate-limit, config: {limit} }}], upstream: up }}
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 1000, per: 1h }} }}], upstream: up }}
",
        upstream.address()
    )
}

/// A gateway that has found its Redis: from then on what it answers is counted there.
async fn connected(yaml: &str, redis: &Redis) -> TestGateway {
    let before = clients(redis).await;
    let gateway = TestGateway::start(yaml).await;
    eventually("the gateway being connected", async || clients(redis).await > before).await;
    // Connected is one thing, and having been answered another.
    eventually("a counted answer", async || !gateway.get("/warm").await.header("ratelimit").is_empty()).await;
    redis.ask("FLUSHALL").await;
    gateway
}

/// Connections beside the one that asks.
async fn clients(redis: &Redis) -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(redis.address()).await.unwrap();
    stream.write_all(b"CLIENT LIST\r\n").await.unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.ends_with("\r\n") || text.lines().count() < 2 {
        let read = stream.read(&mut bytes).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text.lines().filter(|line| line.contains("lib-name") || line.contains("laddr")).count()
}

/// How many of so many requests get through, sent over several connections to all of these gateways.
async fn allowed(addresses: &[std::net::SocketAddr], requests: usize) -> usize {
    let passed = std::sync::Arc::new(AtomicUsize::new(0));
    let connections = 16;
    let tasks = (0..connections).map(|i| {
        let (address, passed) = (addresses[i % addresses.len()], passed.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..requests / connections {
                let response = client.send(Request::get("/")).await;
                match response.status.as_u16() {
                    200 => drop(passed.fetch_add(1, Ordering::SeqCst)),
                    429 => {}
                    other => panic!("{other}: {}", response.text()),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        in_time("the requests", task).await.unwrap();
    }
    passed.load(Ordering::SeqCst)
}

#[tokio::test]
async fn two_processes_let_through_together_what_the_limit_says() {
    let upstream = Upstream::named("up").await;
    for algorithm in ["gcra", "sliding-window"] {
        let redis = Redis::start().await;
        let limits = json!({ "limits": [
            { "limit": 400, "per": "1h", "algorithm": algorithm, "name": "hour" },
            { "limit": 10000, "per": "1d", "name": "day" },
        ], "key": "route" });
        // No answer may come too late in this: every request has to be counted.
        let config = yaml(&upstream, &json!({ "url": redis.url(), "timeout": "10s" }), &limits);
        let folder = TempDir::new().unwrap();
        std::fs::write(
            folder.path().join("gateway.yaml"),
            format!("listeners: [{{ address: '127.0.0.1:0' }}]\n{config}"),
        )
        .unwrap();
        let mut processes = [
            Process::start(folder.path(), ["run", "-c", "gateway.yaml"]),
            Process::start(folder.path(), ["run", "-c", "gateway.yaml"]),
        ];
        let mut addresses = Vec::new();
        for process in &mut processes {
            process.logged("redis state backend available").await;
            addresses.push(process.addresses().await[0]);
        }
        let began = Instant::now();
        let passed = allowed(&addresses, 1600).await;
        // What comes back meanwhile is allowed too.
        let returned = began.elapsed().as_secs_f64() * 400.0 / 3600.0;
        assert!(passed >= 400 && passed as f64 <= 401.0 + returned, "{algorithm}: {passed}");
        assert_eq!(redis.ask("DBSIZE").await, ":2", "one key for each limit");
    }
}

#[tokio::test]
async fn while_redis_is_away_it_is_as_configured_and_afterwards_counted_again() {
    let upstream = Upstream::named("up").await;
    for (way, away) in [("allow", &[200, 200, 200][..]), ("deny", &[503, 503, 503]), ("local", &[200, 200, 429])] {
        let mut redis = Redis::start().await;
        let limit = json!({ "limit": 2, "per": "1h", "on-store-failure": way });
        let gateway =
            connected(&yaml(&upstream, &json!({ "url": redis.url(), "timeout": "5s" }), &limit), &redis).await;
        let statuses = async |count: usize| {
            let mut statuses = Vec::new();
            for _ in 0..count {
                statuses.push(in_time("an answer", gateway.get("/")).await.status.as_u16());
            }
            statuses
        };
        assert_eq!(statuses(3).await, [200, 200, 429], "{way}");
        redis.signal("KILL").await;
        assert_eq!(statuses(3).await, away, "{way}");
        redis.start_again().await;
        // It comes back empty.
        let is_counted = async || !gateway.get("/warm").await.header("ratelimit").is_empty();
        eventually("being counted again", is_counted).await;
        redis.ask("FLUSHALL").await;
        assert_eq!(statuses(3).await, [200, 200, 429], "{way}");
    }
}

#[tokio::test]
async fn how_it_goes_with_redis_is_counted() {
    let upstream = Upstream::named("up").await;
    let mut redis = Redis::start().await;
    let limit = json!({ "limit": 100, "per": "1h", "on-store-failure": "allow" });
    let gateway = connected(&yaml(&upstream, &json!({ "url": redis.url(), "timeout": "5s" }), &limit), &redis).await;
    let figure = async |series: &str| -> f64 {
        let metrics = gateway.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
    };
    let answered = "gateway_redis_requests_total{result=\"ok\"}";
    let before = figure(answered).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(figure(answered).await, before + 3.0);
    assert_eq!(figure("gateway_redis_up").await, 1.0);
    assert!(figure("gateway_redis_request_duration_seconds_sum").await > 0.0);

    redis.signal("KILL").await;
    // The first one may be the one that finds out.
    eventually("it being known", async || {
        gateway.get("/").await.status == 200 && figure("gateway_redis_up").await == 0.0
    })
    .await;
    let unasked = "gateway_redis_requests_total{result=\"skipped\"}";
    let before = figure(unasked).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(figure(unasked).await, before + 1.0);

    let alone = TestGateway::start("routes: [{ name: all, respond: { status: 204 } }]\n").await;
    let metrics = alone.metrics().await;
    assert!(!metrics.lines().any(|line| line.starts_with("gateway_redis_")), "there is nothing that could be up");
}

#[tokio::test]
async fn a_redis_that_is_frozen_holds_nobody_up() {
    let upstream = Upstream::named("up").await;
    let mut redis = Redis::start().await;
    let limit = json!({ "limit": 100000, "per": "1h", "on-store-failure": "deny" });
    let gateway = connected(&yaml(&upstream, &json!({ "url": redis.url(), "timeout": "20ms" }), &limit), &redis).await;
    redis.signal("STOP").await;
    let address = gateway.address();
    let asks = (0..50).map(|_| {
        tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.status.as_u16() })
    });
    let began = Instant::now();
    for ask in asks.collect::<Vec<_>>() {
        assert_eq!(in_time("an answer", ask).await.unwrap(), 503);
    }
    // A hundred times what each may wait for: a busy machine is no failure, a hang is.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    redis.signal("CONT").await;
    eventually("being counted again", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test]
async fn redis_killed_and_restarted_under_load_loses_nobody() {
    let upstream = Upstream::named("up").await;
    let mut redis = Redis::start().await;
    let limit = json!({ "limit": 1000000, "per": "1h", "on-store-failure": "local" });
    let gateway = connected(&yaml(&upstream, &json!({ "url": redis.url(), "timeout": "1s" }), &limit), &redis).await;
    let traffic = [
        Traffic::start(gateway.address(), "/").await,
        Traffic::start(gateway.address(), "/").await,
        Traffic::start(gateway.address(), "/").await,
    ];
    for _ in 0..3 {
        for client in &traffic {
            client.goes_on().await;
        }
        redis.signal("KILL").await;
        for client in &traffic {
            client.goes_on().await;
        }
        redis.start_again().await;
        let is_counted = async || {
            gateway.get("/warm").await;
            redis.ask("DBSIZE").await != ":0"
        };
        eventually("being counted again", is_counted).await;
    }
    for client in traffic {
        client.end().await;
    }
}

#[tokio::test]
async fn a_redis_that_comes_after_the_gateway_is_found() {
    let upstream = Upstream::named("up").await;
    let mut redis = Redis::start().await;
    redis.signal("KILL").await;
    let limit = json!({ "limit": 5, "per": "1h", "on-store-failure": "deny" });
    let gateway = TestGateway::start(&yaml(&upstream, &json!({ "url": redis.url(), "timeout": "5s" }), &limit)).await;
    assert_eq!(gateway.get("/").await.status, 503);
    redis.start_again().await;
    eventually("the state", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test]
async fn redis_is_reached_over_tls_by_a_user_with_a_password() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "redis", &["127.0.0.1", "localhost"]);
    authority.write(&folder.path().join("ca.pem"));
    let tls = "--tls-port TLS --tls-cert-file redis.pem --tls-key-file redis.key --tls-ca-cert-file ca.pem \
               --tls-auth-clients no";
    let users = "--user gateway on >correct-horse ~gateway:* +@all --user default off";
    let options: Vec<&str> = tls.split(' ').chain(users.split(' ')).filter(|option| !option.is_empty()).collect();
    let redis = Redis::within(folder, &options).await;
    let upstream = Upstream::named("up").await;
    let settings = json!({
        "url": format!("rediss://127.0.0.1:{}", redis.address().port()), "username": "gateway", "password": "REDIS",
        "ca": redis.folder().join("ca.pem"), "timeout": "5s",
    });
    let limit = json!({ "limit": 2, "per": "1h", "on-store-failure": "deny" });
    for (password, lets_in) in [("correct-horse", true), ("battery-staple", false)] {
        let folder = TempDir::new().unwrap();
        let config = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\nsecrets: {{ REDIS: {{ env: REDIS_PASSWORD }} }}\n{}",
            yaml(&upstream, &settings, &limit)
        );
        std::fs::write(folder.path().join("gateway.yaml"), config).unwrap();
        let mut process =
            Process::start_with(folder.path(), ["run", "-c", "gateway.yaml"], &[("REDIS_PASSWORD", password)]);
        let address = process.addresses().await[0];
        let line = if lets_in {
            process.logged("redis state backend available").await
        } else {
            process.logged("redis state backend unavailable").await
        };
        assert!(!line.contains(password), "{line}");
        let response = Client::connect(address).await.send(Request::get("/")).await;
        assert_eq!(response.status == 200, lets_in, "{}", response.text());
    }
}

#[tokio::test]
async fn a_cluster_has_the_limits_of_a_client_in_one_place() {
    let redis = Redis::with(&["--cluster-enabled", "yes"]).await;
    assert_eq!(redis.ask("CLUSTER ADDSLOTSRANGE 0 16383").await, "+OK");
    eventually("the cluster", async || redis.ask("SET probe 1").await == "+OK").await;
    redis.ask("DEL probe").await;
    let upstream = Upstream::named("up").await;
    let limits = json!({ "limits": [{ "limit": 2, "per": "1h" }, { "limit": 5, "per": "1d", "algorithm": "sliding-window" }],
        "on-store-failure": "deny", "key": { "header": "x-client" } });
    let gateway =
        TestGateway::start(&yaml(&upstream, &json!({ "cluster": [redis.url()], "timeout": "5s" }), &limits)).await;
    let ask = async |client: &str| gateway.send(Request::get("/").header("x-client", client)).await.status.as_u16();
    eventually("the state", async || ask("probe").await == 200).await;
    for client in ["a", "b", "c", "d"] {
        assert_eq!([ask(client).await, ask(client).await, ask(client).await], [200, 200, 429]);
    }
}

/// Each has a count of its own to be known by.
static GATEWAYS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn keys_that_one_gateway_has_fetched_another_one_has() {
    let redis = Redis::start().await;
    let (upstream, key) = (Upstream::named("up").await, Key::p256());
    let keys = json!({ "keys": [key.jwk("a")] }).to_string();
    let provider = Upstream::serving(move |_| {
        let keys = keys.clone();
        async move { http::Response::new(full(keys)) }
    })
    .await;
    // How requests are sent to an upstream does not make it another one.
    let config = |id: &str| {
        format!(
            "state: {{ backend: {{ redis: {{ url: '{}', timeout: 5s }} }} }}
plugins: {{ jwt: {{ grants: {{ upstreams: [id] }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }}, id: {{ endpoints: [{{ url: 'http://{}', weight: 7 }}]{id} }} }}
routes:
  - {{ name: all, plugins: [{{ name: jwt, config: {{ jwks-from: {{ upstream: id, path: /keys }} }} }}], upstream: up }}
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 1000, per: 1h, scope: {{ shared: warm-{} }} }} }}], upstream: up }}
",
            redis.url(),
            upstream.address(),
            provider.address(),
            GATEWAYS.fetch_add(1, Ordering::SeqCst)
        )
    };
    let token = key.token("a", &json!({ "sub": "ada", "exp": now() + 3600 }));
    let ask = || Request::get("/").header("authorization", &format!("Bearer {token}"));
    for id in ["", ", retry: {}, timeouts: { connect: 9s }, limits: { pending: 7 }"] {
        let gateway = TestGateway::start(&config(id)).await;
        let before = redis.ask("KEYS *warm*").await;
        eventually("the gateway being connected", async || {
            gateway.get("/warm").await;
            redis.ask("KEYS *warm*").await != before
        })
        .await;
        assert_eq!(gateway.send(ask()).await.status, 200);
        // Until they have arrived there, the other one would fetch them itself.
        eventually("Redis having them", async || redis.ask("KEYS *documents*").await != "*0").await;
        drop(gateway);
    }
    assert_eq!(provider.requests(), 1);
}
