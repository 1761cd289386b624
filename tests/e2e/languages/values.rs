//! Bytes, sizes, numbers and mistakes, as plugins in Go and C get them.

use std::{fs, path::Path};

use http_body_util::BodyExt;
use tempfile::TempDir;

use super::Copied;
use crate::support::{
    Client, Process, Upstream,
    client::Request,
    process::{run, run_long},
    upstream::full,
};

const CASES: &str = "tests/languages/services/cases.yaml";

/// A gateway that buffers large bodies, in front of an upstream that says how many bytes it got and how many of them are `a`.
async fn serving(folder: &Path, component: &Path) -> (Process, std::net::SocketAddr, Upstream) {
    let upstream = Upstream::serving(|request| async move {
        let Ok(body) = request.into_body().collect().await else { return http::Response::new(full("interrupted")) };
        let bytes = body.to_bytes();
        let count = bytes.iter().filter(|byte| **byte == b'a').count();
        http::Response::new(full(format!("{} {count}", bytes.len())))
    })
    .await;
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
plugins:
  services:
    component: {}
    limits: {{ time: 10s, memory: 256MiB }}
    grants: {{ store: [visits], upstreams: [up] }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: services }}]
    limits: {{ buffer-bytes: 16MiB }}
    upstream: up
",
        component.display(),
        upstream.address()
    );
    fs::write(folder.join("serving.yaml"), yaml).expect("a file");
    let mut gateway = Process::start(folder, ["run", "-c", "serving.yaml"]);
    let address = gateway.addresses().await[0];
    (gateway, address, upstream)
}

async fn large_bodies_are_read_and_replaced(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component).await;
    // Twice: memory is used again.
    for mebibytes in [1, 10, 10] {
        let length = mebibytes << 20;
        let response = Client::connect(address).await.send(Request::post("/body", "a".repeat(length))).await;
        assert_eq!(response.text(), format!("{} {length}", length + 1), "{}", gateway.log());
    }
}

/// A gateway with this configuration does not start, says why, and shows the place, which names the parameter.
async fn is_refused(component: &Path, config: &str, problem: &str) {
    let folder = TempDir::new().expect("a folder");
    let yaml = format!(
        "store: [visits]\nservices: {{ up: {{}} }}\ncases: [{{ name: a, config: {{ {config} }}, request: {{ path: /config }} }}]\n"
    );
    fs::write(folder.path().join("cases.yaml"), yaml).expect("a file");
    let component = component.to_str().expect("UTF-8");
    let tested = run(folder.path(), ["plugin", "test", "cases.yaml", "--component", component]).await;
    assert_eq!(tested.code, 3, "{config}: {}{}", tested.stdout, tested.stderr);
    assert!(tested.stderr.contains(problem), "{config}: {}", tested.stderr);
    let name = config.split(':').next().unwrap_or_default();
    assert!(tested.stderr.contains(&format!("\"{name}\":")), "{config}: {}", tested.stderr);
    assert!(!tested.stderr.contains("trap"), "{config}: {}", tested.stderr);
}

#[tokio::test]
async fn a_plugin_in_go_gets_bytes_numbers_and_defaults_as_they_are() {
    let copied = Copied::of("tests/languages/services/go");
    let component = copied.build().await;
    copied.passes(&component, CASES).await;
    for (config, problem) in [
        ("big: text", "expected a whole number, found `text`"),
        ("big: 1.5", "expected a whole number, found `1.5`"),
        ("big: 9223372036854775808", "expected at most 9223372036854775807"),
        ("small: 128", "expected at most 127, found `128`"),
        ("huge: -1", "expected at least 0, found `-1`"),
        ("names: [1]", "expected text, found `1`"),
        ("steps: [{ name: a, weight: heavy }]", "expected a whole number, found `heavy`"),
        ("steps: [{ weight: 1 }]", "missing key `name`"),
        ("limits: { a: { most: {} } }", "expected a whole number, found a mapping"),
        ("limits: { a: { inner: { most: text } } }", "expected int, found string"),
        ("unknown: 1", "unknown key `unknown`"),
    ] {
        is_refused(&component, config, problem).await;
    }

    // Defaults also within lists and maps, at any depth.
    let cases = "cases:
  - name: defaults within lists and maps
    config: { steps: [{ name: a }, { name: b, weight: 2 }], limits: { x: {}, y: { inner: {} } } }
    request: { path: /config }
    expect:
      response:
        json:
          huge: 18446744073709551615
          steps: [{ name: a, weight: 9007199254740993 }, { name: b, weight: 2 }]
          limits: { x: { most: 5 }, y: { most: 5, inner: { most: 5 } } }
  - name: and within defaults
    request: { path: /config }
    expect: { response: { json: { steps: [{ name: first, weight: 9007199254740993 }] } } }
";
    let folder = copied.folder.path();
    let grants = "store: [visits]\nservices: { users: {}, canary: {}, echo: {} }\n";
    fs::write(folder.join("defaults.yaml"), format!("{grants}{cases}")).expect("a file");
    let path = component.to_str().expect("UTF-8");
    let tested = run_long(folder, ["plugin", "test", "defaults.yaml", "--component", path]).await;
    assert_eq!(tested.code, 0, "{}\n{}", tested.stdout, tested.stderr);

    large_bodies_are_read_and_replaced(folder, &component).await;

    // What a panic says, with the file and the line, is in the log.
    let (mut gateway, address, _upstream) = serving(folder, &component).await;
    assert_eq!(Client::connect(address).await.send(Request::get("/panic")).await.status, 500);
    gateway.logged("nil pointer dereference").await;
    let line = gateway.logged("services.go:").await;
    assert!(line.contains("gateway::plugin"), "{line}");
    gateway.logged("main.panics").await;
    // The next request gets another instance.
    assert_eq!(Client::connect(address).await.send(Request::get("/other")).await.status, 200);
}

#[tokio::test]
async fn a_plugin_in_c_gets_bytes_numbers_and_defaults_as_they_are() {
    let copied = Copied::of("tests/languages/services/c");
    let component = copied.build().await;
    copied.passes(&component, CASES).await;
    for (config, problem) in [
        ("big: text", "expected a whole number, found `text`"),
        ("big: 1.5", "expected a whole number, found `1.5`"),
        ("big: 9223372036854775808", "expected at most 9223372036854775807"),
        ("names: [1]", "expected text, found `1`"),
        ("names: a", "expected a list, found `a`"),
        ("ages: { ann: 31 }", "expected text, found `31`"),
        ("unknown: 1", "unknown key `unknown`"),
    ] {
        is_refused(&component, config, problem).await;
    }
    large_bodies_are_read_and_replaced(copied.folder.path(), &component).await;
}
