//! The API does what its own description says: Schemathesis (`pip install schemathesis`) asks it everything that it says can
//! be asked, and much that cannot.

use std::{fs, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use super::{ask, get};
use crate::support::{Process, TestGateway, Upstream, client::Request};

#[tokio::test]
async fn every_operation_is_described_and_says_how_it_refuses() {
    let gateway = TestGateway::start("routes: [{ name: all, respond: { status: 204 } }]\n").await;
    let document = get(&gateway, "/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 17, "{:?}", paths.keys().collect::<Vec<_>>());
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let about = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{about}");
            let refused = &operation["responses"]["default"]["content"];
            assert!(refused.get("application/problem+json").is_some(), "{about}");
            assert!(operation["responses"]["200"]["content"].as_object().is_some_and(|c| c.len() == 1), "{about}");
        }
        if path.contains('{')
            || !item.as_object().is_some_and(|item| item.contains_key("get"))
            || path.ends_with("tail")
        {
            continue;
        }
        assert_eq!(
            ask(&gateway, Request::get(path)).await.status,
            if path.ends_with("level") { 404 } else { 200 },
            "{path}"
        );
    }
}

#[tokio::test]
async fn it_does_what_its_description_says() {
    let upstream = Upstream::echo().await;
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("token"), "a-token-of-an-operator\n").expect("a file");
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
secrets: {{ ops: {{ file: token }} }}
admin: {{ address: '127.0.0.1:0', access: [{{ name: ops, token: ops, role: full }}] }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: all, match: {{ path: '/x/{{*rest}}' }}, plugins: [security-headers], upstream: it }}
  - {{ name: gone, match: {{ path: /gone }}, respond: {{ status: 410 }} }}
",
        upstream.address()
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let admin = process.admin().await;
    let authorized = "Authorization: Bearer a-token-of-an-operator";
    let asked = Command::new("st")
        .arg("run")
        .arg(format!("http://{admin}/api/v1/openapi.json"))
        .args(["--header", authorized, "--no-color", "--continue-on-failure"])
        // New questions each time would find something new some time, in a change that has nothing to do with it.
        .args(["--generation-deterministic", "--max-examples", "20"])
        // It never ends; `views` watches it.
        .args(["--exclude-path", "/api/v1/tail"])
        // What a configuration, a level or a URL means is in no schema.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("Schemathesis' `st` in PATH: CONTRIBUTING.md says how");
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}\n{}", String::from_utf8_lossy(&asked.stderr));
    assert!(said.contains("Selected: 21/22"), "{said}");
    assert!(process.is_running());
}
