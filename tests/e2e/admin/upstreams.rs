//! Endpoints: how they are, and what operators say of them.

use http::Method;
use serde_json::{Value, json};

use super::{ask, get, json_to, refused};
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually};

struct Two {
    gateway: TestGateway,
    upstreams: [Upstream; 2],
    yaml: String,
}

impl Two {
    async fn start() -> Self {
        let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
        let yaml = format!(
            "upstreams: {{ it: {{ endpoints: ['http://{}', 'http://{}'] }} }}\nroutes: [{{ name: all, upstream: it }}]\n",
            upstreams[0].address(),
            upstreams[1].address()
        );
        Self { gateway: TestGateway::start(&yaml).await, upstreams, yaml }
    }

    async fn direct(&self, which: usize, direction: &Value) -> Value {
        let target = format!("/upstreams/it/endpoints/{}", self.upstreams[which].address());
        let response = ask(&self.gateway, json_to(Method::PATCH, &target, direction)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["endpoints"][which].clone()
    }

    /// How many of so many requests each one got.
    async fn shares(&self, requests: usize) -> [usize; 2] {
        let before = self.upstreams.each_ref().map(Upstream::requests);
        let mut client = Client::connect(self.gateway.address()).await;
        for _ in 0..requests {
            assert_eq!(client.send(Request::get("/")).await.status, 200);
        }
        [0, 1].map(|which| self.upstreams[which].requests() - before[which])
    }
}

#[tokio::test]
async fn endpoints_are_shown_with_what_they_were_sent() {
    let two = Two::start().await;
    two.shares(10).await;
    let it = get(&two.gateway, "/upstreams").await[0].clone();
    assert_eq!((&it["name"], &it["protocol"], &it["requests"]), (&json!("it"), &json!("http1"), &json!({ "2xx": 10 })));
    let endpoint = &it["endpoints"][0];
    assert_eq!(endpoint["address"], two.upstreams[0].address().to_string());
    assert_eq!(
        (&endpoint["health"], &endpoint["drained"], &endpoint["weight"]),
        (&json!("healthy"), &json!(false), &json!(1))
    );
    assert_eq!(endpoint["requests"], 5);
    assert_eq!(get(&two.gateway, "/upstreams/it").await, it);
    assert_eq!(refused(&ask(&two.gateway, Request::get("/api/v1/upstreams/is")).await).0, 404);
}

#[tokio::test]
async fn a_drained_endpoint_gets_no_requests_until_it_is_enabled() {
    let mut two = Two::start().await;
    assert_eq!(two.shares(10).await, [5, 5]);
    assert_eq!(two.direct(0, &json!({ "drained": true })).await["drained"], true);
    assert_eq!(two.shares(10).await, [0, 10]);
    let up = two.gateway.metric("gateway_endpoint_up", &[("endpoint", &two.upstreams[0].address().to_string())]).await;
    assert_eq!(up, Some(0));
    // A reload does not forget it.
    let yaml = format!("{}# another one\n", two.yaml);
    two.gateway.reload(&yaml).await.expect("a sound configuration");
    let other = two.yaml.replace("it: { endpoints", "it: { balance: random, endpoints");
    two.gateway.reload(&other).await.expect("a sound configuration");
    assert_eq!(two.shares(10).await, [0, 10]);
    two.direct(0, &json!({ "drained": false })).await;
    let [one, _] = two.shares(40).await;
    assert!(one > 0);
}

#[tokio::test]
async fn without_any_endpoint_left_requests_are_told_so() {
    let two = Two::start().await;
    for which in [0, 1] {
        two.direct(which, &json!({ "drained": true })).await;
    }
    assert_eq!(two.gateway.get("/").await.status, 503);
    two.direct(1, &json!({ "drained": false })).await;
    assert_eq!(two.gateway.get("/").await.text(), "two");
}

#[tokio::test]
async fn requests_under_way_at_a_drained_endpoint_end_as_they_would() {
    let gate = Gate::answering("late").await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}\nroutes: [{{ name: all, upstream: it }}]\n",
        gate.address()
    ))
    .await;
    let address = gateway.address();
    let asked = tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await.text() });
    eventually("the request", async || gate.waiting() == 1).await;
    let target = format!("/upstreams/it/endpoints/{}", gate.address());
    let response = ask(&gateway, json_to(Method::PATCH, &target, &json!({ "drained": true }))).await;
    assert_eq!(response.json()["endpoints"][0]["in_flight"], 1);
    gate.release(1);
    assert_eq!(asked.await.expect("no panic"), "late");
    eventually("nothing being under way", async || {
        get(&gateway, "/upstreams/it").await["endpoints"][0]["in_flight"] == 0
    })
    .await;
}

#[tokio::test]
async fn an_endpoints_weight_can_be_changed_and_given_back() {
    let two = Two::start().await;
    let heavy = two.direct(1, &json!({ "weight": 4 })).await;
    assert_eq!((&heavy["weight"], &heavy["configured_weight"]), (&json!(4), &json!(1)));
    assert_eq!(two.shares(20).await, [4, 16]);
    let back = two.direct(1, &json!({ "weight": null })).await;
    assert_eq!(back["weight"], 1);
    assert_eq!(two.shares(20).await, [10, 10]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let two = Two::start().await;
    let address = two.upstreams[0].address();
    let try_to = async |target: &str, direction: Value| {
        refused(&ask(&two.gateway, json_to(Method::PATCH, target, &direction)).await).0
    };
    let endpoint = format!("/upstreams/it/endpoints/{address}");
    assert_eq!(try_to(&endpoint, json!({ "weight": 65_536 })).await, 422);
    assert_eq!(try_to(&endpoint, json!({ "weight": -1 })).await, 400);
    assert_eq!(try_to(&endpoint, json!({ "drain": true })).await, 400);
    assert_eq!(try_to("/upstreams/it/endpoints/127.0.0.1:1", json!({ "drained": true })).await, 404);
    assert_eq!(try_to("/upstreams/it/endpoints/nowhere", json!({ "drained": true })).await, 404);
    assert_eq!(try_to(&format!("/upstreams/is/endpoints/{address}"), json!({ "drained": true })).await, 404);
    assert_eq!(two.shares(4).await, [2, 2]);
}
