//! The SDK for C.

use std::fs;

use tempfile::TempDir;

use super::{
    checks::{
        bodies_are_refused_when_too_large_and_keep_their_trailers, bodies_of_many_mebibytes_pass_as_bytes,
        bytes_that_are_no_text_do_no_harm,
    },
    sdk_does_what_it_offers,
};
use crate::support::{
    Client,
    client::Request,
    eventually, free_address,
    process::{Process, run, run_long},
};

#[tokio::test]
async fn the_sdk_of_c_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("c").await;
    bytes_that_are_no_text_do_no_harm(copied.folder.path(), &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(copied.folder.path(), &component).await;
    bodies_of_many_mebibytes_pass_as_bytes(copied.folder.path(), &component).await;
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

    // With a mistake in the source, the last component keeps serving.
    fs::write(&source, text.replace("return error ?", "retrun error ?")).expect("a file");
    dev.logged("ended with exit status: 1").await;
    assert!(dev.log().contains("undeclared identifier 'retrun'"), "{}", dev.log());
    assert_eq!(greeting().await, "good morning, dear anna");

    // A mistake in the configuration is reported, and the corrected one is loaded.
    let yaml = fs::read_to_string(project.join("gateway.yaml")).expect("a file");
    fs::write(&source, &text).expect("a file");
    fs::write(project.join("gateway.yaml"), yaml.replace("greeting: good morning", "greeting: \"\"")).expect("a file");
    dev.logged("is empty").await;
    fs::write(project.join("gateway.yaml"), yaml.replace("greeting: good morning", "greeting: hi")).expect("a file");
    eventually("the new greeting", async || greeting().await == "hi anna").await;
}
