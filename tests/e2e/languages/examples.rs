//! The examples and new projects of each language.

use tempfile::TempDir;

use super::Copied;
use crate::support::process::{run, run_long};

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
