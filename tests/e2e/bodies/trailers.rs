//! Trailers say nothing about headers that are the gateway's or a plugin's, whoever sends them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    strict::{RawClient, StrictUpstream},
    token::Key,
};

/// A route on which headers are set and removed in both directions. Tokens are optional.
async fn gateway_to(address: std::net::SocketAddr) -> TestGateway {
    let key = Key::secret("a secret of the tests, longer than thirty-two bytes").config("k");
    let jwt = json!({ "keys": [key], "required": false, "claims-to-headers": { "x-user": "sub" } });
    let transform = json!({
        "request": { "set-headers": { "x-plan": "free" }, "remove-headers": ["x-internal"], "append-headers": { "x-tag": "ours" } },
        "response": { "set-headers": { "x-served-by": "gateway" }, "remove-headers": ["x-secret"] },
    });
    let yaml = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{address}'] }} }}
routes: [{{ name: all, plugins: [{{ name: jwt, config: {jwt} }}, {{ name: transform, config: {transform} }}], upstream: it }}]",
    );
    TestGateway::start(&yaml).await
}

const NAMES: [&str; 8] =
    ["x-user", "x-plan", "x-internal", "x-tag", "x-request-id", "x-forwarded-for", "traceparent", "x-sum"];

/// What is left of them for the upstream.
fn left(seen: &Value) -> Value {
    assert_eq!(seen["body"], "body");
    seen["trailers"].clone()
}

#[tokio::test]
async fn a_trailer_of_a_client_cannot_say_what_a_plugin_or_the_gateway_says() {
    let upstream = Upstream::echo().await;
    let gateway = gateway_to(upstream.address()).await;
    let passed = json!([["x-sum", "forged"]]);

    let mut client = RawClient::connect(gateway.address()).await;
    let trailers: String = NAMES.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let names = NAMES.join(", ");
    let ask = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: {names}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n{trailers}\r\n"
    );
    let response = client.say(&ask).await.response().await;
    assert_eq!(left(&serde_json::from_slice(&response.body).expect("JSON")), passed);

    // Announced or not.
    let mut client = Client::connect_http2(gateway.address()).await;
    for announced in [names.as_str(), "x-sum"] {
        let mut trailers = HeaderMap::new();
        NAMES.iter().for_each(|name| drop(trailers.insert(*name, HeaderValue::from_static("forged"))));
        let body = Full::from(Bytes::from("body")).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
        let response = client.send(Request::post("/", "").header("trailer", announced).body(body)).await;
        assert_eq!(left(&response.json()), passed);
    }
}

#[tokio::test]
async fn a_trailer_of_an_upstream_cannot_say_what_a_plugin_has_set_or_removed() {
    let upstream = StrictUpstream::answering(
        b"HTTP/1.1 200 OK\r\ntrailer: x-secret, x-served-by, x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
          4\r\nbody\r\n0\r\nx-secret: s\r\nx-served-by: theirs\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    let gateway = gateway_to(upstream.address()).await;
    let address = gateway.address();
    for mut client in [Client::connect(address).await, Client::connect_http2(address).await] {
        let response = client.send(Request::get("/").header("te", "trailers")).await;
        assert_eq!((response.text().as_str(), response.header("x-served-by")), ("body", "gateway"));
        let trailers = response.trailers.expect("what is left of them");
        let trailers: Vec<_> = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(trailers, [("x-sum", &b"42"[..])]);
    }
}
