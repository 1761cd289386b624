//! The SDK for Python.

use std::{fs, path::Path};

use super::{
    account::counts_calls_chooses_and_changes,
    checks::{
        CONFIG, a_body_of_a_mebibyte_is_read_and_replaced, bodies_are_refused_when_too_large_and_keep_their_trailers,
        bodies_of_many_mebibytes_pass_as_bytes, bytes_that_are_no_text_do_no_harm, failures_have_their_position,
        random_numbers_are_never_the_same, serving,
    },
    sdk_does_what_it_offers,
};
use crate::support::{Client, client::Request, eventually, process::Process};

#[tokio::test]
async fn the_sdk_of_python_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("python").await;
    copied.passes(&component, "tests/languages/interface.yaml").await;
    copied.passes(&component, "tests/languages/values.yaml").await;
    let folder = copied.folder.path();
    bytes_that_are_no_text_do_no_harm(folder, &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(folder, &component).await;
    random_numbers_are_never_the_same(folder, &component).await;
    a_body_of_a_mebibyte_is_read_and_replaced(folder, &component).await;
    bodies_of_many_mebibytes_pass_as_bytes(folder, &component).await;
    let source = fs::read_to_string(copied.project.join("errand.py")).expect("a file");
    let line = |text: &str| source.lines().position(|line| line.contains(text)).expect("it is there") + 1;
    let (raised, called) = (line("raise ValueError"), line("return deed(request)"));
    let expected = [
        "ValueError: as it was told\\nforged".to_owned(),
        format!("at Errand.fail (errand.py:{raised}), Errand.on_request (errand.py:{called})"),
    ];
    failures_have_their_position(folder, &component, &expected).await;
    functions_import_what_was_there_at_the_build(folder, &component).await;
    counts_calls_chooses_and_changes(&component, "errand", CONFIG).await;
    is_compiled_once_while_others_are_served(folder, &component).await;
}

/// There are no files to import from when the component runs.
async fn functions_import_what_was_there_at_the_build(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component, "5s").await;
    let told = Client::connect(address).await.send(Request::get("/later")).await;
    assert_eq!(told.status, 200, "{}\n{}", told.text(), gateway.log());
    let told = told.json();
    assert_eq!(told["module"], serde_json::json!([0.0, 1.0, 1]));
    assert_eq!((&told["time"], &told["own"], &told["latin"]), (&2026.into(), &"found".into(), &"e9".into()));
    let absent = told["absent"].as_str().expect("text");
    assert!(absent.starts_with("turtle is not part of the component: import it at the top of a module"), "{absent}");

    // Leaving the interpreter is a failure as any other.
    let mut gateway = gateway;
    let exited = Client::connect(address).await.send(Request::get("/exit")).await;
    assert_eq!(exited.status, 500);
    assert!(gateway.logged("SystemExit: 1, at Errand.exit (errand.py:").await.contains("kind=Error"));
}

/// An interpreter takes seconds to compile: those who are served meanwhile do not wait for it, and the next process finds it
/// compiled. It runs within the limits that every plugin has.
async fn is_compiled_once_while_others_are_served(folder: &Path, component: &Path) {
    let plain = "listeners: [{ address: 127.0.0.1:0 }]
routes: [{ name: fast, match: { path: /fast }, respond: { status: 200, body: fast } }]
";
    let heavy = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
plugins: {{ errand: {{ component: {}, grants: {{ store: [visits], secrets: [], files: [], sinks: [audit], upstreams: [none] }} }} }}
upstreams: {{ none: {{ endpoints: ['http://127.0.0.1:1'] }} }}
sinks: {{ audit: stderr }}
secrets: {{ key: {{ file: plain.yaml }} }}
files: {{ list: plain.yaml }}
routes:
  - {{ name: fast, match: {{ path: /fast }}, respond: {{ status: 200, body: fast }} }}
  - name: slow
    match: {{ path: /config }}
    plugins: [{{ name: errand, config: {{ mark: m, count: 1, ratio: 1, loud: true, names: [], ages: {{ ann: \"1\" }} }} }}]
    respond: {{ status: 404, body: nothing }}
",
        component.display()
    )
    .replace("secrets: []", "secrets: [key]")
    .replace("files: []", "files: [list]");
    fs::write(folder.join("plain.yaml"), plain).expect("a file");
    fs::write(folder.join("gateway.yaml"), plain).expect("a file");
    let cache = folder.join("cache").display().to_string();
    let start = || Process::start_with(folder, ["run", "-c", "gateway.yaml"], &[("XDG_CACHE_HOME", cache.as_str())]);
    let mut gateway = start();
    let address = gateway.addresses().await[0];
    let status = async |path: &str| Client::connect(address).await.send(Request::get(path)).await.status;
    assert_eq!(status("/fast").await, 200);

    fs::write(folder.join("gateway.yaml"), &heavy).expect("a file");
    let mut served = 0;
    while !gateway.log().contains("configuration reloaded") {
        assert_eq!(status("/fast").await, 200, "{}", gateway.log());
        served += 1;
        assert!(!gateway.log().contains("problem"), "{}", gateway.log());
    }
    assert!(served > 20, "{served}");
    assert_eq!(status("/config").await, 200);
    drop(gateway);

    let compiled = || -> usize {
        let mut folders = vec![folder.join("cache")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() { folders.push(entry.path()) } else { files += 1 }
            }
        }
        files
    };
    eventually("what was compiled on disk", async || compiled() > 0).await;
    let mut again = start();
    let address = again.addresses().await[0];
    assert_eq!(Client::connect(address).await.send(Request::get("/config")).await.status, 200);
}
