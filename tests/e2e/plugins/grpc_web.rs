//! gRPC-Web: a page in a real browser (chromium) that calls a real gRPC server (tonic) through the gateway.

use std::process::Stdio;

use http::{HeaderValue, Response as Answer};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{PATIENCE, TestGateway, Upstream, client::Request, grpc::GrpcServer, upstream::full};

async fn before(server: &GrpcServer, origin: &str) -> TestGateway {
    let yaml = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'], protocol: http2 }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins:
      - name: cors
        config:
          allow-origins: ['{origin}']
          allow-methods: [POST]
          allow-headers: [content-type, x-grpc-web, grpc-timeout]
          expose-headers: [grpc-status, grpc-message]
      - grpc-web
    upstream: it
",
        server.address()
    );
    TestGateway::start(&yaml).await
}

/// What a page does, in the browser's own words: the bytes are those of grpc/doc/PROTOCOL-WEB.md.
const PAGE: &str = r#"<!doctype html><title>page</title><script type="module">
const gateway = "GATEWAY";
const text = new TextDecoder();
// message Message { string text = 1; uint32 count = 2; }
function message(words, count) {
  const encoded = new TextEncoder().encode(words);
  return new Uint8Array([0x0a, encoded.length, ...encoded, 0x10, count]);
}
function frame(message) { return new Uint8Array([0, 0, 0, 0, message.length, ...message]); }
function read(bytes) {
  const found = { messages: [], trailers: "" };
  for (let at = 0; at < bytes.length;) {
    const length = (bytes[at + 1] << 24) | (bytes[at + 2] << 16) | (bytes[at + 3] << 8) | bytes[at + 4];
    const part = bytes.slice(at + 5, at + 5 + length);
    if (bytes[at] === 0x80) found.trailers += text.decode(part);
    else found.messages.push(text.decode(part.slice(2, 2 + part[1])));
    at += 5 + length;
  }
  return found;
}
async function call(method, kind, body) {
  const headers = { "content-type": kind, "x-grpc-web": "1" };
  const response = await fetch(`${gateway}/test.Echo/${method}`, { method: "POST", headers, body });
  const status = response.headers.get("grpc-status");
  return { http: response.status, kind: response.headers.get("content-type"), status, response };
}
async function binary(method, body) {
  const { response, ...head } = await call(method, "application/grpc-web+proto", body);
  return { ...head, ...read(new Uint8Array(await response.arrayBuffer())) };
}
async function inText(method, body) {
  const { response, ...head } = await call(method, "application/grpc-web-text", btoa(String.fromCharCode(...body)));
  // Parts have paddings of their own.
  const parts = (await response.text()).match(/[^=]*=*/g).filter(part => part);
  const bytes = parts.flatMap(part => [...atob(part)].map(c => c.charCodeAt(0)));
  return { ...head, ...read(new Uint8Array(bytes)) };
}
async function first(body) {
  const { response } = await call("Down", "application/grpc-web", body);
  const reader = response.body.getReader();
  const part = await reader.read();
  await reader.cancel();
  return read(part.value).messages;
}
const found = {};
try {
  found.unary = await binary("Unary", frame(message("hello", 7)));
  found.text = await inText("Unary", frame(message("hello", 7)));
  found.stream = await binary("Down", frame(message("x", 3)));
  found.textStream = await inText("Down", frame(message("x", 3)));
  found.failed = await binary("Unary", frame(message("fail", 0)));
  found.first = await first(frame(message("never", 0)));
} catch (error) { found.error = String(error); }
document.body.textContent = JSON.stringify(found);
</script><body></body>"#;

#[tokio::test]
async fn a_page_calls_a_service_in_both_forms_and_reads_its_trailers() {
    let server = GrpcServer::start().await;
    let page = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let shown = page.clone();
    let site = Upstream::serving(move |_| {
        let html = shown.get().cloned().unwrap_or_default();
        async move {
            let mut answer = Answer::new(full(html));
            answer.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
            answer
        }
    })
    .await;
    let origin = format!("http://{}", site.address());
    let gateway = before(&server, &origin).await;
    page.set(PAGE.replace("GATEWAY", &format!("http://{}", gateway.address()))).expect("set once");

    let profile = tempfile::tempdir().expect("a temporary folder");
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=30000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", &format!("{origin}/page")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    // A browser that starts for the first time, beside all other tests, reads a quarter of a gigabyte from the disk.
    let output = tokio::time::timeout(4 * PATIENCE, browser).await.expect("the browser ends");
    let output = output.expect("chromium, as Debian's package has it");
    let dom = String::from_utf8(output.stdout).expect("text");
    let body = dom.split("<body>").nth(1).and_then(|rest| rest.split("</body>").next()).expect("a body");
    let found: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {dom}"));

    assert_eq!(found["error"], Value::Null, "{found}");
    for (form, kind) in [("unary", "application/grpc-web+proto"), ("text", "application/grpc-web-text")] {
        let unary = &found[form];
        assert_eq!((&unary["http"], &unary["kind"]), (&json!(200), &json!(kind)));
        assert_eq!(unary["messages"], json!(["hello"]));
        assert!(unary["trailers"].as_str().is_some_and(|lines| lines.contains("grpc-status: 0\r\n")), "{unary}");
    }
    for form in ["stream", "textStream"] {
        assert_eq!(found[form]["messages"], json!(["x", "x", "x"]), "{found}");
        assert!(found[form]["trailers"].as_str().is_some_and(|lines| lines.contains("grpc-status: 0\r\n")), "{found}");
    }
    // Without messages the head has it all, and the page may read it.
    assert_eq!((&found["failed"]["http"], &found["failed"]["status"]), (&json!(200), &json!("5")));
    assert_eq!(found["first"], json!(["first"]), "before the call has ended");
}

#[tokio::test]
async fn what_the_gateway_refuses_has_an_http_status() {
    let server = GrpcServer::start().await;
    let address = server.address();
    drop(server);
    let yaml = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{address}'], protocol: http2 }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, plugins: [grpc-web], upstream: it }}]
"
    );
    let gateway = TestGateway::start(&yaml).await;
    let call = |kind: &str, body: &str| Request::post("/test.Echo/Unary", body.to_owned()).header("content-type", kind);
    assert_eq!(gateway.send(call("application/grpc-web", "")).await.status, 502);
    assert_eq!(gateway.send(call("application/grpc-web-text", "*")).await.status, 400);
}
