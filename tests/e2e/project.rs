//! A stranger's path: `gateway plugin new`, `build`, `test`, and the plugin in a gateway.

use std::fs;

use tempfile::TempDir;

use crate::support::{
    Client, Process, Upstream,
    client::Request,
    process::{Ended, run, run_long},
};

#[tokio::test]
async fn from_nothing_to_a_plugin_that_answers_in_the_gateway() {
    let folder = TempDir::new().expect("a folder");
    let written = run(folder.path(), ["plugin", "new", "my-greeter"]).await;
    assert_eq!(written.code, 0, "{}", written.stderr);
    assert!(
        written.stdout.contains("cd my-greeter\n  gateway plugin build\n  gateway plugin test"),
        "{}",
        written.stdout
    );
    let project = folder.path().join("my-greeter");

    // Compiles some forty crates.
    let built = run_long(&project, ["plugin", "build"]).await;
    assert_eq!(built.code, 0, "{}{}", built.stdout, built.stderr);
    assert!(built.stderr.contains("$ cargo build --release --target wasm32-wasip2"), "{}", built.stderr);
    assert!(
        built.stdout.contains("my-greeter 0.1.0") && built.stdout.contains("phases: request, response"),
        "{}",
        built.stdout
    );

    let tested = run(&project, ["plugin", "test"]).await;
    assert!(tested.stdout.ends_with("2 of 2 cases are as expected"), "{}{}", tested.stdout, tested.stderr);

    let upstream = Upstream::echo().await;
    let yaml = fs::read_to_string(project.join("gateway.yaml")).expect("a file");
    let yaml = yaml.replace("127.0.0.1:9001", &upstream.address().to_string()).replace("127.0.0.1:8080", "127.0.0.1:0");
    fs::write(project.join("gateway.yaml"), yaml).expect("a file");
    let mut gateway = Process::start(&project, ["run", "-c", "gateway.yaml"]);
    let address = gateway.addresses().await[0];
    let response = Client::connect(address).await.send(Request::get("/").header("x-name", "anna")).await;
    assert_eq!(response.header("x-greeted-by"), "my-greeter");
    assert_eq!(response.upstream_saw("x-greeting"), ["good morning anna"]);
}

#[tokio::test]
async fn what_cannot_be_is_said_before_anything_is_written() {
    let folder = TempDir::new().expect("a folder");
    let new = async |name: &str| -> Ended { run(folder.path(), ["plugin", "new", name]).await };
    for name in ["Greeter", "../greeter", "1st", "a_b"] {
        let ended = new(name).await;
        assert_eq!(ended.code, 2, "{name}");
        assert!(ended.stderr.contains("lower-case letters, digits and dashes"), "{}", ended.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert_eq!(new("greeter").await.code, 0);
    let again = new("greeter").await;
    assert_eq!((again.code, again.stderr.contains("greeter: is there already")), (2, true), "{}", again.stderr);
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_command_that_installs_it() {
    let folder = TempDir::new().expect("a folder");
    assert_eq!(run(folder.path(), ["plugin", "new", "greeter"]).await.code, 0);
    let project = folder.path().join("greeter");
    let built = Process::start_with(&project, ["plugin", "build"], &[("PATH", "/nowhere")]).ended().await;
    assert_eq!(built.code, 3, "{}", built.stderr);
    assert!(built.stderr.contains("`cargo` is missing: install it with\n  curl"), "{}", built.stderr);

    let manifest = project.join("plugin.yaml");
    let text = fs::read_to_string(&manifest).expect("a file");
    for (from, to, said) in [
        ("rust-target: wasm32-wasip2", "rust-target: wasm33-none", "rustup target add wasm33-none"),
        (
            "run: [cargo, build,",
            "run: [\"true\", build,",
            "the build has made no ./target/wasm32-wasip2/release/greeter.wasm",
        ),
        ("run: [cargo, build,", "run: [\"false\", build,", "ended with exit status: 1"),
        ("component:", "componnt:", "unknown field `componnt`"),
    ] {
        fs::write(&manifest, text.replace(from, to)).expect("a file");
        let built = run(&project, ["plugin", "build"]).await;
        assert_eq!(built.code, 3, "{}", built.stderr);
        assert!(built.stderr.contains(said), "{said} is not in\n{}", built.stderr);
    }
    let nothing = run(folder.path(), ["plugin", "build"]).await;
    assert!(nothing.code == 3 && nothing.stderr.contains("plugin.yaml"), "{}", nothing.stderr);
}
