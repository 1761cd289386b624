//! The dashboard in a real browser: dashboard/tests has what is looked at (Node.js, Playwright, Debian's Chromium).

use std::process::Stdio;

use tokio::process::Command;

use crate::support::process::standard_plugins;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboard");

#[tokio::test]
async fn the_dashboard_works_in_a_real_browser() {
    let tests = Command::new("node")
        .args(["--test", "--test-reporter=spec", "tests/"])
        .current_dir(FOLDER)
        .env("GATEWAY", env!("CARGO_BIN_EXE_gateway"))
        .envs(standard_plugins())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("Node.js 20 or later, and `npm ci` in dashboard/, which `cargo xtask test` does");
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{said}\n{}", String::from_utf8_lossy(&tests.stderr));
}
