//! Before anything is served: a component that cannot be used stops `check` and `run`, and leaves a reload without
//! effect, with file, line, column, what is wrong and what to do.

use std::fs;

use gateway::app::{self, Source};
use tempfile::TempDir;

use crate::support::{Process, TestGateway, Traffic, Upstream, guests, process};

/// A configuration of which line 8 names a component, and line 9 what it is granted.
fn yaml(grants: &str, config: &str) -> String {
    format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
secrets: {{ own: {{ file: own.txt }} }}
sinks: {{ own: stderr }}
upstreams: {{ echo: {{ endpoints: ['http://127.0.0.1:9'] }} }}
plugins:
  guest:
    component: guest.wasm
    grants: {grants}
    limits: {{ memory: 32MiB, time: 50ms }}
routes:
  - name: all
    upstream: echo
    plugins:
      - name: guest
        config: {config}
"
    )
}

const ALL: &str = "{ store: [own], secrets: [own], sinks: [own] }";
const MARK: &str = "{ do: mark }";

fn folder(component: &[u8], yaml: &str) -> TempDir {
    let folder = guests::folder();
    fs::write(folder.path().join("guest.wasm"), component).unwrap();
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    folder
}

/// What is said about it, by everybody who says it: the same.
fn refusal(component: &[u8], yaml: &str) -> String {
    let folder = folder(component, yaml);
    let file = Source::File(folder.path().join("gateway.yaml"));
    let said = app::check(&file).expect_err("a problem").to_string();
    said.replace(&format!("{}/", folder.path().display()), "")
}

fn is_about(said: &str, place: &str, words: &[&str]) {
    assert!(said.starts_with(&format!("gateway.yaml:{place}: ")), "{place} in {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
    assert!(said.ends_with("1 problem"), "{said}");
}

/// The component with a name replaced by another of the same length.
fn renamed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = component.to_vec();
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{from} is not in it");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn what_is_no_component_is_named_with_the_cure() {
    let said = |component: &[u8]| refusal(component, &yaml(ALL, MARK));
    let at = "8:16";
    is_about(&said(b""), at, &["not WebAssembly", "expected a component"]);
    is_about(&said(b"(component)"), at, &["not WebAssembly", "binary"]);
    is_about(
        &said(b"\0asm\x01\0\0\0"),
        at,
        &["a core WebAssembly module", "wasm32-wasip2", "wasm-tools component new"],
    );
    is_about(&said(b"\0asm\x0d\0\x01\0garbage"), at, &["not a valid component"]);
    is_about(&said(&test_guests::naughty()[..test_guests::naughty().len() / 2]), at, &["not a valid component"]);
    let missing = yaml(ALL, MARK).replace("guest.wasm", "gust.wasm");
    is_about(&refusal(test_guests::naughty(), &missing), at, &["cannot read gust.wasm", "No such file"]);
}

#[tokio::test]
async fn another_world_and_another_version_are_named_beside_ours() {
    let said = |component: &[u8]| refusal(component, &yaml(ALL, MARK));
    let at = "8:16";
    is_about(&said(b"\0asm\x0d\0\x01\0"), at, &["exports nothing", "expected gateway:plugin/lifecycle@0.2.0"]);
    let other = renamed(test_guests::naughty(), "gateway:plugin/lifecycle@0.2.0", "gateway:nothin/lifecycle@0.1.0");
    is_about(&said(&other), at, &["exports", "gateway:nothin/lifecycle@0.1.0", "expected gateway:plugin/lifecycle"]);
    let newer = renamed(test_guests::naughty(), "gateway:plugin/http@0.2.0", "gateway:plugin/http@0.9.0");
    is_about(&said(&newer), at, &["gateway:plugin/http@0.9.0", "gateway:plugin/*@0.2.0", "build it against"]);
    let unknown = renamed(test_guests::naughty(), "gateway:plugin/store@0.2.0", "gateway:plugin/stare@0.2.0");
    is_about(&said(&unknown), at, &["imports gateway:plugin/stare@0.2.0", "does not have"]);
    let files = renamed(test_guests::waiter(), "wasi:io/poll@0.2", "wasi:fs/poll@0.2");
    is_about(&said(&files), at, &["wasi:fs/poll@0.2", "does not have"]);
}

#[tokio::test]
async fn a_capability_that_is_not_granted_is_named_with_the_line_to_add() {
    let said = refusal(test_guests::naughty(), &yaml("{ store: [own], secrets: [own] }", MARK));
    is_about(&said, "9:5", &["`guest` wants `gateway:plugin/sinks`", "add `sinks: [SINK]` to `grants`"]);
    let said = refusal(test_guests::waiter(), &yaml("{}", "{ do: count }"));
    is_about(&said, "9:5", &["`gateway:plugin/http-client`", "add `upstreams: [UPSTREAM]` to `grants`"]);
}

#[tokio::test]
async fn a_guest_that_misbehaves_while_it_is_configured_is_a_problem_of_its_configuration() {
    let said = |deed: &str| refusal(test_guests::naughty(), &yaml(ALL, &format!("{{ do: {deed}, phase: configure }}")));
    let at = "16:17";
    is_about(&said("panic"), at, &["`guest`", "failed when configured", "the plugin's own words"]);
    is_about(&said("trap"), at, &["failed when configured"]);
    is_about(&said("loop"), at, &["took too long to be configured"]);
    is_about(&said("grow"), at, &["ran out of memory when configured"]);
    is_about(&said("log-forever"), at, &["took too long to be configured"]);
    let refused = refusal(test_guests::naughty(), &yaml(ALL, "{ do: err, phase: configure, with: x }"));
    is_about(&refused, "16:52", &["plugin `guest`: failed on purpose"]);
    let unknown = refusal(test_guests::naughty(), &yaml(ALL, "{ do: nothing }"));
    assert!(unknown.starts_with("gateway.yaml:16:23: ") && unknown.contains("nothing"), "{unknown}");
}

#[tokio::test]
async fn nothing_of_a_component_runs_before_it_is_approved() {
    let bad = yaml(ALL, "{ do: panic, phase: configure }");
    let folder = folder(test_guests::naughty(), &bad);
    let lock = |text: &str| fs::write(folder.path().join("gateway.lock"), text).unwrap();
    let said = async |command: &str| process::run(folder.path(), [command, "-c", "gateway.yaml"]).await;
    let approve = async || process::run(folder.path(), ["plugin", "approve", "-c", "gateway.yaml"]).await;
    lock("plugins: {}\n");
    for command in ["check", "run"] {
        let said = said(command).await;
        is_about(said.stderr.trim_end(), "8:16", &["plugin `guest` is not approved"]);
    }
    // It is not even compiled: that it is no component is of no interest.
    fs::write(folder.path().join("guest.wasm"), "not a component").unwrap();
    is_about(said("check").await.stderr.trim_end(), "8:16", &["plugin `guest` is not approved"]);
    fs::write(folder.path().join("guest.wasm"), test_guests::naughty()).unwrap();

    // Who looks at what there is to approve does not run it either.
    let approved = approve().await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    assert!(approved.stdout.contains("is granted `own` of secrets"), "{}", approved.stdout);
    is_about(said("check").await.stderr.trim_end(), "16:17", &["the plugin's own words"]);

    // With fewer grants approved than it has, or as another component, it does not run.
    let written = fs::read_to_string(folder.path().join("gateway.lock")).unwrap();
    lock(&written.replace("secrets: [\"own\"]", "secrets: []"));
    let words = ["plugin `guest` is granted `own` of secrets, which is not approved"];
    is_about(said("check").await.stderr.trim_end(), "8:16", &words);
    lock(&written);
    fs::write(folder.path().join("guest.wasm"), [test_guests::naughty(), &[0, 3, 1, b'x', 7]].concat()).unwrap();
    is_about(said("check").await.stderr.trim_end(), "8:16", &["is not the component that was approved"]);
}

#[tokio::test]
async fn check_and_run_say_the_same_and_exit_with_3() {
    let folder = folder(b"\0asm\x01\0\0\0", &yaml(ALL, MARK));
    let check = process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    let run = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]).ended().await;
    assert_eq!((check.code, run.code), (3, 3), "{check:?} {run:?}");
    is_about(&check.stderr, "8:16", &["    component: guest.wasm", "^"]);
    assert_eq!(check.stderr, run.stderr);
    assert_eq!(check.stdout, "");
}

#[tokio::test]
async fn a_reload_that_brings_a_bad_guest_has_no_effect() {
    let upstream = Upstream::echo().await;
    let address = upstream.address().to_string();
    let yaml = |config: &str| yaml(ALL, config).replace("127.0.0.1:9", &address);
    let folder = folder(test_guests::naughty(), &yaml(MARK));
    let mut gateway = TestGateway::start_in(folder, &yaml(MARK)).await;
    let traffic = Traffic::start(gateway.address(), "/").await;
    for deed in ["panic", "loop", "grow"] {
        let bad = yaml(&format!("{{ do: {deed}, phase: configure }}"));
        let error = gateway.reload(&bad).await.expect_err("it is refused").to_string();
        assert!(error.contains(":16:17: "), "{error}");
        traffic.goes_on().await;
    }
    fs::write(gateway.folder().join("guest.wasm"), "not a component").unwrap();
    let error = gateway.reload(&yaml(MARK)).await.expect_err("it is refused").to_string();
    assert!(error.contains("not WebAssembly"), "{error}");
    traffic.goes_on().await;
    fs::write(gateway.folder().join("guest.wasm"), test_guests::naughty()).unwrap();
    gateway.reload(&yaml(MARK)).await.expect("all is well again");
    traffic.goes_on().await;
    traffic.end().await;
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"error\"} 4\n"), "{metrics}");
    assert!(metrics.contains("gateway_config_last_reload_successful 1\n"), "{metrics}");
}
