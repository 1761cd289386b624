//! What `gateway check` rejects and warns of: it accepts nothing that `gateway run` rejects.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Authority, process::run};

/// A configuration that is accepted, with more at its top level.
fn with(more: &str) -> String {
    format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
upstreams: {{ it: {{ endpoints: ['http://127.0.0.1:9'] }} }}
{more}
routes: [{{ name: all, upstream: it }}]
"
    )
}

/// With these plugins on its route.
fn plugins(list: &str) -> String {
    with("").replace("upstream: it }]", &format!("upstream: it, plugins: [{list}] }}]"))
}

/// What `gateway check` warns of, in a configuration that it accepts.
async fn warnings(folder: &TempDir, text: &str) -> String {
    fs::write(folder.path().join("it.yaml"), text).unwrap();
    let ended = run(folder.path(), ["check", "-c", "it.yaml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stderr
}

#[tokio::test]
async fn check_rejects_what_run_rejects() {
    let folder = TempDir::new().unwrap();
    for (file, text) in [("short", "fifteen-letters"), ("spaced", "sixteen letters and more"), ("binary", "a\u{1}b")] {
        fs::write(folder.path().join(file), text).unwrap();
    }
    let admin = |token: &str| {
        with(&format!(
            "secrets: {{ it: {{ file: {token} }} }}\nadmin: {{ address: '127.0.0.1:0', access: [{{ name: a, token: it }}] }}"
        ))
    };
    let traces = "secrets: { it: { file: binary } }\ntracing: { otlp: { upstream: it, protocol: http, headers: { x-key: it } } }";
    let redis = "state: { backend: { redis: { url: 'redis://127.0.0.1:70000' } } }";
    for (text, expected) in [
        (admin("short"), "secret `it`: a token is at least 16 visible ASCII characters"),
        (admin("spaced"), "secret `it`: a token is at least 16 visible ASCII characters"),
        (with(traces), "secret `it` cannot be the value of the field `x-key`"),
        (with(redis), "`redis://127.0.0.1:70000` is no address of a server"),
    ] {
        fs::write(folder.path().join("it.yaml"), &text).unwrap();
        for command in ["check", "run"] {
            let ended = run(folder.path(), [command, "-c", "it.yaml"]).await;
            assert_eq!(ended.code, 3, "{command}: {ended:?}\n{text}");
            // Each with its place.
            let named = ended.stderr.contains("it.yaml:") && ended.stderr.contains(expected);
            assert!(named, "{command}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn check_rejects_an_accepted_algorithm_without_a_key() {
    let folder = TempDir::new().unwrap();
    let jwt = |algorithm: &str| {
        let keys = json!([{ "secret": "a secret of the tests, longer than thirty-two bytes" }]);
        plugins(&format!("{{ name: jwt, config: {} }}", json!({ "keys": keys, "algorithms": [algorithm] })))
    };
    fs::write(folder.path().join("it.yaml"), jwt("RS256")).unwrap();
    let ended = run(folder.path(), ["check", "-c", "it.yaml"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("it.yaml:4:"), "{}", ended.stderr);
    let expected = "has no key: the keys are for HS256; add a key for RS256, or remove it";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    assert_eq!(warnings(&folder, &jwt("HS256")).await, "");
}

#[tokio::test]
async fn check_warns_of_what_a_transform_takes_from_clients_past_the_cache() {
    let folder = TempDir::new().unwrap();
    let cached = |key: &str| {
        let set = "set-headers: { x-lang: '{header.accept-language|en}' }";
        let transform = format!("{{ name: transform, config: {{ request: {{ {set} }} }} }}");
        plugins(&format!("{transform}, {{ name: cache, config: {{ key: {{ headers: [{key}] }} }} }}"))
    };
    let warned = warnings(&folder, &cached("")).await;
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert!(warned.contains("warning: it.yaml:4:"), "{warned}");
    assert!(warned.contains("`{header.accept-language}`, which is not in the key of `cache`"), "{warned}");
    assert!(warned.contains("add `x-lang` to `key.headers`"), "{warned}");
    assert_eq!(warnings(&folder, &cached("x-lang")).await, "");
}

#[tokio::test]
async fn check_warns_of_a_certificate_that_no_client_gets() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.issue(folder.path(), "one", &["a.test", "b.test"]);
    authority.issue(folder.path(), "two", &["b.test"]);
    authority.issue(folder.path(), "more", &["b.test", "c.test"]);
    authority.issue_rsa(folder.path(), "rsa", &["b.test"]);
    let listener = |files: &[&str]| {
        let certificates = files.iter().map(|file| format!("      - {{ cert: {file}.pem, key: {file}.key }}\n"));
        let certificates: String = certificates.collect();
        with("").replace(
            "listeners: [{ address: '127.0.0.1:0' }]\n",
            &format!("listeners:\n  - address: 127.0.0.1:0\n    tls:\n     certificates:\n{certificates}"),
        )
    };
    let warned = warnings(&folder, &listener(&["one", "two"])).await;
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert!(warned.contains("warning: it.yaml:6:"), "{warned}");
    assert!(warned.contains("no client gets this certificate: the one on line 5"), "{warned}");
    for others in [&["one", "rsa"][..], &["one", "more"], &["two", "one"], &["rsa", "one", "more"]] {
        assert_eq!(warnings(&folder, &listener(others)).await, "", "{others:?}");
    }
}
