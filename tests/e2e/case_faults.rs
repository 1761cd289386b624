//! `gateway plugin test` with services that fail, requests that services receive, bodies that are no text, and state in Redis.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{
    guests,
    process::{Ended, run},
    redis::Redis,
};

fn project(cases: &str) -> TempDir {
    let folder = guests::folder();
    fs::write(folder.path().join("services.wasm"), test_guests::services()).expect("a file");
    fs::create_dir(folder.path().join("tests")).expect("a folder");
    fs::write(folder.path().join("tests/cases.yaml"), cases).expect("a file");
    folder
}

async fn test(folder: &Path, more: &[&str]) -> Ended {
    run(folder, ["plugin", "test"].iter().chain(more)).await
}

async fn passes(cases: &str, more: &[&str]) {
    let folder = project(cases);
    let ended = test(folder.path(), more).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn each_case_can_make_a_service_slow_fail_or_unknown_in_one_line() {
    passes(
        "component: ../waiter.wasm
config: { do: call-upstream, upstream: users, timeout-ms: 5000 }
services: { users: { status: 202, json: { id: 7 } } }
cases:
  - name: it answers
    request: {}
    expect: { answered: true, response: { status: 202, json: { id: 7 } } }
  - name: it answers with an error
    services: { users: 503 }
    request: {}
    expect: { response: { status: 503 } }
  - name: it answers late
    services: { users: { delay: 20ms, status: 204 } }
    request: {}
    expect: { response: { status: 204 } }
  - name: it is too slow
    config: { do: call-upstream, upstream: users, timeout-ms: 50 }
    services: { users: silent }
    request: {}
    expect: { response: { status: 599, body: call timed out }, services: { users: 1 } }
  - name: it refuses connections
    services: { users: unreachable }
    request: {}
    expect: { response: { status: 599, contains: upstream unreachable }, services: { users: 0 } }
  - name: it closes the connection
    services: { users: closed }
    request: {}
    expect: { response: { status: 599, contains: upstream unreachable } }
  - name: there is none of this name
    services: { users: unknown }
    request: {}
    expect: { response: { status: 599, body: 'call denied: users' } }
  - name: it fails and recovers
    steps:
      - { request: {}, services: { users: 500 }, expect: { response: { status: 500 } } }
      - { request: {}, services: { users: 200 }, expect: { response: { status: 200 } } }
  - name: the service behind the route fails
    config: { do: count }
    request: {}
    service: unreachable
    expect: { response: { status: 502 } }
",
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_case_says_what_each_service_receives_and_how_often() {
    let cases = "component: ../services.wasm
store: [visits]
services: { users: {}, canary: {}, echo: {} }
cases:
  - name: all of it
    request: { method: POST, path: /journey, headers: { x-user: canary }, body: hello }
    services: { users: { body: canary } }
    expect:
      answered: true
      services:
        users: { method: GET, path: /canary, headers: { x-user: null, user-agent: null }, size: 0 }
        canary: [{ method: POST, path: /journey, headers: { x-visits: 1 }, body: 'hello, visit 1' }]
        echo: 0
";
    let folder = project(cases);
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);

    let wrong = cases
        .replace("method: GET, path: /canary", "method: PUT, path: /stable")
        .replace("x-visits: 1", "x-visits: 2")
        .replace("'hello, visit 1'", "{ repeat: a, size: 3 }")
        .replace("size: 0", "size: 1")
        .replace("echo: 0", "echo: 2");
    fs::write(folder.path().join("tests/cases.yaml"), wrong).expect("a file");
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    for miss in [
        "services.users.method: expected \"PUT\", was \"GET\"",
        "services.users.path: expected \"/stable\", was \"/canary\"",
        "services.users.size: expected 1 bytes, was 0",
        "services.canary[0].headers.x-visits: expected \"2\", was \"1\"",
        "services.canary[0].body: expected \"aaa\", was \"hello, visit 1\"",
        "services.echo: expected 2 requests, was 0",
    ] {
        assert!(ended.stdout.contains(miss), "{miss} is not in\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn bodies_and_header_values_of_a_case_can_be_any_bytes_of_any_size() {
    passes(
        "component: ../waiter.wasm
cases:
  - name: bytes that are not UTF-8
    config: { do: read-request }
    request: { method: POST, body: { hex: 'ff 00 fe' }, headers: { x-in: { hex: '636166e9' }, x-twice: [a, { base64: /w== }] } }
    service: { body: { base64: /wD+ }, headers: { x-back: { hex: 'e9' } } }
    expect:
      request: { body: { base64: /wD+ }, headers: { x-length: 3, x-in: { hex: '636166e9' }, x-twice: [a, { hex: 'ff' }] } }
      response: { body: { hex: 'ff00fe' }, headers: { x-back: { hex: 'e9' } } }
  - name: a large body
    config: { do: read-request }
    request: { method: POST, body: { repeat: '0123456789', size: 1MiB } }
    service: { body: { repeat: ab, size: 3000001 } }
    expect:
      request: { size: 1MiB, body: { repeat: '0123456789', size: 1048576 }, headers: { x-length: 1048576 } }
      response: { size: 3000001 }
",
        &[],
    )
    .await;
    let folder = project("cases: [{ name: a, request: { body: { base64: '?' } } }]\n");
    let ended = test(folder.path(), &["--component", "waiter.wasm"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(ended.stderr.contains("`?` is not base64"), "{}", ended.stderr);
}

/// A guest that fails says why in the log, which is not mixed with that of other cases.
#[tokio::test]
async fn the_log_of_a_case_is_shown_when_the_case_fails_and_only_then() {
    let folder = project(
        "component: ../services.wasm
store: [visits]
services: { users: {}, canary: {}, echo: {} }
cases:
  - name: one that passes although the plugin fails
    services: { users: 'unreachable' }
    request: { path: /journey, headers: { x-user: first } }
    expect: { response: { status: 500 } }
  - name: one that does not
    services: { users: { body: ghost } }
    request: { path: /journey, headers: { x-user: second } }
    expect: { response: { status: 200 } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    let logged: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("        log: ")).collect();
    assert!(logged.iter().any(|line| line.contains("no upstream `ghost`")), "{}", ended.stdout);
    assert!(!logged.iter().any(|line| line.contains("unreachable")), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
    let shown = test(folder.path(), &["--log-level", "warn"]).await;
    assert!(shown.stderr.contains("unreachable") && shown.stderr.contains("ghost"), "{}", shown.stderr);
}

#[tokio::test]
async fn buckets_of_a_case_are_in_redis_and_nothing_is_left_there() {
    let redis = Redis::start().await;
    let cases = "component: ../services.wasm
store: [visits]
services: { users: { body: canary }, canary: {}, echo: {} }
cases:
  - name: it counts
    steps:
      - { request: { path: /journey, headers: { x-user: a } }, expect: { services: { canary: { headers: { x-visits: 1 } } } } }
      - { request: { path: /journey, headers: { x-user: a } }, expect: { services: { canary: { headers: { x-visits: 2 } } } } }
  - name: it begins anew
    request: { path: /journey, headers: { x-user: a } }
    expect: { services: { canary: { headers: { x-visits: 1 } } } }
  - name: it is slow
    store: { delay: 50ms }
    request: { path: /journey, headers: { x-user: a } }
    expect: { services: { canary: { headers: { x-visits: 1 } } } }
  - name: it cannot be reached
    store: unavailable
    request: { path: /journey, headers: { x-user: a } }
    expect: { answered: true, response: { status: 500 }, services: { users: 0 } }
";
    passes(cases, &["--redis", &format!("{}/3", redis.url())]).await;
    let keys = r#"eval "redis.call('select', 3) return redis.call('dbsize')" 0"#;
    assert_eq!(redis.ask(keys).await, ":0", "what a case leaves is removed");
    let counted = r#"eval "return string.find(redis.call('info', 'commandstats'), 'incrby') and 1 or 0" 0"#;
    assert_eq!(redis.ask(counted).await, ":1", "it was there");

    // Only one that is slow needs a Redis.
    let folder = project(cases);
    let ended = test(folder.path(), &["--only", "it cannot"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let ended = test(folder.path(), &["--only", "it is slow"]).await;
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("only a store in Redis can be slow"), "{}", ended.stderr);
    let ended = test(folder.path(), &["--redis", "redis://127.0.0.1:1", "--only", "it counts"]).await;
    assert!(ended.code != 0 && ended.stderr.contains("has not connected to Redis"), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn a_client_of_a_case_disconnects_while_a_service_is_asked() {
    passes(
        "component: ../services.wasm
store: [visits]
services: { users: { body: canary }, canary: {}, echo: {} }
cases:
  - name: the plugin does not go on
    steps:
      - request: { path: /journey, headers: { x-user: a }, disconnect-at: users }
        services: { users: silent }
        expect: { services: { users: 1, canary: 0 } }
      - request: { path: /journey, headers: { x-user: a } }
        services: { users: { body: canary } }
        expect: { services: { canary: { headers: { x-visits: 2 } } } }
",
        &[],
    )
    .await;
    let folder = project(
        "component: ../services.wasm
store: [visits]
services: { users: { body: canary }, canary: {}, echo: {} }
cases:
  - { name: a, request: { path: /journey, disconnect-at: ghost } }
  - { name: b, request: { disconnect-at: users } }
",
    );
    let ended = test(folder.path(), &[]).await;
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    for miss in ["there is no service `ghost`", "there was a response before `users` was asked"] {
        assert!(ended.stdout.contains(miss), "{miss} is not in\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn faults_that_are_not_understood_are_errors_that_say_what_is_possible() {
    for (cases, said) in [
        ("cases: [{ name: a, request: {}, services: { users: broken } }]\n", "`unknown`, `unreachable`, `closed`"),
        ("cases: [{ name: a, request: {}, services: { users: 99 } }]\n", "a status from 200 to 599, found 99"),
        ("cases: [{ name: a, request: {}, store: gone }]\n", "expected `unavailable` or `{ delay: 200ms }`"),
        ("cases: [{ name: a, request: {}, service: unknown }]\n", "the service behind the route cannot be `unknown`"),
        (
            "cases: [{ name: a, steps: [{ request: {} }, { request: {}, services: { users: unreachable } }] }]\n",
            "`unreachable` applies to a whole case",
        ),
    ] {
        let folder = project(cases);
        let ended = test(folder.path(), &["--component", "waiter.wasm"]).await;
        assert_eq!(ended.code, 3, "{cases}\n{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(said), "{said} is not in\n{}", ended.stderr);
    }
}
