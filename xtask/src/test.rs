//! `cargo xtask test`: everything that must hold before a change is merged.

use std::{io, process::Stdio, time::Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    components, dashboard,
    failures::Failures,
    setup,
    shell::{self, cargo, find},
    tidy,
    toolchain::ensure_wasm_target,
};

/// Which tests are run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Those of less than three minutes, once everything is built: unit tests, and a request through each kind of thing.
    Fast,
}

/// The end-to-end tests of `Scope::Fast`, by parts of their names.
const FAST: [&str; 6] = ["basics::", "routing::", "paths::", "examples::", "checked::", "cli::"];

pub fn run(scope: Scope) -> Result<()> {
    let expected = match scope {
        Scope::All => "about 30 minutes from nothing and 12 after a build, on two cores",
        Scope::Fast => "less than 3 minutes after a build, on two cores; the build takes about 15",
    };
    println!("expected duration: {expected}");
    setup::tools()?;
    ensure_wasm_target()?;
    let mut steps = Steps::default();
    steps.step("formatting", || shell::run(cargo().args(["fmt", "--all", "--check"])));
    steps.step("tidiness", tidy::run);
    if scope == Scope::All {
        steps.step("clippy", clippy);
    }
    steps.step("dashboard", || dashboard::install().and_then(|()| dashboard::check()));
    // The first test that needs them would build them too, and the others would wait.
    steps.step("components", components::for_tests);
    let mut failures = Failures::default();
    match scope {
        Scope::All => {
            steps.step("tests", || tests(&["test", "--workspace", "--locked", "--no-fail-fast"], &mut failures));
            steps.step("licences", || shell::run(cargo().args(["deny", "check", "bans", "licenses", "sources"])));
        }
        Scope::Fast => {
            steps.step("unit tests", || {
                tests(&["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins"], &mut failures)
            });
            let mut some = vec!["test", "--workspace", "--locked", "--test", "e2e", "--"];
            some.extend(FAST);
            steps.step("some end-to-end tests", || tests(&some, &mut failures));
        }
    }
    steps.finish(&failures.lines())
}

fn clippy() -> Result<()> {
    components::without_building(|| {
        shell::run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    })
}

/// Tests, as cargo is asked for them; those that fail are kept for the end.
fn tests(args: &[&str], failures: &mut Failures) -> Result<()> {
    let mut tests = cargo();
    tests.args(args);
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
