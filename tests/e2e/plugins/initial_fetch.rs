//! Documents that plugins declare are fetched before a configuration becomes active, and what is missing prevents nothing.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Response as Answer;
use serde_json::json;
use tempfile::TempDir;

use super::jwt_fetched::{Provider, bearer, config, from_id, set};
use crate::support::{Gate, Process, TestGateway, Upstream, eventually, free_address, token::Key, upstream::full};

/// A provider that takes its time, and how many requests it has responded to.
async fn slow(keys: &[(&str, &Key)]) -> (Upstream, Arc<AtomicUsize>) {
    let (text, responded) = (set(keys), Arc::new(AtomicUsize::new(0)));
    let counted = responded.clone();
    let upstream = Upstream::serving(move |_| {
        let (text, counted) = (text.clone(), counted.clone());
        async move {
            // A slow provider: a listener that accepted too early would accept before this.
            tokio::time::sleep(Duration::from_millis(300)).await;
            counted.fetch_add(1, Ordering::SeqCst);
            Answer::new(full(text))
        }
    })
    .await;
    (upstream, responded)
}

#[tokio::test]
async fn a_configuration_becomes_active_with_the_keys_of_a_slow_provider() {
    let (upstream, key, other) = (Upstream::echo().await, Key::p256(), Key::p256());
    let (provider, responded) = slow(&[("a", &key)]).await;
    let text = config(provider.address(), &upstream, &from_id());
    let mut gateway = TestGateway::start(&text).await;
    // The first clients can connect from here on.
    assert_eq!((provider.requests(), responded.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200);
    assert_eq!(provider.requests(), 1, "no request has waited for keys");

    // The same upstream by name, and another service: what was known of it is not what is valid now.
    let (second, responded) = slow(&[("b", &other)]).await;
    gateway.reload(&config(second.address(), &upstream, &from_id())).await.unwrap();
    assert_eq!((second.requests(), responded.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(gateway.send(bearer(&other, "b")).await.status, 200);
    // An instance looks for another version of its document once a second.
    eventually("the old key being gone", async || gateway.send(bearer(&key, "a")).await.status == 401).await;
    assert_eq!(provider.requests(), 1, "only the new configuration has asked, and only its upstream");
}

#[tokio::test]
async fn a_configuration_that_is_rejected_asks_no_provider() {
    let (upstream, key) = (Upstream::echo().await, Key::p256());
    let provider = Provider::publishing(&[("a", &key)]).await;
    let text = config(provider.upstream.address(), &upstream, &from_id());
    let mut gateway = TestGateway::start(&text).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '{}' }}]
admin: {{ address: '127.0.0.1:0' }}
",
        taken.local_addr().unwrap()
    );
    let error = gateway.reload(&format!("{listeners}{text}")).await.unwrap_err().to_string();
    assert!(error.contains("cannot listen"), "{error}");
    assert_eq!(provider.upstream.requests(), 1);
}

#[tokio::test]
async fn a_provider_that_does_not_respond_is_awaited_for_the_initial_fetch_only() {
    let (upstream, gate, key) = (Upstream::echo().await, Gate::answering("{\"keys\":[]}").await, Key::ed25519());
    let jwt = json!({ "jwks-from": { "upstream": "id", "path": "/keys", "timeout": "60s", "retry": "1h" } });
    let text = config(gate.address(), &upstream, &jwt);
    let text = format!("{text}timeouts: {{ initial-fetch: 200ms }}\n");
    // Either would take a minute if the document were awaited.
    let mut gateway = TestGateway::start(&text).await;
    gateway.reload(&format!("{text}\n# changed\n")).await.unwrap();
    gate.arrivals(2).await;
    assert_eq!(gateway.get("/").await.status, 401, "no token needs no key");
    // The first token makes an attempt of its own, whatever `retry` says.
    gate.release(1000);
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 503);
    gate.arrivals(1).await;
}

#[tokio::test]
async fn a_provider_that_is_down_does_not_prevent_a_start_and_is_asked_again() {
    let (upstream, key, address) = (Upstream::echo().await, Key::ed25519(), free_address());
    let gateway = TestGateway::start(&config(address, &upstream, &from_id())).await;
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 503);
    let keys = set(&[("a", &key)]);
    let _provider = Upstream::serving_at(address, move |_| {
        let keys = keys.clone();
        async move { Answer::new(full(keys)) }
    })
    .await
    .expect("the address is free");
    eventually("the keys", async || gateway.send(bearer(&key, "a")).await.status == 200).await;
}

#[tokio::test]
async fn keys_of_an_earlier_configuration_are_replaced_after_an_initial_fetch_that_failed() {
    let (upstream, key, other) = (Upstream::echo().await, Key::ed25519(), Key::ed25519());
    let provider = Provider::publishing(&[("a", &key)]).await;
    let text = config(provider.upstream.address(), &upstream, &from_id());
    let mut gateway = TestGateway::start(&text).await;
    provider.fail();
    gateway.reload(&format!("{text}\n# changed\n")).await.unwrap();
    assert_eq!(gateway.send(bearer(&key, "a")).await.status, 200, "they are kept meanwhile");
    provider.publish(&[("b", &other)]);
    eventually("the key being gone", async || gateway.send(bearer(&key, "a")).await.status == 401).await;
}

#[tokio::test]
async fn a_signal_ends_a_gateway_that_fetches_documents() {
    let (upstream, gate, folder) = (Upstream::echo().await, Gate::answering("{}").await, TempDir::new().unwrap());
    let jwt = json!({ "jwks-from": { "upstream": "id", "path": "/keys", "timeout": "60s" } });
    let text = config(gate.address(), &upstream, &jwt);
    let text = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
timeouts: {{ initial-fetch: 1m, drain-delay: 0s }}
{text}"
    );
    fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let gateway = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    gate.arrivals(1).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code, 0);
}
