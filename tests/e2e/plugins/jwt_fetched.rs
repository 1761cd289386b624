//! Keys that an identity provider publishes, over real sockets.

use std::sync::{Arc, Mutex};

use http::{Response as Answer, StatusCode};
use serde_json::{Value, json};

use super::yaml;
use crate::support::{
    Client, Gate, Response, TestGateway, Upstream,
    client::Request,
    eventually,
    token::{Key, now},
    upstream::full,
};

/// A provider whose keys can be changed, and which can fail.
pub(super) struct Provider {
    pub(super) upstream: Upstream,
    answer: Arc<Mutex<(StatusCode, String)>>,
}

impl Provider {
    pub(super) async fn publishing(keys: &[(&str, &Key)]) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, set(keys))));
        let shared = answer.clone();
        let upstream = Upstream::serving(move |_| {
            let (status, text) = shared.lock().unwrap().clone();
            async move {
                let mut answer = Answer::new(full(text));
                *answer.status_mut() = status;
                answer
            }
        })
        .await;
        Self { upstream, answer }
    }

    pub(super) fn publish(&self, keys: &[(&str, &Key)]) {
        *self.answer.lock().unwrap() = (StatusCode::OK, set(keys));
    }

    pub(super) fn fail(&self) {
        *self.answer.lock().unwrap() = (StatusCode::BAD_GATEWAY, "away".to_owned());
    }
}

pub(super) fn set(keys: &[(&str, &Key)]) -> String {
    json!({ "keys": keys.iter().map(|(kid, key)| key.jwk(kid)).collect::<Vec<_>>() }).to_string()
}

pub(super) fn config(provider: std::net::SocketAddr, upstream: &Upstream, jwt: &Value) -> String {
    let plugins = format!("[{{ name: jwt, config: {jwt} }}]");
    let text = yaml(upstream, &plugins, "plugins: { jwt: { grants: { upstreams: [id] } } }");
    text.replace("upstreams: {", &format!("upstreams: {{ id: {{ endpoints: ['http://{provider}'] }},"))
}

pub(super) fn from_id() -> Value {
    json!({ "jwks-from": { "upstream": "id", "path": "/keys", "retry": "1s" } })
}

pub(super) fn bearer(key: &Key, kid: &str) -> Request {
    let token = key.token(kid, &json!({ "sub": "ada", "exp": now() + 3600 }));
    Request::get("/").header("authorization", &format!("Bearer {token}"))
}

fn why(response: &Response) -> (u16, String) {
    (response.status.as_u16(), response.problem()["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn many_clients_on_all_workers_are_one_fetch() {
    let (upstream, key) = (Upstream::echo().await, Key::p256());
    let provider = Provider::publishing(&[("a", &key)]).await;
    let gateway = TestGateway::start(&config(provider.upstream.address(), &upstream, &from_id())).await;
    let address = gateway.address();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let request = bearer(&key, "a");
            tokio::spawn(async move { Client::connect(address).await.send(request).await.status.as_u16() })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(provider.upstream.requests(), 1);
}

#[tokio::test]
async fn keys_are_fetched_before_the_first_token_comes_and_again_without_any() {
    let (upstream, key) = (Upstream::echo().await, Key::p256());
    let provider = Provider::publishing(&[("a", &key)]).await;
    let text = config(provider.upstream.address(), &upstream, &from_id());
    let mut gateway = TestGateway::start(&text).await;
    eventually("the keys", async || provider.upstream.requests() == 1).await;
    // After a reload the upstream may be another one.
    gateway.reload(&format!("{text}\n# changed\n")).await.unwrap();
    eventually("the keys of the new configuration", async || provider.upstream.requests() == 2).await;
    provider.fail();
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200, "no fetch is needed");
}

#[tokio::test]
async fn a_provider_that_was_started_after_the_gateway_is_asked_again_by_the_first_token() {
    let (upstream, key) = (Upstream::echo().await, Key::ed25519());
    let provider = Provider::publishing(&[]).await;
    provider.fail();
    let jwt = json!({ "jwks-from": { "upstream": "id", "path": "/keys", "retry": "1h" } });
    let gateway = TestGateway::start(&config(provider.upstream.address(), &upstream, &jwt)).await;
    eventually("an early attempt", async || provider.upstream.requests() == 1).await;
    provider.publish(&[("a", &key)]);
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200);
    assert_eq!(provider.upstream.requests(), 2);
}

#[tokio::test]
async fn who_comes_while_keys_are_fetched_waits_for_the_same_fetch() {
    let (upstream, gate, key) = (Upstream::echo().await, Gate::answering("{\"keys\":[]}").await, Key::ed25519());
    let text = config(gate.address(), &upstream, &from_id());
    let gateway = TestGateway::start(&format!("{text}timeouts: {{ initial-fetch: 0s }}\n")).await;
    let address = gateway.address();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let request = bearer(&key, "a");
            tokio::spawn(async move { Client::connect(address).await.send(request).await })
        })
        .collect();
    gate.arrivals(1).await;
    let waiting = async || gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "jwt")]).await;
    eventually("all clients waiting", async || waiting().await == Some(20)).await;
    // A request without a token does not wait for keys.
    assert_eq!(gateway.get("/").await.status, 401);
    gate.release(1);
    for client in clients {
        let response = client.await.unwrap();
        assert_eq!(why(&response), (503, "the keys for checking tokens cannot be had at present".to_owned()));
        assert_eq!(response.header("retry-after"), "1");
    }
    assert_eq!(gate.waiting(), 0, "one fetch");
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_an_old_one_no_more() {
    let (upstream, old, new) = (Upstream::echo().await, Key::rsa(), Key::p256());
    let provider = Provider::publishing(&[("old", &old)]).await;
    let gateway = TestGateway::start(&config(provider.upstream.address(), &upstream, &from_id())).await;
    assert_eq!(gateway.send(bearer(&old, "old")).await.status, 200);
    provider.publish(&[("new", &new)]);
    eventually("the new key", async || gateway.send(bearer(&new, "new")).await.status == 200).await;
    eventually("the old key being gone", async || gateway.send(bearer(&old, "old")).await.status == 401).await;
}

#[tokio::test]
async fn keys_stay_while_the_provider_is_away_also_over_a_reload() {
    let (upstream, key) = (Upstream::echo().await, Key::ed25519());
    let provider = Provider::publishing(&[("a", &key)]).await;
    let text = config(provider.upstream.address(), &upstream, &from_id());
    let mut gateway = TestGateway::start(&text).await;
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200);
    provider.fail();
    let asked = provider.upstream.requests();
    gateway.reload(&format!("{text}\n# changed\n")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200);
    }
    eventually("it being asked again", async || {
        gateway.send(bearer(&key, "a")).await;
        provider.upstream.requests() > asked
    })
    .await;
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200);
    assert_eq!(gateway.send(bearer(&Key::ed25519(), "b")).await.status, 401);
}

#[tokio::test]
async fn without_keys_there_is_an_answer_and_it_is_not_401() {
    let (upstream, key) = (Upstream::echo().await, Key::ed25519());
    let provider = Provider::publishing(&[]).await;
    provider.fail();
    let gateway = TestGateway::start(&config(provider.upstream.address(), &upstream, &from_id())).await;
    for _ in 0..5 {
        let response = gateway.send(bearer(&key, "a")).await;
        assert_eq!(response.status, 503, "{}", response.text());
    }
    assert_eq!(gateway.get("/").await.status, 401, "no token needs no key");
    provider.publish(&[("a", &key)]);
    eventually("the provider's being back", async || gateway.send(bearer(&key, "a")).await.status == 200).await;
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn each_issuer_proves_its_own_tokens_with_its_own_keys() {
    let (upstream, ours, theirs) = (Upstream::echo().await, Key::ed25519(), Key::p256());
    let provider = Provider::publishing(&[("k", &ours)]).await;
    let jwt = json!({ "issuers": [
        { "issuer": "https://id", "jwks-from": { "upstream": "id", "path": "/keys" } },
        { "issuer": "https://partner", "jwks": { "keys": [theirs.jwk("k")] } },
    ] });
    let gateway = TestGateway::start(&config(provider.upstream.address(), &upstream, &jwt)).await;
    let send = async |key: &Key, issuer: &str| {
        let token = key.token("k", &json!({ "iss": issuer, "exp": now() + 60 }));
        gateway.send(Request::get("/").header("authorization", &format!("Bearer {token}"))).await.status.as_u16()
    };
    assert_eq!(send(&ours, "https://id").await, 200);
    assert_eq!(send(&theirs, "https://partner").await, 200);
    assert_eq!(send(&ours, "https://partner").await, 401);
    assert_eq!(send(&theirs, "https://id").await, 401);
    assert_eq!(send(&ours, "https://else").await, 401);
}

#[tokio::test]
async fn an_upstream_that_is_not_granted_is_an_error_of_the_configuration() {
    let (upstream, provider) = (Upstream::echo().await, Provider::publishing(&[]).await);
    let text = config(provider.upstream.address(), &upstream, &from_id())
        .replace("plugins: { jwt: { grants: { upstreams: [id] } } }", "");
    let error = TestGateway::try_start(&text).await.err().expect("no grant").to_string();
    assert!(error.contains("grants: { upstreams: [id] }"), "{error}");
}
