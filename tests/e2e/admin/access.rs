//! Who may ask, and what of them is written down.

use std::fs;

use http::Method;
use rcgen::SanType;
use serde_json::json;
use tempfile::TempDir;

use super::{ask, json_to, post, refused};
use crate::support::{Authority, Client, TestGateway, certs::Identity, client::Request, raw};

const ROUTES: &str = "routes: [{ name: all, respond: { status: 204 } }]\n";

async fn guarded() -> TestGateway {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("full"), "a-token-of-an-operator\n").expect("a file");
    fs::write(folder.path().join("read"), "a-token-of-a-dashboard\n").expect("a file");
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
secrets: {{ full: {{ file: full }}, read: {{ file: read }} }}
admin:
  address: 127.0.0.1:0
  access:
    - {{ name: ops, token: full, role: full }}
    - {{ name: dashboard, token: read }}
{ROUTES}"
    );
    TestGateway::start_in(folder, &yaml).await
}

fn with(request: Request, token: &str) -> Request {
    request.header("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn who_shows_no_token_sees_health_and_metrics_alone() {
    let gateway = guarded().await;
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&gateway, Request::get(open)).await.status, 200, "{open}");
    }
    for target in ["/api/v1/gateway", "/api/v1/config", "/api/v1/openapi.json", "/api/v1/tail"] {
        let bare = ask(&gateway, Request::get(target)).await;
        assert_eq!((refused(&bare).0, bare.header("www-authenticate")), (401, "Bearer"), "{target}");
        let wrong = ask(&gateway, with(Request::get(target), "a-token-of-an-operatos")).await;
        assert_eq!(refused(&wrong).0, 401, "{target}");
    }
}

#[tokio::test]
async fn a_reader_does_nothing_but_read_and_what_is_more_is_audited() {
    let gateway = guarded().await;
    let level = json!({ "level": "info" });
    let reads = |request| with(request, "a-token-of-a-dashboard");
    assert_eq!(ask(&gateway, reads(Request::get("/api/v1/config"))).await.status, 200);
    assert_eq!(ask(&gateway, reads(post("/explain", &json!({ "url": "/x" })))).await.status, 200);
    for request in [
        Request::post("/api/v1/config/validate", ROUTES),
        json_to(Method::PUT, "/log-level", &level),
        Request::put("/api/v1/config", ROUTES),
        Request::new(Method::DELETE, "/api/v1/cache/pages?all"),
        post("/config/revisions/1/activate", &json!({})),
        json_to(Method::PATCH, "/upstreams/a/endpoints/127.0.0.1:1", &json!({})),
    ] {
        let (status, detail) = refused(&ask(&gateway, reads(request)).await);
        assert_eq!((status, detail.as_str()), (403, "`dashboard` has the role `read`, and this needs the role `full`"));
    }
    let purge = with(Request::new(Method::DELETE, "/api/v1/cache/pages?all"), "a-token-of-an-operator");
    assert_eq!(ask(&gateway, purge).await.json(), json!({ "purged": 0 }));
    let changes = ask(&gateway, reads(Request::get("/api/v1/audit"))).await.json();
    let newest = &changes[0];
    assert_eq!(newest["operator"], "ops");
    assert_eq!(newest["method"], "DELETE");
    assert_eq!(newest["target"], "/api/v1/cache/pages?all");
    assert_eq!(newest["status"], 200);
    assert_eq!((changes[1]["operator"].as_str(), changes[1]["status"].as_u64()), (Some("dashboard"), Some(403)));
    assert!(!changes.to_string().contains("a-token"), "{changes}");
}

#[tokio::test]
async fn another_token_counts_from_the_next_reload_on() {
    let mut gateway = guarded().await;
    let yaml = ask(&gateway, with(Request::get("/api/v1/config"), "a-token-of-an-operator")).await.text();
    fs::write(gateway.folder().join("full"), "another-token-of-an-operator\n").expect("a file");
    gateway.reload(&yaml).await.expect("a sound configuration");
    for (token, status) in [("a-token-of-an-operator", 401), ("another-token-of-an-operator", 200)] {
        assert_eq!(ask(&gateway, with(Request::get("/api/v1/gateway"), token)).await.status, status, "{token}");
    }
}

#[tokio::test]
async fn a_configuration_that_says_nothing_of_operators_leaves_those_who_are_there() {
    let gateway = guarded().await;
    let with = |request: Request| with(request, "a-token-of-an-operator");
    let without = format!("listeners: [{{ address: '127.0.0.1:0' }}]\n{ROUTES}");
    let applied = ask(&gateway, with(Request::put("/api/v1/config", without.clone()))).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert_eq!(refused(&ask(&gateway, Request::get("/api/v1/config")).await).0, 401);
    assert_eq!(ask(&gateway, with(Request::get("/api/v1/config"))).await.text(), without);
}

#[tokio::test]
async fn pages_of_other_sites_may_not_ask_even_from_this_machine() {
    let gateway = TestGateway::start(ROUTES).await;
    let ours = ask(&gateway, Request::get("/api/v1/gateway")).await;
    assert_eq!(ours.status, 200);
    let theirs = ask(&gateway, Request::get("/api/v1/gateway").header("origin", "https://evil.example")).await;
    assert_eq!(refused(&theirs).0, 403);
    let raw = format!("GET /api/v1/gateway HTTP/1.1\r\nhost: evil.example:{}\r\nconnection: close\r\n\r\n", 9900);
    let rebound = raw::exchange(gateway.admin(), raw.as_bytes()).await;
    assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
}

#[tokio::test]
async fn an_operator_may_be_known_by_a_certificate() {
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new();
    authority.issue(folder.path(), "admin", &["admin.example.com"]);
    authority.write(&folder.path().join("ca.pem"));
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
admin:
  address: 127.0.0.1:0
  tls:
    certificates: [{{ cert: admin.pem, key: admin.key }}]
    client-certificates: {{ ca: [ca.pem], mode: optional }}
  access: [{{ name: ops, certificate: Ops.example.com, role: full }}]
{ROUTES}"
    );
    let gateway = TestGateway::start_in(folder, &yaml).await;
    let named = |name: &str| authority.identify(name, vec![SanType::DnsName(name.try_into().expect("a name"))]);
    let client = async |identity: Option<&Identity>| {
        let config = authority.client_as(identity, &["http/1.1"], rustls::ALL_VERSIONS);
        Client::connect_tls(gateway.admin(), "admin.example.com", config).await.expect("TLS")
    };
    for (name, expected) in [("ops.example.com", 200), ("other.example.com", 401)] {
        let mut client = client(Some(&named(name))).await;
        assert_eq!(client.send(Request::get("/api/v1/gateway")).await.status, expected, "{name}");
    }
    let mut nobody = client(None).await;
    assert_eq!(nobody.send(Request::get("/healthz")).await.status, 200);
    assert_eq!(refused(&nobody.send(Request::get("/api/v1/gateway")).await).0, 401);
}

#[tokio::test]
async fn a_token_that_can_be_guessed_is_none() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("short"), "secret\n").expect("a file");
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
secrets: {{ short: {{ file: short }} }}
admin: {{ address: '127.0.0.1:0', access: [{{ name: ops, token: short }}] }}
{ROUTES}"
    );
    let Err(error) = TestGateway::try_start_in(folder, &yaml).await else { panic!("it starts") };
    assert!(error.to_string().contains("at least 16 visible ASCII characters"), "{error}");
}

#[tokio::test]
async fn what_is_too_large_or_no_json_is_refused_and_serving_goes_on() {
    let gateway = TestGateway::start(ROUTES).await;
    let large = ask(&gateway, Request::put("/api/v1/config", vec![b'#'; 17 << 20])).await;
    assert_eq!(refused(&large).0, 413);
    let text = ask(&gateway, Request::post("/api/v1/explain", "url=/x")).await;
    assert_eq!(refused(&text).0, 415);
    let broken = Request::post("/api/v1/explain", "{").header("content-type", "application/json");
    assert_eq!(refused(&ask(&gateway, broken).await).0, 400);
    let unknown = ask(&gateway, post("/explain", &json!({ "url": "/x", "verb": "GET" }))).await;
    let (status, detail) = refused(&unknown);
    assert!(status == 400 && detail.contains("unknown field `verb`"), "{detail}");
    assert_eq!(refused(&ask(&gateway, Request::get("/api/v1/nothing")).await).0, 404);
    let other = ask(&gateway, Request::post("/api/v1/routes", "")).await;
    assert_eq!((refused(&other).0, other.header("allow")), (405, "GET,HEAD"));
    assert_eq!(gateway.get("/").await.status, 204);
}
