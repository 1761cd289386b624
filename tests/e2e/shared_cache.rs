//! What several gateways keep in a real Redis behind their memories, and forget together.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::{Client, TestGateway, Upstream, client::Request, eventually, redis::Redis};

/// Each has a count of its own to be known by.
static GATEWAYS: AtomicUsize = AtomicUsize::new(0);

/// A gateway that keeps responses in this Redis too, once it has found it. What is there stays there.
async fn caching(upstream: &Upstream, redis: &Redis) -> TestGateway {
    let config = format!(
        "state: {{ backend: {{ redis: {{ url: '{}', timeout: 5s }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: all, plugins: [{{ name: cache, config: {{ shared: true, default-ttl: 1h, key: {{ host: false, scheme: false }} }} }}], upstream: up }}
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 1000, per: 1h, scope: {{ shared: warm-{} }} }} }}], upstream: up }}
",
        redis.url(),
        upstream.address(),
        GATEWAYS.fetch_add(1, Ordering::SeqCst)
    );
    let gateway = TestGateway::start(&config).await;
    // What is counted in Redis is one key more.
    let before = redis.ask("DBSIZE").await;
    eventually("the gateway being connected", async || {
        gateway.get("/warm").await;
        redis.ask("DBSIZE").await != before
    })
    .await;
    gateway
}

fn is_hit(response: &crate::support::Response) -> bool {
    response.header("cache-status").contains("; hit; ")
}

/// Whether Redis has a response for this path, whatever else is in its key.
async fn in_redis(redis: &Redis, path: &str) -> bool {
    redis.ask(&format!("KEYS gateway:cache:c:{{.{path}?*}}")).await != "*0"
}

#[tokio::test]
async fn what_one_gateway_has_fetched_another_one_finds() {
    let redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let (first, second) = (caching(&upstream, &redis).await, caching(&upstream, &redis).await);
    let fetched = first.get("/a").await;
    assert!(!is_hit(&fetched), "{:?}", fetched.headers);
    // It is on its way there when the client has its answer.
    eventually("Redis having it", async || in_redis(&redis, "/a").await).await;
    let before = upstream.requests();
    let found = second.get("/a").await;
    assert!(is_hit(&found), "{:?}", found.headers);
    assert_eq!((found.text(), upstream.requests()), (fetched.text(), before));
    assert_eq!(found.header("content-type"), "application/json");
    // A restart forgets what is in memory, and nothing else.
    drop(first);
    let third = caching(&upstream, &redis).await;
    let before = upstream.requests();
    assert!(is_hit(&third.get("/a").await));
    assert_eq!(upstream.requests(), before);
}

#[tokio::test]
async fn what_is_stored_for_one_consumer_stays_in_the_memory_of_its_gateway() {
    let redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let (first, second) = (caching(&upstream, &redis).await, caching(&upstream, &redis).await);
    let anna = || Request::get("/own").header("authorization", "Bearer anna");
    first.send(anna()).await;
    assert!(is_hit(&first.send(anna()).await));
    // What comes later is there, so it would be too.
    first.get("/a").await;
    eventually("Redis having it", async || in_redis(&redis, "/a").await).await;
    assert!(!in_redis(&redis, "/own").await);
    assert!(!is_hit(&second.send(anna()).await));
}

#[tokio::test]
async fn a_purge_is_heard_by_every_gateway() {
    let redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let (first, second) = (caching(&upstream, &redis).await, caching(&upstream, &redis).await);
    for target in ["/shop/1", "/shop/2", "/other"] {
        first.get(target).await;
        eventually("the other one having it", async || is_hit(&second.get(target).await)).await;
    }
    let order = Request::new(http::Method::DELETE, "/api/v1/cache/cache?prefix=/shop/");
    let purged = Client::connect(first.admin()).await.send(order).await;
    assert_eq!(purged.json(), json!({ "purged": 2 }));
    // What is in Redis from before is not believed, neither here nor there.
    assert!(!is_hit(&first.get("/shop/1").await));
    eventually("the other one having heard of it", async || !is_hit(&second.get("/shop/2").await)).await;
    assert!(is_hit(&second.get("/other").await));
    // What is kept from now on is.
    eventually("a hit", async || is_hit(&second.get("/shop/1").await)).await;
}

#[tokio::test]
async fn what_a_client_changes_through_one_gateway_every_gateway_forgets() {
    let redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let (first, second) = (caching(&upstream, &redis).await, caching(&upstream, &redis).await);
    for target in ["/shop/1", "/shop/2"] {
        first.get(target).await;
        eventually("the other one having it", async || is_hit(&second.get(target).await)).await;
    }
    // What was never kept is nobody's news.
    let post = async |target| first.send(Request::new(http::Method::POST, target)).await.status;
    for target in ["/orders", "/shop/1"] {
        assert_eq!(post(target).await, 200);
    }
    eventually("the other one having heard of it", async || !is_hit(&second.get("/shop/1").await)).await;
    assert!(is_hit(&second.get("/shop/2").await));
    assert!(is_hit(&second.get("/shop/1").await), "it is kept anew");
    assert_eq!(redis.ask("LLEN gateway:{.forgotten}:orders").await, ":1");
}

#[tokio::test]
async fn without_its_redis_a_cache_has_its_memory() {
    let mut redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let gateway = caching(&upstream, &redis).await;
    gateway.get("/a").await;
    redis.signal("KILL").await;
    assert!(is_hit(&gateway.get("/a").await));
    gateway.get("/b").await;
    assert!(is_hit(&gateway.get("/b").await));
}

#[tokio::test]
async fn calls_of_a_cache_that_looks_in_this_gateway_only_do_not_wait_for_redis() {
    let redis = Redis::start().await;
    for (shared, fibers) in [(false, false), (true, true)] {
        let gateway = TestGateway::start(&format!(
            "state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}
routes: [{{ name: all, plugins: [{{ name: cache, config: {{ default-ttl: 1m, shared: {shared} }} }}], respond: {{ body: hello }} }}]
",
            redis.url()
        ))
        .await;
        eventually("Redis", async || gateway.metrics().await.contains("\ngateway_redis_up 1\n")).await;
        let plugins = Client::connect(gateway.admin()).await.send(Request::get("/api/v1/plugins")).await.json();
        assert_eq!(plugins[0]["calls_on_fibers"], fibers, "{plugins}");
        for _ in 0..2 {
            assert_eq!(gateway.get("/").await.text(), "hello");
        }
    }
}
