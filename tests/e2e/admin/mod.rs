//! What operators may look at and change, over the admin listener.

mod access;
mod configuration;
mod connections;
mod described;
mod readers;
mod upstreams;
mod views;

use http::Method;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::support::{Client, Response, TestGateway, client::Request};

/// A request to the API, below `/api/v1`.
async fn ask(gateway: &TestGateway, request: Request) -> Response {
    Client::connect(gateway.admin()).await.send(request).await
}

async fn get(gateway: &TestGateway, target: &str) -> Value {
    let response = ask(gateway, Request::get(&format!("/api/v1{target}"))).await;
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    response.json()
}

fn json_to(method: Method, target: &str, body: &Value) -> Request {
    let request = Request::new(method, &format!("/api/v1{target}")).header("content-type", "application/json");
    request.body(Full::from(body.to_string()).boxed())
}

fn post(target: &str, body: &Value) -> Request {
    json_to(Method::POST, target, body)
}

/// The answer's problem, with its status.
fn refused(response: &Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), "application/problem+json", "{}", response.text());
    let problem = response.json();
    assert_eq!(problem["status"], json!(response.status.as_u16()));
    (response.status.as_u16(), problem["detail"].as_str().expect("a detail").to_owned())
}
