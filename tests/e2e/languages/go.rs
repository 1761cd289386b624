//! The SDK for Go.

use super::{
    ROOT,
    checks::{
        bodies_are_refused_when_too_large_and_keep_their_trailers, bodies_of_many_mebibytes_pass_as_bytes,
        bytes_that_are_no_text_do_no_harm, random_numbers_are_never_the_same,
    },
    sdk_does_what_it_offers,
};
use crate::support::process::run_long;

/// Its collector runs many times in so many calls, also while the gateway hands something over.
#[tokio::test]
async fn the_sdk_of_go_does_what_it_offers_as_long_as_one_calls_it() {
    let (copied, component) = sdk_does_what_it_offers("go").await;
    bytes_that_are_no_text_do_no_harm(copied.folder.path(), &component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(copied.folder.path(), &component).await;
    bodies_of_many_mebibytes_pass_as_bytes(copied.folder.path(), &component).await;
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
