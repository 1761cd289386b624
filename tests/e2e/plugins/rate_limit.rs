//! Requests are counted by all workers together, and clients are told where they stand.

use serde_json::json;
use tokio::task::JoinSet;

use super::{Behind, yaml};
use crate::support::{
    Client, Response, TestGateway, Upstream,
    client::Request,
    eventually,
    token::{Key, now},
};

/// Sends as many requests, each on a connection of its own and all at once; who was let in and who was not.
async fn crowd(gateway: &TestGateway, size: usize) -> (Vec<Response>, Vec<Response>) {
    let mut requests = JoinSet::new();
    for _ in 0..size {
        let address = gateway.address();
        requests.spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    }
    let responses = requests.join_all().await;
    assert!(responses.iter().all(|response| [200, 429].contains(&response.status.as_u16())), "{responses:?}");
    responses.into_iter().partition(|response| response.status == 200)
}

/// The `r` or `t` of a `RateLimit` field.
fn number(field: &str, name: &str) -> u64 {
    let value = field.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {field:?}"))
}

#[tokio::test]
async fn exactly_as_many_requests_pass_as_the_limit_says_whichever_worker_they_meet() {
    let behind = Behind::plugin("rate-limit", &json!({ "limit": 20, "per": "1h" })).await;
    let (passed, refused) = crowd(&behind.gateway, 60).await;
    assert_eq!((passed.len(), refused.len()), (20, 40));
    assert_eq!(behind.upstream.requests(), 20);

    let mut left: Vec<u64> = passed.iter().map(|response| number(response.header("ratelimit"), "r")).collect();
    left.sort_unstable();
    assert_eq!(left, (0..20).collect::<Vec<_>>(), "each was told another number");
    for response in passed.iter().chain(&refused) {
        assert_eq!(response.header("ratelimit-policy"), "\"default\";q=20;w=3600");
    }
    for response in &refused {
        assert_eq!(number(response.header("ratelimit"), "r"), 0);
        let retry: u64 = response.header("retry-after").parse().unwrap();
        // Units come back evenly: one each 180 seconds.
        assert!((1..=180).contains(&retry), "{retry}");
        let problem = response.problem();
        assert_eq!(problem["detail"], "too many requests, try again later");
        assert_eq!(problem["violated-policies"], json!(["default"]));
    }
    let denied = "gateway_plugin_rate_limit_denied_total{plugin=\"rate-limit\",policy=\"default\",route=\"all\"} 40";
    let metrics = behind.gateway.metrics().await;
    assert!(metrics.contains(denied), "{metrics}");
}

#[tokio::test]
async fn units_come_back() {
    let behind = Behind::plugin("rate-limit", &json!({ "limit": 1, "per": "300ms" })).await;
    assert_eq!(behind.get("/").await.status, 200);
    eventually("a unit is back", async || behind.get("/").await.status == 200).await;
}

#[tokio::test]
async fn each_user_of_a_token_is_counted_apart() {
    let key = Key::ed25519();
    let jwt = json!({ "keys": [key.config("o")] });
    let limit = json!({ "limit": 3, "per": "1h", "key": { "attribute": "jwt.sub" } });
    let plugins = format!("[{{ name: jwt, config: {jwt} }}, {{ name: rate-limit, config: {limit} }}]");
    let behind = Behind::with(&plugins, "").await;
    let mut statuses = Vec::new();
    for user in ["ada", "bob", "ada", "ada", "bob", "ada", "ada"] {
        let token = key.token("o", &json!({ "sub": user, "exp": now() + 3600 }));
        let request = Request::get("/").header("authorization", &format!("Bearer {token}"));
        statuses.push((user, behind.send(request).await.status.as_u16()));
    }
    let expected = [("ada", 200), ("bob", 200), ("ada", 200), ("ada", 200), ("bob", 200), ("ada", 429), ("ada", 429)];
    assert_eq!(statuses, expected);
    // Who is turned away before is not counted.
    assert_eq!(behind.get("/").await.status, 401);
    assert_eq!(behind.upstream.requests(), 5);
}

#[tokio::test]
async fn several_limits_must_all_allow_and_old_fields_are_sent_if_asked_for() {
    let config = json!({
        "limits": [
            { "limit": 2, "per": "1h", "name": "slow" },
            { "limit": 10, "per": "1m", "name": "fast" },
        ],
        "key": { "header": "x-key" },
        "headers": "both",
    });
    let behind = Behind::plugin("rate-limit", &config).await;
    let send = |key: &str| behind.send(Request::get("/").header("x-key", key));
    for remaining in ["1", "0"] {
        let response = send("a").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-ratelimit-limit"), "2");
        assert_eq!(response.header("x-ratelimit-remaining"), remaining);
        assert_eq!(response.header_values("ratelimit-policy").join(", ").matches("q=").count(), 2);
    }
    let refused = send("a").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.problem()["violated-policies"], json!(["slow"]));
    assert_eq!(send("b").await.status, 200, "another key, another count");
}

#[tokio::test]
async fn routes_count_apart_unless_they_share_a_scope() {
    let upstream = Upstream::echo().await;
    let route = |name: &str, scope: &str| {
        let config = format!("{{ limit: 1, per: 1h{scope} }}");
        format!(
            "  - {{ name: {name}, match: {{ path: /{name} }}, upstream: echo, plugins: [{{ name: rate-limit, config: {config} }}] }}\n"
        )
    };
    let shared = ", scope: { shared: uploads }";
    let routes = [route("a", ""), route("b", ""), route("c", shared), route("d", shared)].concat();
    let yaml = format!("upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}\nroutes:\n{routes}", upstream.address());
    let gateway = TestGateway::start(&yaml).await;
    let mut statuses = Vec::new();
    for target in ["/a", "/b", "/a", "/c", "/d"] {
        statuses.push(gateway.get(target).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429]);
}

#[tokio::test]
async fn counts_survive_a_reload() {
    let upstream = Upstream::echo().await;
    let limited = |burst: u32| {
        yaml(&upstream, &format!("[{{ name: rate-limit, config: {{ limit: 1, per: 1h, burst: {burst} }} }}]"), "")
    };
    let mut gateway = TestGateway::start(&limited(1)).await;
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.reload(&limited(1)).await.unwrap();
    assert_eq!(gateway.get("/").await.status, 429);
    gateway.reload(&limited(3)).await.unwrap();
    let (passed, _) = crowd(&gateway, 10).await;
    assert_eq!(passed.len(), 2, "one of the three was taken before");
}

#[tokio::test]
async fn a_bucket_that_is_not_granted_stops_the_start() {
    let upstream = Upstream::echo().await;
    let grants = "plugins: { rate-limit: { grants: { store: [other] } } }";
    let yaml = yaml(&upstream, "[{ name: rate-limit, config: { limit: 1, per: 1m } }]", grants);
    let problems = TestGateway::try_start(&yaml).await.err().expect("it should not start").to_string();
    assert!(problems.contains("the bucket `rate-limit` is not granted"), "{problems}");
}

/// Sends one request each for so many clients that nobody has heard of, over several connections.
async fn flood(gateway: &TestGateway, path: &'static str, clients: usize) {
    const CONNECTIONS: usize = 4;
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let address = gateway.address();
        tasks.spawn(async move {
            let mut client = Client::connect(address).await;
            for number in 0..clients / CONNECTIONS {
                let name = format!("flood-{connection}-{number}");
                assert_eq!(client.send(Request::get(path).header("x-client", &name)).await.status, 200);
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_flood_of_clients_neither_frees_who_is_refused_nor_makes_another_route_forget() {
    let limit = |limit: u32| json!({ "limit": limit, "per": "1h", "key": { "header": "x-client" } });
    let gateway = TestGateway::start(&format!(
        "limits: {{ store-bytes: 1MiB }}
routes:
  - {{ name: flooded, match: {{ path: /flooded }}, plugins: [{{ name: rate-limit, config: {} }}], respond: {{}} }}
  - {{ name: other, match: {{ path: /other }}, plugins: [{{ name: rate-limit, config: {} }}], respond: {{}} }}
",
        limit(2),
        limit(10)
    ))
    .await;
    let ask = async |path: &str, client: &str| gateway.send(Request::get(path).header("x-client", client)).await;
    for expected in [200, 200, 429] {
        assert_eq!(ask("/flooded", "anna").await.status, expected);
    }
    assert_eq!(number(ask("/other", "berta").await.header("ratelimit"), "r"), 9);
    // About twice what there is room for.
    flood(&gateway, "/flooded", 6000).await;
    assert_eq!(ask("/flooded", "anna").await.status, 429);
    assert_eq!(number(ask("/other", "berta").await.header("ratelimit"), "r"), 8);
    let entries = gateway.metrics().await;
    let entries = entries.lines().find_map(|line| line.strip_prefix("gateway_store_bytes ")).expect("a figure");
    assert!((900_000..=1 << 20).contains(&entries.parse::<usize>().unwrap()), "it was full: {entries}");
}
