//! How many requests are under way at once, however they end.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Client, Gate, TestGateway, client::Request, eventually};

/// A gateway before an upstream that answers when it is told to.
async fn behind(config: &Value) -> (TestGateway, Gate) {
    let gate = Gate::answering("late").await;
    let yaml = format!(
        "upstreams: {{ gate: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: concurrency, config: {config} }}], upstream: gate }}]
",
        gate.address()
    );
    (TestGateway::start(&yaml).await, gate)
}

#[tokio::test]
async fn who_is_over_the_limit_comes_again_and_gets_in_when_another_has_ended() {
    let (gateway, gate) = behind(&json!({ "limit": 3, "retry-after": "2s" })).await;
    let address = gateway.address();
    let get = move || tokio::spawn(async move { Client::connect(address).await.send(Request::get("/")).await });
    let held = [get(), get(), get()];
    gate.arrivals(3).await;
    for _ in 0..5 {
        let refused = get().await.unwrap();
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "2"));
        refused.problem();
    }
    gate.release(3);
    for held in held {
        assert_eq!(held.await.unwrap().status, 200);
    }
    // An exchange is over a moment after its client has the last byte.
    gate.release(100);
    eventually("room", async || get().await.unwrap().status == 200).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_plugin_concurrency_denied_total{"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_leaves_makes_room() {
    let (gateway, gate) = behind(&json!({ "limit": 1, "key": "route", "status": 503 })).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    gate.arrivals(1).await;
    assert_eq!(gateway.get("/").await.status, 503);
    drop(stream);
    // Whatever comes from now on is answered.
    gate.release(1000);
    eventually("the place being free", async || gateway.get("/").await.status == 200).await;
}
