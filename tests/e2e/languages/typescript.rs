//! The SDK for JavaScript and TypeScript.

use std::path::Path;

use super::{
    ROOT,
    checks::{
        a_body_of_a_mebibyte_is_read_and_replaced, bodies_are_refused_when_too_large_and_keep_their_trailers,
        bytes_that_are_no_text_do_no_harm, random_numbers_are_never_the_same,
    },
    sdk_does_what_it_offers,
};
use crate::support::process::run_long;

#[tokio::test]
async fn the_sdk_of_typescript_does_what_it_offers() {
    let (copied, component) = sdk_does_what_it_offers("typescript").await;

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
}
