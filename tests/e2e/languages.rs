//! Plugins in every language, built with its own tools: npm's, PyPI's, Go's, and a compiler for C from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{
    Client,
    client::Request,
    eventually, free_address,
    process::{Process, run, run_long},
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
}

#[tokio::test]
async fn the_sdk_of_python_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("python").await;
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
    sdk_does_what_it_offers("c").await;
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
