//! Plugins in every language, built with its own tools: npm's, PyPI's, Go's, and a compiler for C from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use http_body_util::BodyExt;

use crate::support::{
    Client, Upstream,
    client::Request,
    eventually, free_address,
    process::{Process, run, run_long},
    raw,
    upstream::full,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A project of this repository with the SDKs beside it, where building leaves nothing behind here.
struct Copied {
    folder: TempDir,
    project: PathBuf,
}

impl Copied {
    fn of(project: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        for part in ["plugin-sdk/c", "plugin-sdk/go", "plugin-sdk/javascript", "plugin-sdk/python", project] {
            copy(&Path::new(ROOT).join(part), &folder.path().join(part));
        }
        let project = folder.path().join(project);
        Self { folder, project }
    }

    /// The component that is built.
    async fn build(&self) -> PathBuf {
        let built = run_long(&self.project, ["plugin", "build"]).await;
        assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
        let found = fs::read_dir(self.project.join("build")).expect("a folder");
        let found = found.map(|entry| entry.expect("an entry").path());
        let is_component =
            |path: &PathBuf| path.extension().is_some_and(|end| end == "wasm") && !path.ends_with("core.wasm");
        found.into_iter().find(is_component).expect("a component")
    }

    /// All cases of a file of this repository.
    async fn passes(&self, component: &Path, cases: &str) {
        let component = component.to_str().expect("UTF-8");
        let cases = format!("{ROOT}/{cases}");
        let tested = run_long(self.folder.path(), ["plugin", "test", &cases, "--component", component]).await;
        assert_eq!(tested.code, 0, "{}\n{}", tested.stdout, tested.stderr);
        assert!(tested.stdout.ends_with("cases are as expected"), "{}", tested.stdout);
    }
}

fn copy(from: &Path, to: &Path) {
    const LEFT: [&str; 4] = ["build", "node_modules", ".venv", "__pycache__"];
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if LEFT.iter().any(|left| entry.file_name() == *left) {
            continue;
        } else if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

async fn example_does_what_the_one_in_rust_does(manifest: &str) {
    let copied = Copied::of(&format!("examples/{}", manifest.trim_end_matches("/plugin.yaml")));
    let component = copied.build().await;
    copied.passes(&component, "examples/plugins/hello-rust/tests/cases.yaml").await;

    // What is wrong with its configuration is told at its place.
    let refused = run_long(
        copied.folder.path(),
        ["plugin", "inspect", component.to_str().expect("UTF-8"), "--config", "{ keys: {} }"],
    )
    .await;
    assert_eq!(refused.code, 3, "{}", refused.stdout);
    assert_eq!(refused.stderr, "config/keys: needs at least one key");
}

/// A gateway with `errand` on a route in front of an upstream that says whether the header was copied as it is, and how long the
/// body was.
async fn serving(folder: &Path, component: &Path, time: &str) -> (Process, std::net::SocketAddr, Upstream) {
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
    limits: {{ time: {time} }}
    grants: {{ store: [visits], secrets: [key], files: [list], sinks: [audit], upstreams: [up] }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
sinks: {{ audit: stderr }}
secrets: {{ key: {{ file: list }} }}
files: {{ list: list }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: errand, config: {{ mark: m, count: 1, ratio: 1, loud: true, names: [], ages: {{ ann: \"1\" }} }} }}]
    upstream: up
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
async fn bytes_that_are_no_text_do_no_harm(folder: &Path, component: &Path) {
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
async fn random_numbers_are_never_the_same(folder: &Path, component: &Path) {
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
async fn bodies_are_refused_when_too_large_and_keep_their_trailers(folder: &Path, component: &Path) {
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
async fn a_body_of_a_mebibyte_is_read_and_replaced(folder: &Path, component: &Path) {
    let (gateway, address, _upstream) = serving(folder, component, "300ms").await;
    let most = (1 << 20) - ", read".len();
    for body in ["a".repeat(most), format!("{}\u{e9}", "a".repeat(most - 2))] {
        let told = Client::connect(address).await.send(Request::post("/body", body)).await;
        assert_eq!(told.text(), format!("same: false, length: {}", 1 << 20), "{}", gateway.log());
    }
}

async fn sdk_does_what_it_offers(language: &str) -> (Copied, PathBuf) {
    let copied = Copied::of(&format!("tests/languages/{language}"));
    let component = copied.build().await;
    copied.passes(&component, "tests/languages/cases.yaml").await;
    (copied, component)
}

/// In as many commands as it takes a stranger.
async fn new_project_is_built_and_tested(language: &str) {
    let folder = TempDir::new().expect("a folder");
    let written = run(folder.path(), ["plugin", "new", "my-greeter", "--lang", language]).await;
    assert_eq!(written.code, 0, "{}", written.stderr);
    let project = folder.path().join("my-greeter");
    let built = run_long(&project, ["plugin", "build"]).await;
    assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
    assert!(built.stdout.contains("my-greeter 0.1.0"), "{}", built.stdout);
    assert!(built.stdout.contains("phases: request, response"), "{}", built.stdout);
    let tested = run_long(&project, ["plugin", "test"]).await;
    assert!(tested.stdout.ends_with("2 of 2 cases are as expected"), "{}\n{}", tested.stdout, tested.stderr);
}

#[tokio::test]
async fn the_example_in_javascript_does_what_the_one_in_rust_does() {
    example_does_what_the_one_in_rust_does("plugins/hello-javascript/plugin.yaml").await;
}

#[tokio::test]
async fn the_example_in_typescript_does_what_the_one_in_rust_does() {
    example_does_what_the_one_in_rust_does("plugins/hello-typescript/plugin.yaml").await;
}

#[tokio::test]
async fn the_example_in_python_does_what_the_one_in_rust_does() {
    example_does_what_the_one_in_rust_does("plugins/hello-python/plugin.yaml").await;
}

#[tokio::test]
async fn the_example_in_go_does_what_the_one_in_rust_does() {
    example_does_what_the_one_in_rust_does("plugins/hello-go/plugin.yaml").await;
}

#[tokio::test]
async fn the_example_in_c_does_what_the_one_in_rust_does() {
    example_does_what_the_one_in_rust_does("plugins/hello-c/plugin.yaml").await;
}

#[tokio::test]
async fn the_sdk_of_typescript_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("typescript").await;

    // What is written to the console is in the log.
    let (component, cases) = (component.to_str().expect("UTF-8"), format!("{ROOT}/tests/languages/cases.yaml"));
    let arguments = ["plugin", "test", &cases, "--component", component, "--only", "log line", "--log-level", "info"];
    let tested = run_long(copied.folder.path(), arguments).await;
    assert!(tested.stderr.contains(r#"WARN gateway::plugin::guest: said {"a":[1]} true"#), "{}", tested.stderr);

    let (folder, component) = (copied.folder.path(), Path::new(component));
    bytes_that_are_no_text_do_no_harm(folder, component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(folder, component).await;
    random_numbers_are_never_the_same(folder, component).await;
    a_body_of_a_mebibyte_is_read_and_replaced(folder, component).await;
}

#[tokio::test]
async fn the_sdk_of_python_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("python").await;
    bytes_that_are_no_text_do_no_harm(copied.folder.path(), &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(copied.folder.path(), &component).await;
    random_numbers_are_never_the_same(copied.folder.path(), &component).await;
    is_compiled_once_while_others_are_served(copied.folder.path(), &component).await;
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

/// Its collector runs many times in so many calls, also while the gateway hands something over.
#[tokio::test]
async fn the_sdk_of_go_does_what_it_offers_as_long_as_one_calls_it() {
    let (copied, component) = sdk_does_what_it_offers("go").await;
    bytes_that_are_no_text_do_no_harm(copied.folder.path(), &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(copied.folder.path(), &component).await;
    random_numbers_are_never_the_same(copied.folder.path(), &component).await;
    let cases = format!("{ROOT}/tests/languages/cases.yaml");
    let component = component.to_str().expect("UTF-8");
    for only in ["large bodies", "state is kept"] {
        let args = ["plugin", "bench", &cases, "--component", component, "--only", only, "--json"];
        let benched = run_long(copied.folder.path(), args).await;
        let told: serde_json::Value = serde_json::from_str(&benched.stdout).expect("JSON");
        let calls = told["calls"].as_array().expect("a list");
        assert!(!calls.is_empty() && calls.iter().all(|call| call["failure"].is_null()), "{told:#}");
        assert!(told["memory"].as_u64().is_some_and(|bytes| bytes < 64 << 20), "{told:#}");
    }
}

#[tokio::test]
async fn the_sdk_of_c_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("c").await;
    bytes_that_are_no_text_do_no_harm(copied.folder.path(), &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(copied.folder.path(), &component).await;
}

/// It would do nothing, and let everything pass.
#[tokio::test]
async fn a_phase_in_javascript_that_is_async_is_refused_before_it_serves() {
    let copied = Copied::of("examples/plugins/hello-javascript");
    let source = copied.project.join("hello.js");
    let text = fs::read_to_string(&source).expect("a file");
    let with = |phase: &str| text.replacen("onRequest(", &format!("{phase},\n    onRequest("), 1);
    for (phase, is_refused) in [
        ("async onResponse(request, response) { response.status = 500 }", true),
        ("*onResponse(request, response) { response.status = 500 }", true),
        ("async onComplete() {}", true),
        ("async onRequestBodyError() {}", true),
        ("helper: async () => {}", false),
    ] {
        fs::write(&source, with(phase)).expect("a file");
        let component = copied.build().await;
        let component = component.to_str().expect("UTF-8");
        let config = "{ keys: { a: anna } }";
        let inspected = run_long(copied.folder.path(), ["plugin", "inspect", component, "--config", config]).await;
        assert_eq!(inspected.code, if is_refused { 3 } else { 0 }, "{phase}: {}{}", inspected.stdout, inspected.stderr);
        assert_eq!(inspected.stderr.contains("must not be async or a generator"), is_refused, "{}", inspected.stderr);
    }
}

/// Neither does anything otherwise, silently: a handler that `plugin.yaml` does not export, and an export without a handler.
async fn handlers_and_exports_are_compared(language: &str, edits: &[(&str, &str, &str)], problems: [&str; 2]) {
    let copied = Copied::of(&format!("examples/plugins/hello-{language}"));
    for (file, from, to) in edits {
        let file = copied.project.join(file);
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("a file");
    }
    let built = run_long(&copied.project, ["plugin", "build"]).await;
    let mut told = format!("{}{}", built.stdout, built.stderr);
    if built.code == 0 {
        let component = copied.project.join("build/hello.wasm");
        let component = component.to_str().expect("UTF-8");
        let inspected =
            run_long(&copied.project, ["plugin", "inspect", component, "--config", "{ keys: { a: anna } }"]).await;
        assert_eq!(inspected.code, 3, "{}{}", inspected.stdout, inspected.stderr);
        told = inspected.stderr;
    }
    for problem in problems {
        assert!(told.contains(problem), "{told}");
    }
}

const OBSERVER_TOO: (&str, &str, &str) =
    ("plugin.yaml", "exports: [request-filter]", "exports: [request-filter, observer]");

#[tokio::test]
async fn a_handler_in_go_and_its_export_are_missed_by_name() {
    let handler = "func (h *Hello) OnRequestBody(gateway.Request, gateway.Body) (gateway.Decision, error) {\n\treturn nil, nil\n}\n\nfunc main()";
    let edits = [OBSERVER_TOO, ("hello.go", "func main()", handler)];
    let problems = [
        "OnRequestBody is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but OnComplete is not defined",
    ];
    handlers_and_exports_are_compared("go", &edits, problems).await;

    let edits = [(
        "hello.go",
        "func main()",
        "func (h *Hello) OnResponse(gateway.Request) error {\n\treturn nil\n}\n\nfunc main()",
    )];
    let problem = "OnResponse does not have the signature that the documentation of the package gives";
    handlers_and_exports_are_compared("go", &edits, [problem; 2]).await;
}

#[tokio::test]
async fn a_handler_in_c_and_its_export_are_missed_by_name() {
    let handler = "gw_decision gw_on_request_body(gw_request request, gw_body body) {\n    (void)request, (void)body;\n    return GW_NEXT;\n}\n\ngw_decision gw_on_request(";
    let edits = [OBSERVER_TOO, ("hello.c", "gw_decision gw_on_request(", handler)];
    let problems = [
        "gw_on_request_body is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but gw_on_complete is not defined",
    ];
    handlers_and_exports_are_compared("c", &edits, problems).await;
}

#[tokio::test]
async fn a_handler_in_python_and_its_export_are_missed_by_name() {
    let handler = "    def on_request_body(self, request, body):\n        return None\n\n    def on_request(";
    let edits = [OBSERVER_TOO, ("hello.py", "    def on_request(", handler)];
    let problems = [
        "on_request_body is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but on_complete is not defined",
    ];
    handlers_and_exports_are_compared("python", &edits, problems).await;
}

#[tokio::test]
async fn a_handler_in_javascript_and_its_export_are_missed_by_name() {
    let edits = [
        OBSERVER_TOO,
        ("hello.js", "requestFilter }", "requestFilter, observer }"),
        ("hello.js", "onRequest(", "onRequestBody() {},\n      onRequest("),
    ];
    let problems = [
        "onRequestBody is defined, but the module does not export requestBodyFilter",
        "the module exports observer, but onComplete is not defined",
    ];
    handlers_and_exports_are_compared("javascript", &edits, problems).await;

    // The tool that makes the component would leave out what the world does not have.
    let edits = [("hello.js", "requestFilter }", "requestFilter, observer }")];
    let problem = "the module exports observer, but `exports` in plugin.yaml does not name observer";
    handlers_and_exports_are_compared("javascript", &edits, [problem; 2]).await;
    let problem = "`exports` in plugin.yaml names observer, but the module does not export observer";
    handlers_and_exports_are_compared("javascript", &[OBSERVER_TOO], [problem; 2]).await;
}

#[tokio::test]
async fn a_phase_in_python_that_is_async_is_refused_when_it_is_built() {
    let copied = Copied::of("examples/plugins/hello-python");
    let source = copied.project.join("hello.py");
    let text = fs::read_to_string(&source).expect("a file");
    let phase =
        "    async def on_response(self, request, response):\n        response.status = 500\n\n    def on_request(";
    fs::write(&source, text.replacen("    def on_request(", phase, 1)).expect("a file");
    let built = run_long(&copied.project, ["plugin", "build"]).await;
    assert_ne!(built.code, 0, "{}", built.stdout);
    let told = format!("{}{}", built.stdout, built.stderr);
    assert!(told.contains("on_response must not be async or a generator"), "{told}");
}

#[tokio::test]
async fn a_new_project_in_javascript_is_built_and_tested() {
    new_project_is_built_and_tested("javascript").await;
}

#[tokio::test]
async fn a_new_project_in_typescript_is_built_and_tested() {
    new_project_is_built_and_tested("typescript").await;
}

#[tokio::test]
async fn a_new_project_in_python_is_built_and_tested() {
    new_project_is_built_and_tested("python").await;
}

#[tokio::test]
async fn a_new_project_in_go_is_built_and_tested() {
    new_project_is_built_and_tested("go").await;
}

#[tokio::test]
async fn a_new_project_in_c_is_served_while_it_is_written() {
    let folder = TempDir::new().expect("a folder");
    let written = run(folder.path(), ["plugin", "new", "my-greeter", "--lang", "c"]).await;
    assert_eq!(written.code, 0, "{}", written.stderr);
    let project = folder.path().join("my-greeter");
    let built = run_long(&project, ["plugin", "build"]).await;
    assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
    let lean = fs::metadata(project.join("build/my-greeter.wasm")).expect("a component").len();
    let tested = run_long(&project, ["plugin", "test"]).await;
    assert!(tested.stdout.ends_with("2 of 2 cases are as expected"), "{}\n{}", tested.stdout, tested.stderr);

    // The service is one that `dev` has to stand in for: a port on which nothing listens.
    let free = free_address();
    let yaml = fs::read_to_string(project.join("gateway.yaml")).expect("a file");
    let yaml = yaml.replace("127.0.0.1:9001", &free.to_string()).replace("127.0.0.1:8080", "127.0.0.1:0");
    fs::write(project.join("gateway.yaml"), yaml).expect("a file");

    let source = project.join("plugin.c");
    let text = fs::read_to_string(&source).expect("a file");
    let with_trap = text.replace(
        "    const char *name = gw_header",
        "    if (gw_header(request, \"x-trap\")) __builtin_trap();\n    const char *name = gw_header",
    );
    let line = with_trap.lines().position(|line| line.contains("__builtin_trap")).expect("it is there") + 1;
    fs::write(&source, &with_trap).expect("a file");

    let mut dev = Process::start(&project, ["plugin", "dev"]);
    // Libraries with source lines are compiled first.
    let line_of_it = dev.logged_at_last("serving on http://").await;
    let address = line_of_it.split("http://").nth(1).and_then(|rest| rest.split(';').next()).expect("an address");
    let address = address.parse().expect("an address");
    let greeting = async || -> String {
        let response = Client::connect(address).await.send(Request::get("/").header("x-name", "anna")).await;
        response.json()["headers"]["x-greeting"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(greeting().await, "good morning anna");

    // A trap tells the line of its source, while it is written.
    let trapped = Client::connect(address).await.send(Request::get("/").header("x-trap", "1")).await;
    assert_eq!(trapped.status, 500);
    dev.logged(&format!("plugin.c:{line}")).await;
    let rich = fs::metadata(project.join("build/my-greeter.wasm")).expect("a component").len();
    assert!(rich > lean, "{rich} {lean}");

    // Saved, it is built and loaded.
    fs::write(&source, text.replace("\"%s %s\"", "\"%s, dear %s\"")).expect("a file");
    eventually("the new text", async || greeting().await == "good morning, dear anna").await;

    // With a mistake, what was serving goes on serving.
    fs::write(&source, text.replace("return error ?", "retrun error ?")).expect("a file");
    dev.logged("ended with exit status: 1").await;
    assert!(dev.log().contains("undeclared identifier 'retrun'"), "{}", dev.log());
    assert_eq!(greeting().await, "good morning, dear anna");

    // And what the configuration says wrong is told, and loaded when it is right.
    let yaml = fs::read_to_string(project.join("gateway.yaml")).expect("a file");
    fs::write(&source, &text).expect("a file");
    fs::write(project.join("gateway.yaml"), yaml.replace("greeting: good morning", "greeting: \"\"")).expect("a file");
    dev.logged("is empty").await;
    fs::write(project.join("gateway.yaml"), yaml.replace("greeting: good morning", "greeting: hi")).expect("a file");
    eventually("the new greeting", async || greeting().await == "hi anna").await;
}
