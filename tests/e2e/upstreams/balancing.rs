//! Which endpoint gets a request: by load, by lot, by a key of the request.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::{answers, balanced};
use crate::support::{
    Client, Gate, TestGateway, Upstream,
    client::Request,
    counted::metric,
    eventually,
    token::{Key, now},
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn named() -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for name in NAMES {
        upstreams.push(Upstream::named(name).await);
    }
    upstreams
}

async fn gateway(upstreams: &[Upstream], balance: &str) -> TestGateway {
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    TestGateway::start(&balanced(&addresses, &format!("balance: {balance}"))).await
}

#[tokio::test]
async fn random_reaches_every_endpoint() {
    let upstreams = named().await;
    let gateway = gateway(&upstreams, "random").await;
    assert_eq!(answers(&gateway, 200).await.len(), NAMES.len());
}

#[tokio::test]
async fn least_request_goes_past_an_endpoint_that_is_held_up() {
    let (slow, fast) = (Gate::answering("slow").await, Upstream::named("fast").await);
    let gateway = TestGateway::start(&balanced(&[slow.address(), fast.address()], "balance: least-request")).await;
    let address = gateway.address();
    // Without load it is by lot: sooner or later one gets held up.
    let held_up = loop {
        let asking = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.text() });
        eventually("an answer, or none", async || asking.is_finished() || slow.waiting() > 0).await;
        if !asking.is_finished() {
            break asking;
        }
    };
    assert_eq!(answers(&gateway, 50).await, HashMap::from([("fast".to_owned(), 50)]));
    slow.release(1);
    assert_eq!(held_up.await.expect("no panic"), "slow");
}

/// Who answers each of so many keys.
async fn by_key(gateway: &TestGateway, request: impl Fn(usize) -> Request) -> Vec<String> {
    let mut client = Client::connect(gateway.address()).await;
    let mut names = Vec::new();
    for key in 0..100 {
        names.push(client.send(request(key)).await.text());
    }
    names
}

#[tokio::test]
async fn a_header_finds_the_same_endpoint_again_and_only_the_keys_of_one_that_goes_move() {
    let upstreams = named().await;
    let balance = "{ hash: { header: X-User } }";
    let mut gateway = gateway(&upstreams, balance).await;
    let request = |key: usize| Request::get("/").header("x-user", &format!("user-{key}"));
    let before = by_key(&gateway, request).await;
    assert_eq!(before.iter().collect::<HashSet<_>>().len(), NAMES.len());
    assert_eq!(by_key(&gateway, request).await, before);

    let fewer: Vec<_> = upstreams[1..].iter().map(Upstream::address).collect();
    gateway.reload(&balanced(&fewer, &format!("balance: {balance}"))).await.expect("a good configuration");
    for (before, after) in before.iter().zip(by_key(&gateway, request).await) {
        assert!(before == "a" || *before == after, "{before} → {after}");
        assert_ne!(after, "a");
    }
}

#[tokio::test]
async fn a_cookie_or_the_clients_address_can_be_the_key() {
    let upstreams = named().await;
    let by_cookie = gateway(&upstreams, "{ hash: { cookie: session } }").await;
    let request = |key: usize| Request::get("/").header("cookie", &format!("a=b; session={key}; c={key}"));
    let first = by_key(&by_cookie, request).await;
    assert_eq!(by_key(&by_cookie, request).await, first);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), NAMES.len());

    let by_address = gateway(&upstreams, "{ hash: client-address }").await;
    assert_eq!(answers(&by_address, 50).await.len(), 1);
}

#[tokio::test]
async fn an_attribute_that_a_plugin_set_can_be_the_key() {
    let upstreams = named().await;
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let key = Key::secret("a secret that only this test knows");
    let plugins = json!([{ "name": "jwt", "config": { "keys": [key.config("h")] } }]);
    let config = balanced(&addresses, "balance: { hash: { attribute: jwt.sub } }")
        .replace("upstream: it", &format!("upstream: it, plugins: {plugins}"));
    let gateway = TestGateway::start(&config).await;
    let request = |user: usize| {
        let claims = json!({ "sub": format!("user-{user}"), "exp": now() + 300 });
        Request::get("/").header("authorization", &format!("Bearer {}", key.token("h", &claims)))
    };
    let first = by_key(&gateway, request).await;
    assert_eq!(by_key(&gateway, request).await, first);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), NAMES.len());
}

#[tokio::test]
async fn a_request_without_the_key_goes_anywhere() {
    let upstreams = named().await;
    let gateway = gateway(&upstreams, "{ hash: { header: x-user } }").await;
    assert_eq!(answers(&gateway, 200).await.len(), NAMES.len());
    assert_eq!(metric(&gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}").await, 5);
}

/// A gateway to two endpoints of which the first has the weight 0.
async fn with_weight_0(balance: &str, a: &Upstream, b: &Upstream) -> TestGateway {
    let endpoints =
        format!("{{ url: 'http://{}', weight: 0 }}, {{ url: 'http://{}', weight: 2 }}", a.address(), b.address());
    TestGateway::start(&super::configured(&endpoints, &format!("balance: {balance}"))).await
}

#[tokio::test]
async fn an_endpoint_of_weight_0_gets_no_requests_and_can_be_given_some() {
    let (a, b) = (Upstream::named("a").await, Upstream::named("b").await);
    for balance in ["round-robin", "random", "least-request", "{ hash: client-address }"] {
        let gateway = with_weight_0(balance, &a, &b).await;
        assert_eq!(answers(&gateway, 20).await, HashMap::from([("b".to_owned(), 20)]), "{balance}");
        assert_eq!(metric(&gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"drained\"}").await, 1);
    }
    let gateway = with_weight_0("round-robin", &a, &b).await;
    let weigh = async |endpoint: &Upstream, weight: u32| {
        let target = format!("/api/v1/upstreams/it/endpoints/{}", endpoint.address());
        let body = json!({ "weight": weight }).to_string();
        let request = Request::new(http::Method::PATCH, &target).header("content-type", "application/json");
        let request = request.body(http_body_util::BodyExt::boxed(http_body_util::Full::new(body.into())));
        assert_eq!(Client::connect(gateway.admin()).await.send(request).await.status, 200);
    };
    weigh(&a, 2).await;
    assert_eq!(answers(&gateway, 20).await.len(), 2);
    weigh(&b, 0).await;
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("a".to_owned(), 20)]));
    weigh(&a, 0).await;
    assert_eq!(gateway.get("/").await.status, 503, "nobody is left");
}

#[tokio::test]
async fn a_part_of_a_split_may_have_the_weight_0() {
    let (a, b) = (Upstream::named("a").await, Upstream::named("b").await);
    let config = format!(
        "upstreams: {{ a: {{ endpoints: ['http://{}'] }}, b: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, split: [{{ upstream: a, weight: 0 }}, {{ upstream: b, weight: 1 }}] }}]
",
        a.address(),
        b.address()
    );
    let gateway = TestGateway::start(&config).await;
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("b".to_owned(), 20)]));
    let nowhere = TestGateway::try_start(&config.replace("weight: 1", "weight: 0")).await;
    assert!(nowhere.err().expect("a problem").to_string().contains("every weight is 0"));
}
