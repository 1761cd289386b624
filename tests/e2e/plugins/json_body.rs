//! JSON bodies on their way, over real sockets: what cannot be edited does not pass.

use http::{HeaderValue, Method, Response as Answer, StatusCode};
use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{Client, Response, TestGateway, Upstream, client::Request, upstream::full};

fn post(body: &str) -> Request {
    Request::post("/", body.as_bytes().to_vec()).header("content-type", "application/json")
}

#[tokio::test]
async fn the_upstream_gets_the_edited_body_with_its_own_length() {
    let edits = json!({ "request": { "remove": ["/price"], "rename": { "/mail": "email" }, "set": { "/meta/id": "{request.id}" } } });
    let behind = Behind::plugin("json-body", &edits).await;
    let response =
        behind.send(post(r#"{"price":0,"item":7,"mail":"a@b"}"#).header("content-digest", "sha-256=:x=:")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = response.json();
    let body: Value = serde_json::from_str(seen["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!((&body["item"], &body["email"], &body["price"]), (&json!(7), &json!("a@b"), &Value::Null));
    assert!(body["meta"]["id"].as_str().is_some_and(|id| id.len() == 32), "{body}");
    assert!(response.upstream_saw("content-digest").is_empty(), "it was of the other body");
    assert_eq!(behind.send(post("{")).await.status, 400);
    assert_eq!(behind.send(post("[1]")).await.status, 422);
    assert_eq!(behind.get("/").await.status, 200, "there is nothing to edit");
}

#[tokio::test]
async fn no_content_type_and_no_encoding_gets_a_value_past_a_removal() {
    let edits = json!({ "request": { "remove": ["/price"] } });
    let behind = Behind::with(&format!("[{{ name: json-body, on-error: skip, config: {edits} }}]"), "").await;
    let body = r#"{"price":0,"item":7}"#;
    let plain = || Request::post("/", body);
    let typed = |kind: &str| plain().header("content-type", kind);
    for edited in [
        plain(),
        typed(""),
        typed("text/json"),
        typed("application/problem+json; charset=UTF-8"),
        typed("Application/JSON"),
        post("\u{feff}{\"price\":0,\"item\":7}"),
        post(r#"{"price":0,"item":7,"price":1}"#),
        post(r#"{"pri\u0063e":0,"item":7}"#),
    ] {
        let response = behind.send(edited).await;
        assert_eq!(response.json()["body"], r#"{"item":7}"#, "{}", response.text());
    }
    let passed = behind.upstream.requests();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(body.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for (refused, status) in [
        (typed("text/plain"), 415),
        (typed("application/x-www-form-urlencoded"), 415),
        (typed("application/json; charset=utf-16"), 415),
        (typed("text/plain").header("content-type", "application/json"), 415),
        (typed("application/json").header("content-encoding", "gzip"), 415),
        (typed("application/json").header("content-range", "bytes 0-19/20"), 400),
        (Request::post("/", utf16.clone()), 415),
        (Request::post("/", utf16).header("content-type", "application/json"), 400),
        (post(r#"{"price":0}{"item":7}"#), 400),
        (post(&format!("{{\"price\":0,\"pad\":\"{}\"}}", "x".repeat(2 << 20))), 413),
        (post(&format!("{{\"price\":0,\"pad\":[{}0]}}", "[1],".repeat(250_000))), 413),
    ] {
        let response = behind.send(refused).await;
        assert_eq!(response.status.as_u16(), status, "{}", response.text());
        response.problem();
    }
    assert_eq!(behind.upstream.requests(), passed);
}

/// A service that compresses and cuts as its client wishes, and has pages beside its JSON.
async fn service() -> Upstream {
    Upstream::serving(|request| async move {
        let asks = |name: &str, text: &str| {
            request.headers().get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(text)))
        };
        let mut answer = Answer::new(full(r#"{"internal":"secret","data":{"id":7}}"#));
        let fields = answer.headers_mut();
        fields.insert("etag", HeaderValue::from_static("\"1\""));
        fields.insert("content-type", HeaderValue::from_static("application/hal+json"));
        let path = request.uri().path();
        if path == "/gzip" || asks("accept-encoding", "gzip") {
            fields.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        if path == "/page" || path == "/text" {
            fields.insert("content-type", HeaderValue::from_static("text/plain"));
        }
        if path == "/untyped" {
            fields.remove("content-type");
        }
        if path == "/part" || asks("range", "bytes") {
            fields.insert("content-range", HeaderValue::from_static("bytes 0-19/37"));
            *answer.body_mut() = full(r#"{"internal":"secret""#);
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if path == "/broken" {
            *answer.body_mut() = full(r#"{"internal":"secret""#);
        }
        answer
    })
    .await
}

async fn behind(service: &Upstream, more: &str) -> TestGateway {
    let edits = json!({ "remove": ["/internal"], "move": { "/data/id": "/id" } });
    let plugins = format!("[{{ name: json-body, on-error: skip, config: {{ response: {edits} }} }}]");
    TestGateway::start(&yaml(service, &plugins.replace("\"remove\"", &format!("{more}\"remove\"")), "")).await
}

async fn by_both(gateway: &TestGateway, request: impl Fn() -> Request) -> [Response; 2] {
    let address = gateway.address();
    let first = Client::connect(address).await.send(request()).await;
    [first, Client::connect_http2(address).await.send(request()).await]
}

#[tokio::test]
async fn a_client_gets_the_edited_response_whatever_form_it_asks_for() {
    let service = service().await;
    let gateway = behind(&service, "").await;
    for fields in [&[][..], &[("accept-encoding", "gzip")], &[("range", "bytes=0-19")], &[("range", "bytes=0-4, 6-9")]]
    {
        let request = || fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
        for response in by_both(&gateway, request).await {
            assert_eq!(
                (response.status.as_u16(), response.text().as_str()),
                (200, r#"{"data":{},"id":7}"#),
                "{fields:?}"
            );
            assert_eq!((response.header("content-length"), response.header("etag")), ("18", ""));
        }
    }
    for response in by_both(&gateway, || Request::get("/untyped")).await {
        assert_eq!(response.text(), r#"{"data":{},"id":7}"#);
    }
    for response in by_both(&gateway, || Request::new(Method::HEAD, "/text")).await {
        assert_eq!((response.status.as_u16(), response.header("etag")), (200, ""));
        assert_ne!(response.header("content-length"), "37", "of a body that nobody gets");
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_edited_is_withheld_also_where_failures_are_skipped() {
    let service = service().await;
    let gateway = behind(&service, "").await;
    for path in ["/gzip", "/part", "/broken", "/page"] {
        for response in by_both(&gateway, || Request::get(path)).await {
            assert_eq!(response.status, 502, "{path}: {}", response.text());
            assert!(!response.text().contains("secret"), "{path}");
            response.problem();
            for name in ["content-encoding", "content-range", "etag"] {
                assert_eq!(response.header(name), "", "{path}: {name}");
            }
        }
    }
    assert_eq!(gateway.metric("gateway_plugin_json_body_withheld_total", &[("plugin", "json-body")]).await, Some(8));
    let gateway = behind(&service, "\"other-content\": \"pass\", ").await;
    assert!(gateway.get("/page").await.text().contains("secret"), "it may pass");
    assert_eq!(gateway.get("/gzip").await.status, 502);
}
