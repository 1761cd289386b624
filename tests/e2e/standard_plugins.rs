//! The standard plugins of a gateway that was built for development, which has none inside: built from their sources, which every
//! other test uses, or read from a folder.

use std::fs;

use tempfile::TempDir;

use crate::support::{
    Process,
    process::{self, Ended},
};

const CONFIG: &str = "\
listeners: [{ address: '127.0.0.1:0' }]
upstreams: { it: { endpoints: ['http://127.0.0.1:9'] } }
routes: [{ name: all, upstream: it, plugins: [PLUGINS] }]
";

/// `gateway` with a folder of prebuilt plugins, in a folder with a configuration that uses some.
async fn with_prebuilt(prebuilt: &str, plugins: &str, args: &[&str]) -> Ended {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("gateway.yaml"), CONFIG.replace("PLUGINS", plugins)).expect("a file");
    Process::start_with(folder.path(), args, &[(gateway_standard::PREBUILT, prebuilt)]).ended().await
}

#[tokio::test]
async fn a_development_build_without_its_standard_plugins_says_how_to_get_them() {
    if gateway_standard::EMBEDDED {
        return eprintln!("skipped: this build has its standard plugins inside");
    }
    let check = ["check", "-c", "gateway.yaml"];
    let ended = with_prebuilt("/nowhere", "{ name: request-id }", &check).await;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let message = ended.stderr;
    for part in ["gateway.yaml:3", "GATEWAY_STANDARD_PLUGINS", "cargo build --release", "/nowhere/request-id.wasm"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    // What it lacks matters only to a configuration that uses it.
    let ended = with_prebuilt("/nowhere", "", &check).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let unknown = with_prebuilt("/nowhere", "{ name: request-ids }", &check).await;
    assert!(unknown.stderr.contains("request-id") && !unknown.stderr.contains("/nowhere"), "{}", unknown.stderr);
}

#[tokio::test]
async fn a_development_build_takes_prebuilt_standard_plugins() {
    if gateway_standard::EMBEDDED {
        return eprintln!("skipped: this build has its standard plugins inside");
    }
    let prebuilt = TempDir::new().expect("a folder");
    fs::write(prebuilt.path().join("cors.wasm"), test_guests::hello()).expect("a file");
    let prebuilt = prebuilt.path().to_str().expect("UTF-8");
    let ended = with_prebuilt(prebuilt, "", &["plugin", "inspect", "cors", "--json"]).await;
    let facts: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    assert_eq!(facts["name"], "hello");
}

#[tokio::test]
async fn the_tests_gateways_have_their_standard_plugins_built_before_they_start() {
    let folder = TempDir::new().expect("a folder");
    let ended = process::run(folder.path(), ["plugin", "inspect", "request-id"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}
