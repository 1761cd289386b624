//! Redis that is there and does not serve: primaries that are demoted, servers short of memory or of replicas, clusters that lack a
//! node, users whose passwords change.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{Client, TestGateway, client::Request, eventually, redis::Redis};

/// A gateway that refuses what it cannot count.
async fn gateway(redis: &Value, rest: &str) -> TestGateway {
    let limit = json!({ "limit": 100_000, "per": "30d", "on-store-failure": "deny", "key": { "header": "x-client" } });
    TestGateway::start(&format!(
        "state: {{ backend: {{ redis: {redis} }} }}
{rest}
routes: [{{ name: all, plugins: [{{ name: rate-limit, config: {limit} }}], respond: {{}} }}]
"
    ))
    .await
}

async fn status(gateway: &TestGateway) -> u16 {
    gateway.get("/").await.status.as_u16()
}

async fn figure(gateway: &TestGateway, series: &str) -> String {
    let metrics = gateway.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).to_owned()
}

async fn ready(gateway: &TestGateway, path: &str) -> (u16, String) {
    let response = Client::connect(gateway.admin()).await.send(Request::get(path)).await;
    (response.status.as_u16(), response.text())
}

/// Requests are answered, and everything that tells says so.
async fn all_is_well(gateway: &TestGateway) {
    eventually("being counted", async || status(gateway).await == 200).await;
    eventually("that being told", async || figure(gateway, "gateway_redis_up").await == "1").await;
    assert_eq!(ready(gateway, "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(ready(gateway, "/readyz/state").await.0, 200);
}

/// Everything that tells says that the state is unavailable, though nobody asked for it.
async fn it_is_told(gateway: &TestGateway) {
    eventually("that being told", async || figure(gateway, "gateway_redis_up").await == "0").await;
    assert_eq!(ready(gateway, "/readyz").await, (200, "ready\nstate: unavailable\n".to_owned()));
    assert_eq!(ready(gateway, "/readyz/state").await, (503, "state: unavailable\n".to_owned()));
    assert_eq!(status(gateway).await, 503);
}

#[tokio::test]
async fn a_redis_that_answers_and_does_not_serve_is_unavailable_until_it_serves_again() {
    let (redis, other) = (Redis::start().await, Redis::start().await);
    let gateway = gateway(&json!({ "url": redis.url(), "timeout": "5s" }), "").await;
    let demoted = format!("REPLICAOF 127.0.0.1 {}", other.port());
    for (breaks, mends) in [
        (&*demoted, "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("ACL SETUSER default -set", "ACL SETUSER default +@all"),
    ] {
        all_is_well(&gateway).await;
        assert_eq!(redis.ask(breaks).await, "+OK");
        it_is_told(&gateway).await;
        assert_eq!(redis.ask(mends).await, "+OK");
    }
    all_is_well(&gateway).await;
}

#[tokio::test]
async fn one_command_that_is_not_permitted_makes_nothing_else_unavailable() {
    let redis = Redis::start().await;
    assert_eq!(redis.ask("ACL SETUSER default -lrange -hvals").await, "+OK");
    let gateway = gateway(&json!({ "url": redis.url(), "timeout": "5s" }), "").await;
    all_is_well(&gateway).await;
}

/// One address whose new connections lead to the present primary, as behind a load balancer.
async fn forwarder(to: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let port = to.load(Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn the_new_primary_is_used_though_the_connection_to_the_old_one_stays_open() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let target = Arc::new(AtomicU16::new(old.port()));
    let port = forwarder(target.clone()).await;
    let gateway = gateway(&json!({ "url": format!("redis://127.0.0.1:{port}"), "timeout": "5s" }), "").await;
    all_is_well(&gateway).await;
    target.store(new.port(), Ordering::SeqCst);
    assert_eq!(old.ask(&format!("REPLICAOF 127.0.0.1 {}", new.port())).await, "+OK");
    eventually("being counted there", async || status(&gateway).await == 200 && new.ask("DBSIZE").await == ":1").await;
    all_is_well(&gateway).await;
}

#[tokio::test]
async fn the_primary_that_sentinels_name_is_used_after_a_failover_too() {
    let old = Redis::start().await;
    let new = Redis::with(&["--replicaof", &format!("127.0.0.1 {}", old.port())]).await;
    let sentinel = Redis::sentinel(&old).await;
    let nobody = "redis://127.0.0.1:1";
    let settings = json!({ "url": "redis://main", "sentinels": [nobody, sentinel.url()], "timeout": "5s" });
    let gateway = gateway(&settings, "").await;
    all_is_well(&gateway).await;
    eventually("the failover", async || sentinel.ask("SENTINEL FAILOVER main").await == "+OK").await;
    let is_primary = async || new.ask("ROLE").await == "*3" && new.ask("SET probe 1").await == "+OK";
    eventually("the promotion", is_primary).await;
    new.ask("FLUSHALL").await;
    eventually("being counted there", async || status(&gateway).await == 200 && new.ask("DBSIZE").await == ":1").await;
    all_is_well(&gateway).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_that_is_gone_takes_only_its_own_keys_along() {
    let options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
    let mut nodes = [Redis::with(&options).await, Redis::with(&options).await, Redis::with(&options).await];
    for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
        assert_eq!(node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await, "+OK");
    }
    for node in &nodes[1..] {
        assert_eq!(nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {}", node.port())).await, "+OK");
    }
    // Each of them has to know who has what: 16384 slots in three lines.
    for node in &nodes {
        eventually("the cluster", async || node.ask("CLUSTER SLOTS").await == "*3").await;
    }
    let settings = json!({ "cluster": [nodes[0].url(), "redis://127.0.0.1:1"], "timeout": "5s" });
    let gateway = gateway(&settings, "").await;
    all_is_well(&gateway).await;
    assert_eq!(figure(&gateway, "gateway_redis_nodes{state=\"available\"}").await, "3");
    for node in &nodes {
        node.ask("FLUSHALL").await;
    }
    let clients: Vec<String> = (0..40).map(|n| format!("client-{n}")).collect();
    let statuses = async || {
        let mut connection = Client::connect(gateway.address()).await;
        let mut statuses = Vec::new();
        for client in &clients {
            statuses.push(connection.send(Request::get("/").header("x-client", client)).await.status.as_u16());
        }
        statuses
    };
    let refused = |statuses: &[u16]| statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(refused(&statuses().await), 0);
    // One key for each client.
    let lost: usize = nodes[2].ask("DBSIZE").await.trim_start_matches(':').parse().unwrap();
    assert!(lost > 0 && lost < clients.len(), "{lost}");
    for signal in ["KILL", "STOP"] {
        nodes[2].signal(signal).await;
        eventually("that being told", async || figure(&gateway, "gateway_redis_up").await == "0").await;
        for _ in 0..3 {
            let statuses = statuses().await;
            assert_eq!(refused(&statuses), lost, "{signal}: {statuses:?}");
            assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{signal}: {statuses:?}");
        }
        assert_eq!(figure(&gateway, "gateway_redis_nodes{state=\"available\"}").await, "2");
        assert_eq!(figure(&gateway, "gateway_redis_nodes{state=\"unavailable\"}").await, "1");
        match signal {
            "KILL" => nodes[2].start_again().await,
            _ => nodes[2].signal("CONT").await,
        }
        eventually("all of it", async || refused(&statuses().await) == 0).await;
        all_is_well(&gateway).await;
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_found_at_its_new_node() {
    let nodes = [Redis::with(&["--cluster-enabled", "yes"]).await, Redis::with(&["--cluster-enabled", "yes"]).await];
    assert_eq!(nodes[0].ask("CLUSTER ADDSLOTSRANGE 0 16382").await, "+OK");
    assert_eq!(nodes[1].ask("CLUSTER ADDSLOTS 16383").await, "+OK");
    assert_eq!(nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[1].port())).await, "+OK");
    for node in &nodes {
        eventually("the cluster", async || node.ask("CLUSTER SLOTS").await == "*2").await;
    }
    let gateway = gateway(&json!({ "cluster": [nodes[0].url()], "timeout": "5s" }), "").await;
    all_is_well(&gateway).await;
    // Requests without `x-client` count for the address, so there is one key, and one slot.
    let key = "gateway:rate-limit:q:{.route=all/client-address=127.0.0.1}:default";
    let slot = nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
    let slot = slot.trim_start_matches(':');
    for node in &nodes {
        node.ask("FLUSHALL").await;
    }
    let id = async |node: &Redis| node.bulk("CLUSTER MYID").await;
    let (from, to) = (id(&nodes[0]).await, id(&nodes[1]).await);
    assert_eq!(nodes[1].ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}")).await, "+OK");
    assert_eq!(nodes[0].ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}")).await, "+OK");
    // The key is not at the old node, which sends on those that ask for it.
    assert_eq!(status(&gateway).await, 200);
    assert_eq!(nodes[1].ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).await, ":1");
    for node in [&nodes[1], &nodes[0]] {
        assert_eq!(node.ask(&format!("CLUSTER SETSLOT {slot} NODE {to}")).await, "+OK");
    }
    assert_eq!(status(&gateway).await, 200);
}

#[tokio::test]
async fn a_password_and_a_user_that_have_changed_in_their_files_are_used_for_the_next_connection() {
    let redis = Redis::with(&["--user", "one", "on", ">first", "~gateway:*", "+@all"]).await;
    let folder = TempDir::new().unwrap();
    let write = |user: &str, password: &str| {
        std::fs::write(folder.path().join("user"), user).unwrap();
        std::fs::write(folder.path().join("password"), format!("{password}\n")).unwrap();
    };
    write("one", "first");
    let settings = json!({ "url": redis.url(), "username-from": "USER", "password": "PASSWORD", "timeout": "5s" });
    let at = |name: &str| folder.path().join(name).display().to_string();
    let secrets = json!({ "USER": { "file": at("user") }, "PASSWORD": { "file": at("password") } });
    let gateway = gateway(&settings, &format!("secrets: {secrets}")).await;
    all_is_well(&gateway).await;
    for (user, password) in [("one", "second"), ("two", "third")] {
        let rules = format!("ACL SETUSER {user} on resetpass >{password} ~gateway:* +@all");
        assert_eq!(redis.ask(&rules).await, "+OK");
        if user == "two" {
            // Those who are it are disconnected.
            assert_eq!(redis.ask("ACL DELUSER one").await, ":1");
        } else {
            assert_eq!(redis.ask("CLIENT KILL USER one").await, ":1");
        }
        it_is_told(&gateway).await;
        write(user, password);
        all_is_well(&gateway).await;
    }
}
