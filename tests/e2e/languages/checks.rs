//! What each SDK's `errand` has to do when a gateway serves it, beside the cases of `tests/languages/cases.yaml`.

use std::{fs, path::Path};

use http_body_util::BodyExt;

use crate::support::{Client, Upstream, client::Request, process::Process, raw, upstream::full};

/// A configuration of `errand`.
pub(super) const CONFIG: &str = "{ mark: m, count: 1, ratio: 1, loud: true, names: [], ages: { ann: \"1\" } }";

/// A gateway with `errand` on a route in front of an upstream that says whether the header was copied as it is, and how long the
/// body was.
pub(super) async fn serving(folder: &Path, component: &Path, time: &str) -> (Process, std::net::SocketAddr, Upstream) {
    serving_with(folder, component, &format!("time: {time}"), "").await
}

/// The same, with limits of the plugin and settings of the route.
async fn serving_with(
    folder: &Path,
    component: &Path,
    limits: &str,
    route: &str,
) -> (Process, std::net::SocketAddr, Upstream) {
    let upstream = Upstream::serving(|request| async move {
        let (head, body) = request.into_parts();
        let is_same = head.headers.get("x-given").is_some_and(|given| head.headers.get("x-copy") == Some(given));
        let Ok(body) = body.collect().await else { return http::Response::new(full("the body is not whole")) };
        let trailer = body.trailers().and_then(|trailers| trailers.get("x-end")).map(http::HeaderValue::as_bytes);
        let trailer = trailer.map_or(String::new(), |value| format!(", trailer: {}", String::from_utf8_lossy(value)));
        let length = body.to_bytes().len();
        http::Response::new(full(format!("same: {is_same}, length: {length}{trailer}")))
    })
    .await;
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
plugins:
  errand:
    component: {}
    limits: {{ {limits} }}
    grants: {{ store: [visits], secrets: [key], files: [list], sinks: [audit], upstreams: [up] }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
sinks: {{ audit: stderr }}
secrets: {{ key: {{ file: list }} }}
files: {{ list: list }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: errand, config: {CONFIG} }}]
    upstream: up
    {route}
",
        component.display(),
        upstream.address()
    );
    fs::write(folder.join("list"), "a").expect("a file");
    fs::write(folder.join("serving.yaml"), yaml).expect("a file");
    let mut gateway = Process::start(folder, ["run", "-c", "serving.yaml"]);
    let address = gateway.addresses().await[0];
    (gateway, address, upstream)
}

/// Clients may send any byte (RFC 9110 §5.5): it is passed on as it is, and where text is needed it does no harm.
pub(super) async fn bytes_that_are_no_text_do_no_harm(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component, "5s").await;
    let ask = async |path: &str, given: &[u8]| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-given: ");
        raw::exchange(address, &[head.as_bytes(), given, b"\r\n\r\n"].concat()).await
    };
    let given: [&[u8]; 4] =
        [b"caf\xe9", b"\xff", b"\xe4\xb8\x96 \xc3\xfc\xed\xa0\x80 \xf0\x9f", "caf\u{e9}".as_bytes()];
    for bytes in given {
        let copied = ask("/copy", bytes).await;
        assert!(copied.ends_with("same: true, length: 0"), "{bytes:x?}: {copied}\n{}", gateway.log());
    }
    for bytes in [given[0], given[3]] {
        let told = ask("/text", bytes).await;
        let (_, body) = told.split_once("\r\n\r\n").expect("a body");
        let json: serde_json::Value =
            serde_json::from_str(body).unwrap_or_else(|_| panic!("{told}\n{}", gateway.log()));
        let expected = serde_json::json!({ "text": "caf\u{e9}", "kept": "kept", "found": "none", "refused": true });
        assert_eq!(json, expected, "{bytes:x?}");
    }
}

/// Neither two instances nor two calls get the same numbers.
pub(super) async fn random_numbers_are_never_the_same(folder: &Path, component: &Path) {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_gateway, address, _upstream) = serving(folder, component, "5s").await;
        for _ in 0..2 {
            let told = Client::connect(address).await.send(Request::get("/random")).await;
            assert_eq!(told.status, 200, "{}", told.text());
            let serde_json::Value::Object(told) = told.json() else { panic!("an object") };
            seen.extend(told.into_iter().map(|(_, value)| value.to_string()));
        }
    }
    let different: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
}

/// The SDKs' rule for a body that cannot be read, and what comes after a body.
pub(super) async fn bodies_are_refused_when_too_large_and_keep_their_trailers(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component, "5s").await;
    // Chunked, so the gateway cannot tell in advance that it is too large.
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", (1 << 20) + 1, "a".repeat((1 << 20) + 1));
    let head = "POST /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let refused = raw::exchange(address, &[head.as_bytes(), body.as_bytes()].concat()).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}\n{}", gateway.log());
    // Python writes a space.
    let compact = refused.replace("\": ", "\":");
    assert!(compact.ends_with(r#""detail":"the request body is larger than 1048576 bytes"}"#), "{refused}");

    for path in ["/body", "/chunks"] {
        let sent = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n\
             4\r\nbody\r\n0\r\nx-end: over\r\n\r\n"
        );
        let told = raw::exchange(address, sent.as_bytes()).await;
        // The response comes in groups of four as well.
        let told = told.replace("][", "");
        assert!(told.contains("trailer: over"), "{path}: {told}\n{}", gateway.log());
    }
}

/// The largest body that the gateway buffers by default. A loop over its bytes would take longer than this.
pub(super) async fn a_body_of_a_mebibyte_is_read_and_replaced(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component, "300ms").await;
    let most = (1 << 20) - ", read".len();
    for body in ["a".repeat(most), format!("{}\u{e9}", "a".repeat(most - 2))] {
        let told = Client::connect(address).await.send(Request::post("/body", body)).await;
        assert_eq!(told.text(), format!("same: false, length: {}", 1 << 20), "{}", gateway.log());
    }
}

/// As bytes, of which one is changed, within the default memory. The gateway of the tests is not optimised, and copies each byte by itself.
pub(super) async fn bodies_of_many_mebibytes_pass_as_bytes(folder: &Path, component: &Path) {
    let limits = "time: 10s";
    let (gateway, address, _upstream) =
        serving_with(folder, component, limits, "limits: { buffer-bytes: 12MiB }").await;
    for mebibytes in [1, 4, 10] {
        let mut body = vec![0xff; mebibytes << 20];
        body[7] = b'a';
        let told = Client::connect(address).await.send(Request::post("/flip", body)).await;
        assert_eq!(told.text(), format!("same: false, length: {}", mebibytes << 20), "{}", gateway.log());
    }
}

/// What a plugin fails with is in the log in one line, with the position in its source. What a client sent is no line of its own.
pub(super) async fn failures_have_their_position(folder: &Path, component: &Path, expected: &[String]) {
    let (mut gateway, address, _upstream) = serving(folder, component, "5s").await;
    let failed = Client::connect(address).await.send(Request::get("/fail")).await;
    assert_eq!(failed.status, 500, "{}", failed.text());
    let line = gateway.logged("plugin failed: ").await;
    for text in expected {
        assert!(line.contains(text), "{text}\n{line}");
    }
    assert!(!gateway.log().lines().any(|line| line.starts_with("forged")), "{}", gateway.log());

    for (path, why) in [("/status", "status must be an int"), ("/text-result", "must return a Reply")] {
        let failed = Client::connect(address).await.send(Request::get(path)).await;
        assert_eq!(failed.status, 500, "{}", failed.text());
        let line = gateway.logged(why).await;
        assert!(line.contains("kind=Error"), "no trap: {line}");
    }
}
