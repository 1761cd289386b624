//! The SDK for JavaScript and TypeScript.

use std::path::Path;

use super::{
    ROOT,
    account::counts_calls_chooses_and_changes,
    checks::{
        CONFIG, a_body_of_a_mebibyte_is_read_and_replaced, bodies_are_refused_when_too_large_and_keep_their_trailers,
        bodies_of_many_mebibytes_pass_as_bytes, bytes_that_are_no_text_do_no_harm, failures_have_their_position,
        random_numbers_are_never_the_same,
    },
    sdk_does_what_it_offers,
};
use crate::support::process::run_long;

#[tokio::test]
async fn the_sdk_of_typescript_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("typescript").await;
    copied.passes(&component, "tests/languages/interface.yaml").await;
    copied.passes(&component, "tests/languages/values.yaml").await;

    // What is written to the console is in the log.
    let (component, cases) = (component.to_str().expect("UTF-8"), format!("{ROOT}/tests/languages/cases.yaml"));
    let arguments = ["plugin", "test", &cases, "--component", component, "--only", "log line", "--log-level", "info"];
    let tested = run_long(copied.folder.path(), arguments).await;
    assert!(tested.stderr.contains(r#"WARN gateway::plugin::guest: said {"a":[1]} true"#), "{}", tested.stderr);

    let (folder, component) = (copied.folder.path(), Path::new(component));
    bytes_that_are_no_text_do_no_harm(folder, component).await;
    bodies_are_refused_when_too_large_and_keep_their_trailers(folder, component).await;
    random_numbers_are_never_the_same(folder, component).await;
    a_body_of_a_mebibyte_is_read_and_replaced(folder, component).await;
    bodies_of_many_mebibytes_pass_as_bytes(folder, component).await;
    let thrown = ["Error: as it was told", "at /fail (build/errand.js:", "onRequest (build/errand.js:"];
    failures_have_their_position(folder, component, &thrown.map(str::to_owned)).await;
    counts_calls_chooses_and_changes(component, "errand", CONFIG).await;
}
