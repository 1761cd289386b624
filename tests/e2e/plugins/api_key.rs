//! Who has a known key gets in, and nobody else learns it.

use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{Process, TestGateway, Upstream, client::Request};

const KEY: &str = "k-an-example-key-that-everybody-knows";
const SHA256: &str = "ff5c86347ebf1971151373b7e0063ebc05bbd1a5db24e543fd890509e266fac4";

fn keys() -> Value {
    json!([{ "id": "shop", "sha256": SHA256, "tier": "gold", "groups": ["partners", "eu"] }])
}

/// The plugin, and one that tells the upstream what it found out.
fn plugins(config: &Value) -> String {
    let told = json!({ "request": { "set-headers": {
        "x-id": "{attribute.api-key.id}", "x-tier": "{attribute.api-key.tier}", "x-groups": "{attribute.api-key.groups}",
    } } });
    format!("[{{ name: api-key, config: {config} }}, {{ name: transform, config: {told} }}]")
}

#[tokio::test]
async fn a_known_key_gets_in_and_the_upstream_learns_whose_it_is_and_not_the_key() {
    let config =
        json!({ "keys": keys(), "from": [{ "header": "x-api-key" }, { "query": "key" }, { "cookie": "key" }] });
    let behind = Behind::with(&plugins(&config), "").await;
    for request in [
        Request::get("/a?b=1").header("x-api-key", KEY),
        Request::get(&format!("/a?key={KEY}&b=1")),
        Request::get("/a?b=1").header("cookie", &format!("key={KEY}")),
    ] {
        let response = behind.send(request.header("x-id", "root")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.upstream_saw("x-id"), ["shop"]);
        assert_eq!(response.upstream_saw("x-tier"), ["gold"]);
        assert_eq!(response.upstream_saw("x-groups"), ["partners,eu"]);
        assert_eq!(response.json()["target"], "/a?b=1");
        assert!(!response.text().contains(KEY), "{}", response.text());
    }
}

#[tokio::test]
async fn a_stranger_is_challenged_and_goes_no_further() {
    let behind = Behind::plugin("api-key", &json!({ "keys": keys() })).await;
    for (request, detail) in [
        (Request::get("/"), "an API key is required"),
        (Request::get("/").header("x-api-key", "wrong"), "the API key is not known"),
        (Request::get("/").header("x-api-key", SHA256), "the API key is not known"),
    ] {
        let response = behind.send(request).await;
        assert_eq!(response.status, 401);
        assert_eq!(response.header("www-authenticate"), "ApiKey realm=\"gateway\"");
        assert_eq!(response.problem()["detail"], detail);
    }
    let twice = Request::get("/").header("x-api-key", KEY).header("x-api-key", "wrong");
    assert_eq!(behind.send(twice).await.status, 400);
    assert_eq!(behind.upstream.requests(), 0);
    let metrics = behind.gateway.metrics().await;
    let line = "gateway_plugin_api_key_denied_total{plugin=\"api-key\",reason=\"unknown\",route=\"all\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    assert!(!metrics.contains("wrong") && !metrics.contains(SHA256));
}

#[tokio::test]
async fn keys_come_from_a_granted_secret() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), keys().to_string()).unwrap();
    let plugin = "[{ name: api-key, config: { keys-secret: KEYS } }]";
    let secrets = "secrets: { KEYS: { file: keys.json } }";
    let refused = TestGateway::try_start(&yaml(&upstream, plugin, "")).await.err().expect("it is not granted");
    assert!(refused.to_string().contains("grants: { secrets: [KEYS] }"), "{refused}");

    let granted = format!("{secrets}\nplugins: {{ api-key: {{ grants: {{ secrets: [KEYS] }} }} }}");
    let text = yaml(&upstream, plugin, &granted);
    let gateway = TestGateway::start_in(folder, &text).await;
    assert_eq!(gateway.send(Request::get("/").header("x-api-key", KEY)).await.status, 200);
    assert_eq!(gateway.get("/").await.status, 401);
}

#[tokio::test]
async fn a_key_in_the_place_of_its_hash_is_an_error_that_does_not_repeat_it() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "keys": [{ "id": "shop", "sha256": "the-key-itself" }] });
    let text = yaml(&upstream, &format!("[{{ name: api-key, config: {config} }}]"), "");
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, format!("listeners: [{{ address: '127.0.0.1:0' }}]\n{text}")).unwrap();
    let ended =
        Process::start_with(folder.path(), ["check".as_ref(), "-c".as_ref(), file.as_os_str()], &[]).ended().await;
    assert_ne!(ended.code, 0);
    let said = ended.stderr.lines().filter(|line| !line.contains('|')).collect::<Vec<_>>().join("\n");
    assert!(!said.contains("the-key-itself"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_key_in_the_query_is_the_one_that_was_created_however_it_is_encoded() {
    // As `openssl rand -base64 32` makes them.
    const CREATED: &str = "q+/V1Zf3kT0m8yq+Wn9z4x/2bQ1c7d8e9f0A1B2C3D4=";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, CREATED.as_bytes());
    let sha256: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let config =
        json!({ "keys": [{ "id": "shop", "sha256": sha256 }], "from": [{ "query": "key" }, { "cookie": "key" }] });
    let behind = Behind::plugin("api-key", &config).await;
    let encoded = CREATED.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    for target in [format!("/a?key={CREATED}&b=1"), format!("/a?b=1&k%65y={encoded}")] {
        let response = behind.get(&target).await;
        assert_eq!((response.status.as_u16(), &response.json()["target"]), (200, &json!("/a?b=1")), "{target}");
    }
    let cookie = behind.send(Request::get("/").header("cookie", &format!("key={CREATED}"))).await;
    assert_eq!(cookie.status, 200, "a cookie's value is taken as it is");
    assert_eq!(behind.get(&format!("/a?key={}", CREATED.replace('+', "%20"))).await.status, 401);
}
