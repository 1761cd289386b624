//! `gateway plugin test`: recorded cases against a component in the real sandbox.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{
    guests,
    process::{Ended, run},
};

const EXAMPLE: &str = include_str!("../../examples/plugins/hello-rust/tests/cases.yaml");

/// A folder with the example's component, and cases in the usual place.
fn project(cases: &str) -> TempDir {
    let folder = guests::folder();
    fs::write(folder.path().join("hello.wasm"), test_guests::hello()).expect("a file");
    fs::create_dir(folder.path().join("tests")).expect("a folder");
    fs::write(folder.path().join("tests/cases.yaml"), cases).expect("a file");
    folder
}

async fn test(folder: &Path, more: &[&str]) -> Ended {
    run(folder, ["plugin", "test"].iter().chain(more)).await
}

#[tokio::test]
async fn the_examples_cases_are_as_expected() {
    let folder = project(EXAMPLE);
    let ended = test(folder.path(), &["--component", "hello.wasm"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("ok ")).count(), 3, "{}", ended.stdout);
    assert!(ended.stdout.ends_with("3 of 3 cases are as expected"), "{}", ended.stdout);
    let one = test(folder.path(), &["--component", "hello.wasm", "--only", "stranger"]).await;
    assert!(one.stdout.ends_with("1 of 1 cases are as expected"), "{}", one.stdout);
}

#[tokio::test]
async fn what_is_not_as_expected_is_told_with_its_place() {
    let folder = project(
        "component: ../hello.wasm
config: { keys: { k: anna } }
cases:
  - name: all of it is wrong
    request: { path: /a, headers: { x-api-key: k, x-more: [1, 2] }, json: { a: 1 }, method: POST }
    service: { status: 201, json: { list: [1], deep: { a: true } }, headers: { x-set: [a, b] } }
    expect:
      answered: true
      request: { method: PUT, path: /b, headers: { x-client: bob, x-api-key: null, x-more: 1 }, json: { a: 2 } }
      response: { status: 200, headers: { x-set: a, x-none: b }, json: { list: [2], deep: { a: false, b: 1 } }, contains: nothing }
  - name: the service is not asked
    request: {}
    expect: { request: {}, response: { json: { status: 401 } } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    for miss in [
        "answered: expected \"true\", was \"false\"",
        "request.method: expected \"PUT\", was \"POST\"",
        "request.path: expected \"/b\", was \"/a\"",
        "request.headers.x-client: expected \"bob\", was \"anna\"",
        "request.headers.x-api-key: expected none, was \"k\"",
        "request.headers.x-more: expected \"1\", was \"1\" and \"2\"",
        "request.json.a: expected \"2\", was \"1\"",
        "response.status: expected \"200\", was \"201\"",
        "response.headers.x-set: expected \"a\", was \"a\" and \"b\"",
        "response.headers.x-none: expected \"b\", was none",
        "response.json.list: expected \"[2]\", was \"[1]\"",
        "response.json.deep.a: expected \"false\", was \"true\"",
        "response.json.deep.b: expected 1, was not there",
        "response.contains: expected \"nothing\" in the body",
        "request: expected that the service is asked, and it was not",
    ] {
        assert!(ended.stdout.contains(miss), "{miss} is not in\n{}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("0 of 2 cases are as expected"), "{}", ended.stdout);
}

#[tokio::test]
async fn messages_of_a_websocket_are_sent_by_both_sides_and_compared() {
    let folder = project(
        "component: ../messenger.wasm
sinks: [log]
config: { name: a, sink: log }
cases:
  - name: as expected
    request: {}
    messages:
      - { client: hello, to-upstream: [helloa], to-client: [] }
      - { upstream: { base64: AP8= }, to-client: [{ hex: 00ff }], to-upstream: [] }
      - { client: 'a:reply', to-client: [reply of a] }
      - { upstream: 'a:two', to-client: [one, two] }
      - { client: 'a:close', to-client: [last], to-upstream: [], close: 4001 }
    expect: { request: { method: GET, headers: { upgrade: websocket } }, response: { status: 101 } }
  - name: all of it is wrong
    request: {}
    messages:
      - { client: hello, to-upstream: [hello], to-client: [hi], close: 1000 }
      - { upstream: 'a:fail', to-client: [] }
      - { client: late }
  - name: an ordinary response
    config: { name: a, sink: log, always: true }
    request: {}
    service: { headers: { content-type: text/event-stream }, body: \"data: x\\n\\n\" }
    expect: { response: { body: \"data: xa\\n\\n\" } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    for miss in [
        "messages[0].to-upstream: expected [\"hello\"], was [\"helloa\"]",
        "messages[0].to-client: expected [\"hi\"], was []",
        "messages[0].close: expected 1000, was none (client) and none (upstream)",
        "messages[1].close: expected none, was 1011 (client) and 1011 (upstream)",
        "messages[1]: the connection is closed before the next message",
    ] {
        assert!(ended.stdout.contains(miss), "{miss} is not in\n{}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("2 of 3 cases are as expected"), "{}", ended.stdout);
}

#[tokio::test]
async fn state_secrets_and_services_are_granted_as_the_file_says_and_none_is_left_for_the_next_case() {
    let folder = project(
        "component: ../naughty.wasm
store: [own]
secrets: { own: whispered }
sinks: [own]
config: { do: mark }
cases:
  - name: it can be loaded
    request: { headers: { x-in: a } }
    expect: { request: { headers: { x-out: a } } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let calls = "component: ../waiter.wasm
config: { do: call-upstream, upstream: users }
services: { users: { status: 202, json: { id: 7 } } }
cases:
  - name: another service is asked
    request: { client: 203.0.113.7 }
    expect: { answered: true, response: { status: 202, json: { id: 7 } } }
  - name: the client is where the case says
    config: { do: read-request }
    request: { method: POST, body: four, client: 203.0.113.7 }
    expect: { request: { headers: { x-length: 4, x-forwarded-for: '203.0.113.7, 127.0.0.1' } } }
";
    fs::write(folder.path().join("tests/cases.yaml"), calls).expect("a file");
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn a_secret_is_a_key_that_cannot_be_read_if_the_file_says_so() {
    let folder = project(
        "component: ../signer.wasm
secrets: { plain: whispered }
secrets-to-use: { hidden: whispered }
cases:
  - name: one is read
    config: { do: read, with: plain }
    request: {}
    expect: { request: { headers: { x-out: whispered } } }
  - name: the other is not
    config: { do: read, with: hidden }
    request: {}
    expect: { request: { headers: { x-out: 'secret denied: hidden' } } }
  - name: both are keys
    config: { do: seal, with: plain }
    request: { path: /path }
    expect: { request: { headers: { x-out: /path true } } }
  - name: the other too
    config: { do: seal, with: hidden }
    request: { path: /path }
    expect: { request: { headers: { x-out: /path true } } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let benched = run(folder.path(), ["plugin", "bench", "--json"]).await;
    assert_eq!(benched.code, 0, "{}{}", benched.stdout, benched.stderr);
    let told: serde_json::Value = serde_json::from_str(&benched.stdout).expect("JSON");
    let calls = told["calls"].as_array().expect("a list");
    assert!(calls.iter().all(|call| call["failure"].is_null()), "{told:#}");
}

#[tokio::test]
async fn a_case_has_the_data_that_the_file_grants() {
    let folder = project(
        "component: ../prober.wasm
sinks: [own]
grants: { request-headers: { write: [x-note] }, attributes: { write: [acme.*] } }
cases:
  - name: an attribute cannot be read
    config: { do: show }
    request: {}
    expect: { request: { headers: { x-note: '' } } }
  - name: nor set, which fails this plugin
    config: { do: note }
    request: {}
    expect: { answered: true, response: { status: 500 } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn files_that_are_not_understood_are_told_with_the_cure() {
    for (cases, code, said) in [
        ("cases: []\n", 3, "there are no `cases` in it"),
        ("cases: [{ name: a }]\n", 3, "give either `request` or `timer`, with `service` and `expect`, or `steps`"),
        ("cases: [{ name: a, request: { verb: GET } }]\n", 3, "verb"),
        ("cases: [{ name: a, request: {} }]\n", 2, "say `component`, or give it with --component"),
        ("component: gone.wasm\ncases: [{ name: a, request: {} }]\n", 3, "there is no such file; build it first"),
        ("component: ../hello.wasm\ncases: [{ name: a, request: {} }]\n", 3, "missing key `keys`"),
        (
            "component: ../hello.wasm\nconfig: { keys: { k: a } }\ncases: [{ name: a, request: { method: 'a b' } }]\n",
            1,
            "is not a method",
        ),
    ] {
        let folder = project(cases);
        let ended = test(folder.path(), &[]).await;
        assert_eq!(ended.code, code, "{cases}\n{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(said), "{said} is not in\n{}", ended.stderr);
    }
    let folder = TempDir::new().expect("a folder");
    let ended = test(folder.path(), &[]).await;
    assert_eq!(
        (ended.code, ended.stderr.contains("there is no file ./tests/cases.yaml")),
        (2, true),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn what_is_measured_has_the_grants_of_the_cases() {
    for (store, denied) in [("", true), ("store: [sums]", false)] {
        let folder = project(&format!(
            "component: ../counting.wasm
{store}
cases:
  - name: counts
    config: {{ do: call-then-count, bucket: sums, upstream: service }}
    request: {{}}
"
        ));
        let benched = run(folder.path(), ["plugin", "bench", "--json"]).await;
        assert_eq!(benched.code, 0, "{}{}", benched.stdout, benched.stderr);
        let told: serde_json::Value = serde_json::from_str(&benched.stdout).expect("JSON");
        let failure = told["calls"][0]["failure"].as_str().unwrap_or_default();
        assert_eq!(failure.contains("store denied"), denied, "{told:#}");
    }
}
