//! `cargo xtask test`: everything that must hold before a change is merged.

use std::{io, process::Stdio, time::Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    components, dashboard,
    failures::Failures,
    shell::{self, cargo, find},
    tidy,
    toolchain::ensure_wasm_target,
};

pub fn run() -> Result<()> {
    // Said now, and not by a test after minutes.
    for (command, cure) in [
        ("redis-server", "apt-get install redis-server"),
        ("chromium", "apt-get install chromium"),
        ("thrift", "apt-get install thrift-compiler python3-thrift"),
        ("rotel-agent", "pip install rotel==0.0.1a15"),
        ("st", "pip install schemathesis==4.32.5"),
        ("node", "apt-get install nodejs"),
    ] {
        ensure!(find(command).is_some(), "{command} is missing, which tests start: install it, such as with `{cure}`");
    }
    ensure_wasm_target()?;
    let mut steps = Steps::default();
    steps.step("formatting", || shell::run(cargo().args(["fmt", "--all", "--check"])));
    steps.step("tidiness", tidy::run);
    steps.step("clippy", || {
        components::without_building(|| {
            shell::run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
        })
    });
    steps.step("dashboard", || dashboard::install().and_then(|()| dashboard::check()));
    // The first test that needs them would build them too, and the others would wait.
    steps.step("components", components::for_tests);
    let mut failures = Failures::default();
    steps.step("tests", || tests(&mut failures));
    if find("cargo-deny").is_some() {
        steps.step("licences", || shell::run(cargo().args(["deny", "check", "bans", "licenses", "sources"])));
    } else {
        steps.skip("licences", "cargo-deny is not installed: cargo install cargo-deny");
    }
    steps.finish(&failures.lines())
}

/// All tests; those that fail are kept for the end.
fn tests(failures: &mut Failures) -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    let mut running = tests.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = running.stdout.take().context("cargo has no output")?;
    let followed = failures.follow(output, io::stdout());
    let status = running.wait().context("cannot wait for cargo")?;
    followed.context("cannot read the output of the tests")?;
    ensure!(status.success(), "cargo test ended with {status}");
    Ok(())
}

/// Known vulnerabilities of dependencies, and versions that were withdrawn. Not part of `test`: what is published tomorrow is no
/// fault of a change of today, and the database is a Git repository, which not every network lets through.
pub fn advisories() -> Result<()> {
    ensure!(find("cargo-deny").is_some(), "cargo-deny is not installed: cargo install cargo-deny");
    shell::run(cargo().args(["deny", "check", "advisories"]))
}

/// The tests that draw their values by lot, with new ones for so long.
pub fn fuzz(seconds: &str) -> Result<()> {
    ensure!(
        seconds.parse::<u32>().is_ok(),
        "cannot understand {seconds}; expected how many seconds each test may take"
    );
    let mut tests = cargo();
    tests.env("FUZZ_SECONDS", seconds).args(["test", "--release", "--locked", "--package", "plugin-grpc-json"]);
    tests.args(["--package", "plugin-thrift-json", "--", "panic", "by_lot", "both_ways"]);
    shell::run(&mut tests)?;
    let mut tests = cargo();
    tests.env("FUZZ_SECONDS", seconds);
    shell::run(tests.args(["test", "--locked", "--workspace", "--test", "e2e", "--", "rules::"]))
}

/// Steps run to the last one, so that one run shows every problem.
#[derive(Default)]
struct Steps {
    lines: Vec<String>,
    failed: usize,
}

impl Steps {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        println!("== {name}");
        let began = Instant::now();
        let result = work();
        let seconds = began.elapsed().as_secs_f64();
        match result {
            Ok(()) => self.lines.push(format!("ok       {name} ({seconds:.1} s)")),
            Err(error) => {
                eprintln!("{error:#}");
                self.failed += 1;
                self.lines.push(format!("FAILED   {name} ({seconds:.1} s): {error:#}"));
            }
        }
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.lines.push(format!("skipped  {name}: {why}"));
    }

    /// The summary, then which tests failed: the end of a log is what is read first.
    fn finish(self, failed_tests: &[String]) -> Result<()> {
        println!("\n{}", self.lines.join("\n"));
        if !failed_tests.is_empty() {
            println!("\nfailed tests:\n{}", failed_tests.join("\n"));
        }
        if self.failed > 0 {
            bail!("{} of the steps failed", self.failed);
        }
        Ok(())
    }
}
