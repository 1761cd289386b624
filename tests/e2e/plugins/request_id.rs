//! Identifiers that others expect, over real sockets.

use serde_json::json;

use super::Behind;
use crate::support::client::Request;

const UUID: &str = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";

#[tokio::test]
async fn the_upstream_and_the_client_get_the_same_and_each_request_another() {
    let behind = Behind::plugin("request-id", &json!({})).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        let response = behind.get("/").await;
        let id = response.header("x-correlation-id").to_owned();
        assert_eq!(response.upstream_saw("x-correlation-id"), [&*id]);
        assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{id}");
        assert!(!seen.contains(&id), "{id} again");
        seen.push(id);
    }
    let kept = behind.send(Request::get("/").header("x-correlation-id", UUID)).await;
    assert_eq!((kept.header("x-correlation-id"), kept.upstream_saw("x-correlation-id")), (UUID, vec![UUID.to_owned()]));
    let replaced = behind.send(Request::get("/").header("x-correlation-id", "<script>")).await;
    assert!(!replaced.text().contains("<script>"));
}

#[tokio::test]
async fn one_that_is_not_valid_is_refused_where_that_is_wanted() {
    let behind = Behind::plugin("request-id", &json!({ "accept": "valid-only", "header": "x-request-id" })).await;
    assert_eq!(behind.get("/").await.status, 400, "the gateway's own is no UUID");
    let behind =
        Behind::plugin("request-id", &json!({ "accept": "valid-only", "header": "x-id", "format": "text" })).await;
    let twice = Request::get("/").header("x-id", "a").header("x-id", "b");
    assert_eq!(behind.send(twice).await.status, 400);
    assert_eq!(behind.send(Request::get("/").header("x-id", "shop:7")).await.header("x-id"), "shop:7");
    assert_eq!(behind.upstream.requests(), 1);
}
