//! JSON bodies on their way, over real sockets.

use http::{HeaderValue, Response as Answer};
use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{TestGateway, Upstream, client::Request, upstream::full};

fn post(body: &str) -> Request {
    Request::post("/", body.as_bytes().to_vec()).header("content-type", "application/json")
}

#[tokio::test]
async fn the_upstream_gets_the_edited_body_with_its_own_length() {
    let edits = json!({ "request": { "remove": ["/price"], "rename": { "/mail": "email" }, "set": { "/meta/id": "{request.id}" } } });
    let behind = Behind::plugin("json-body", &edits).await;
    let response = behind.send(post(r#"{"price":0,"item":7,"mail":"a@b"}"#)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = response.json();
    let body: Value = serde_json::from_str(seen["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!((&body["item"], &body["email"], &body["price"]), (&json!(7), &json!("a@b"), &Value::Null));
    assert!(body["meta"]["id"].as_str().is_some_and(|id| id.len() == 32), "{body}");
    assert_eq!(behind.send(post("{")).await.status, 400);
    assert_eq!(behind.send(post("[1]")).await.status, 422);
    assert_eq!(behind.send(Request::post("/", b"{".to_vec())).await.status, 200, "not said to be JSON");
}

#[tokio::test]
async fn the_client_gets_the_edited_response() {
    let upstream = Upstream::serving(|_| async {
        let mut answer = Answer::new(full(r#"{"internal":true,"data":{"id":7}}"#));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("application/hal+json"));
        answer.headers_mut().insert("etag", HeaderValue::from_static("\"1\""));
        answer
    })
    .await;
    let edits = json!({ "response": { "remove": ["/internal"], "move": { "/data/id": "/id" } } });
    let text = yaml(&upstream, &format!("[{{ name: json-body, config: {edits} }}]"), "");
    let gateway = TestGateway::start(&text).await;
    let response = gateway.get("/").await;
    assert_eq!(response.text(), r#"{"data":{},"id":7}"#);
    assert_eq!((response.header("content-length"), response.header("etag")), ("18", ""));
}
