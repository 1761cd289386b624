//! What an operator with the role `read` cannot find out, nor make the gateway do.

use std::fs;

use http::Response as Answer;
use serde_json::json;
use tempfile::TempDir;

use super::{ask, post, refused};
use crate::support::{
    Process, TestGateway, Upstream,
    client::{Request, Response},
    process,
    upstream::full,
};

const FULL: &str = "a-token-of-an-operator";
const READ: &str = "a-token-of-a-dashboard";

fn base() -> String {
    "listeners: [{ address: '127.0.0.1:0' }]
secrets: { full: { file: full }, read: { file: read } }
admin:
  address: 127.0.0.1:0
  access:
    - { name: ops, token: full, role: full }
    - { name: dashboard, token: read }
"
    .to_owned()
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("full"), FULL).expect("a file");
    fs::write(folder.path().join("read"), READ).expect("a file");
    folder
}

async fn as_one(gateway: &TestGateway, token: &str, request: Request) -> Response {
    ask(gateway, request.header("authorization", &format!("Bearer {token}"))).await
}

#[tokio::test]
async fn a_reader_cannot_make_the_gateway_fetch_a_component() {
    let gateway =
        TestGateway::start_in(folder(), &format!("{}routes: [{{ name: all, respond: {{ status: 204 }} }}]\n", base()))
            .await;
    let server = Upstream::serving(async |_| Answer::new(full("not a component"))).await;
    let submitted = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
secrets: {{ s: {{ env: PATH }}, f: {{ file: full }} }}
plugins: {{ evil: {{ component: 'http://{}/evil.wasm', sha256: {}, grants: {{ secrets: [s, f] }} }} }}
routes: [{{ name: all, plugins: [evil], respond: {{ status: 204 }} }}]
",
        server.address(),
        "ab".repeat(32)
    );
    let validate = || Request::post("/api/v1/config/validate", submitted.clone());
    let (status, detail) = refused(&as_one(&gateway, READ, validate()).await);
    assert_eq!((status, detail.as_str()), (403, "`dashboard` has the role `read`, and this needs the role `full`"));
    assert_eq!(server.requests(), 0);
    // An operator with the role `full` sees what is wrong.
    let judged = as_one(&gateway, FULL, validate()).await.json();
    assert!(judged["valid"] == false && judged.to_string().contains("its SHA-256 is"), "{judged}");
    assert_eq!(server.requests(), 1);
    // Both are written down.
    let audit = as_one(&gateway, READ, Request::get("/api/v1/audit")).await.json();
    let entry = |at: usize| (audit[at]["operator"].clone(), audit[at]["target"].clone(), audit[at]["status"].clone());
    let target = json!("/api/v1/config/validate");
    assert_eq!(entry(0), (json!("ops"), target.clone(), json!(200)), "{audit}");
    assert_eq!(entry(1), (json!("dashboard"), target, json!(403)), "{audit}");
}

/// With secrets in all places where some are typed, all of which contain `hidden`.
fn with_secrets(status: u16) -> String {
    format!(
        "{}# password: hidden-in-a-comment
x-unused: []
routes:
  - name: jwt
    match: {{ path: /jwt, headers: {{ x-api-key: hidden-condition }} }}
    plugins:
      - name: jwt
        config:
          issuer: i
          audience: a
          keys:
            - alg: HS256
              secret:
                hidden-on-the-next-line-0123456789
            - alg: HS256
              kid: b
              secret: !!str &anchor 'hidden-behind-an-anchor-0123456789'
            - alg: HS256
              kid: c
              secret: *anchor
            - alg: HS256
              kid: d
              secret: |
                hidden-in-a-block-0123456789-0123456789
      - name: transform
        config:
          request:
            set-headers:
              {{ authorization: Basic hidden, x-plain: shown, cookie: \"id=hidden\", x-token-v2: hidden, x-secret-1: hidden,
                 x-pass: hidden, x-jwt: hidden, x-hmac: hidden, x-a: Token hidden, x-b: 'Digest username=\"a\", response=\"hidden\"',
                 x-c: 'AWS4-HMAC-SHA256 Credential=hidden/s3, Signature=hidden', x-d: '/a?token=hidden' }}
            query: {{ set: {{ key: hidden, sig: hidden, lang: shown }} }}
    respond: {{ status: {status} }}
  - {{ name: all, respond: {{ status: {status} }} }}
upstreams:
  unused:
    endpoints: ['http://127.0.0.1:9']
    health: {{ active: {{ path: /x?token=hidden&lang=shown }} }}
",
        base()
    )
    .replace("x-unused: []\n", "")
}

#[tokio::test]
async fn secrets_are_masked_wherever_they_stand_in_the_document() {
    let yaml = with_secrets(204);
    let gateway = TestGateway::start_in(folder(), &yaml).await;
    let read = async |target: &str| as_one(&gateway, READ, Request::get(&format!("/api/v1{target}"))).await.text();
    let shown = read("/config").await;
    assert!(!shown.contains("hidden") && shown.contains("x-plain: shown"), "{shown}");
    assert_eq!(shown.matches("lang: shown").count() + shown.matches("lang=shown").count(), 2, "{shown}");
    // With the next revision there is a difference to show.
    let edited = shown.replace("status: 204", "status: 202");
    let put = Request::put("/api/v1/config", edited).header("if-match", "\"1\"");
    let applied = as_one(&gateway, FULL, put).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    for target in
        ["/config", "/config/revisions/1", "/config/revisions/2", "/config/revisions/2/diff", "/routes", "/upstreams"]
    {
        let shown = read(target).await;
        assert!(!shown.contains("hidden") && shown.len() > 100, "{target}: {shown}");
    }
    let explained = as_one(&gateway, READ, post("/explain", &json!({ "url": "/jwt" }))).await.text();
    assert!(explained.contains("x-api-key") && !explained.contains("hidden"), "{explained}");
    // They are still there: what was typed with them is in force.
    let again = Request::put("/api/v1/config", with_secrets(202));
    let revision = as_one(&gateway, FULL, again).await.json()["revision"].clone();
    assert_eq!(revision, 2, "it is the same text");
}

#[tokio::test]
async fn a_placeholder_is_no_way_to_a_secret() {
    let gateway = TestGateway::start_in(folder(), &with_secrets(204)).await;
    let shown = as_one(&gateway, FULL, Request::get("/api/v1/config")).await.text();
    let validate = async |text: String| as_one(&gateway, FULL, Request::post("/api/v1/config/validate", text)).await;
    // Where no secret stands, its value would be shown.
    for (from, to) in [
        ("issuer: i", "issuer: <masked 2>"),
        ("status: 204", "status: <masked 2>"),
        ("x-plain: shown", "x-plain: 'it is <masked 2>'"),
    ] {
        let refusal = validate(shown.replacen(from, to, 1)).await;
        let (status, detail) = refused(&refusal);
        assert!(status == 422 && detail.contains("`<masked 2>`"), "{detail}");
    }
    // Where one stands, what is wrong with it is told without it.
    let moved = shown.replacen("keys:", "keys:\n            - { alg: HS256, kid: z, secret: [<masked 3>] }", 1);
    let judged = validate(moved).await.json();
    assert!(judged["valid"] == false && !judged.to_string().contains("hidden"), "{judged}");
    let unknown = shown.replacen("issuer: i", "issuer: i\n          token: <masked 3>", 1);
    let judged = validate(unknown).await.json();
    assert!(judged["valid"] == false && !judged.to_string().contains("hidden"), "{judged}");
}

#[tokio::test]
async fn check_and_the_log_do_not_repeat_secrets() {
    let folder = folder();
    let bad = with_secrets(204)
        .replace("issuer: i", "issuer: 5")
        .replace("secret: *anchor", "secret: { x: *anchor }")
        .replace(
            "alg: HS256\n              kid: b\n              secret: !!str",
            "alg: HS256\n              kid: b\n              token: hidden\n              secret: !!str",
        );
    fs::write(folder.path().join("gateway.yaml"), bad).expect("a file");
    let checked = process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert_eq!(checked.code, 3, "{}", checked.stderr);
    assert!(checked.stderr.contains("| ") && !checked.stderr.contains("hidden"), "{}", checked.stderr);
    // A text that is no YAML is not shown at all.
    fs::write(folder.path().join("gateway.yaml"), "password: hidden\n secret: [hidden\n").expect("a file");
    let checked = process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert!(checked.code == 3 && !checked.stderr.contains("hidden"), "{}", checked.stderr);
    // The same at a reload.
    fs::write(folder.path().join("gateway.yaml"), with_secrets(204)).expect("a file");
    let mut gateway = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    gateway.addresses().await;
    fs::write(folder.path().join("gateway.yaml"), with_secrets(204).replace("issuer: i", "token: hidden"))
        .expect("a file");
    gateway.signal("HUP");
    gateway.logged("reload failed").await;
    gateway.logged("problem").await;
    assert!(!gateway.log().contains("hidden"), "{}", gateway.log());
}
