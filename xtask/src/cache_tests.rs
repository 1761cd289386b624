//! `cargo xtask cache-tests`: the suite of http-tests/cache-tests (npm `http-cache-tests`) against nginx and the gateway in
//! one run, and its results as docs/cache-tests.md.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use component_build::PREBUILT;

use crate::{
    bench::server::{Server, free_port},
    components,
    shell::{self, cargo, find, root, target_dir},
};

/// The suite, and what it asks for beside itself.
const PACKAGES: [&str; 3] = ["http-cache-tests@0.4.5", "node-fetch@2", "liquidjs@9"];
const DOCUMENT: &str = "docs/cache-tests.md";

/// One test of the suite and what came of it.
struct TestOutcome {
    suite: String,
    id: String,
    name: String,
    kind: String,
    outcome: String,
}

pub fn run() -> Result<()> {
    for (tool, package) in [("node", "nodejs"), ("npm", "npm"), ("nginx", "nginx-light")] {
        ensure!(find(tool).is_some(), "{tool} is missing: install it, such as with `apt-get install {package}`");
    }
    let plugins = components::standard()?;
    shell::run(cargo().args(["build", "--package", "gateway", "--bin", "gateway"]))?;
    let gateway = target_dir()?.join("debug/gateway");
    let scratch = target_dir()?.join("cache-tests");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let suite = install(&scratch)?;

    let origin = {
        let port = free_port()?;
        let mut node = Command::new("node");
        node.arg(file("serve.mjs")).arg(&suite).arg(port.to_string());
        Server::start("the origin", node, port, &scratch.join("origin.log"))?
    };
    let nginx = {
        let (port, config) = configured("nginx.conf", &scratch, origin.port)?;
        let mut nginx = Command::new(find("nginx").context("nginx is missing")?);
        nginx.arg("-c").arg(config).arg("-p").arg(&scratch);
        Server::start("nginx", nginx, port, &scratch.join("nginx.log"))?
    };
    let own = {
        let (port, config) = configured("gateway.yaml", &scratch, origin.port)?;
        let mut own = Command::new(&gateway);
        own.arg("run").arg("--config").arg(config).env(PREBUILT, plugins.folder());
        Server::start("the gateway", own, port, &scratch.join("gateway.log"))?
    };
    println!("asking nginx");
    let theirs = ask(&suite, nginx.port)?;
    println!("asking the gateway");
    let ours = ask(&suite, own.port)?;
    let version = shell::output(Command::new("sh").args(["-c", "nginx -v 2>&1 || /usr/sbin/nginx -v 2>&1"]))?;
    let document = document(&theirs, &ours, version.trim().trim_start_matches("nginx version: "));
    println!("\n{}", document.lines().skip_while(|line| !line.starts_with('|')).take(5).collect::<Vec<_>>().join("\n"));
    fs::write(root().join(DOCUMENT), document).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("\nwritten to {DOCUMENT}");
    Ok(())
}

fn install(scratch: &Path) -> Result<PathBuf> {
    let suite = scratch.join("node_modules/http-cache-tests");
    if !suite.is_dir() {
        println!("installing {}", PACKAGES[0]);
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", "--prefix"]).arg(scratch);
        shell::run(npm.args(PACKAGES))?;
    }
    Ok(suite)
}

fn file(name: &str) -> PathBuf {
    root().join("benches/cache-tests").join(name)
}

/// A port, and a configuration filled in with it.
fn configured(name: &str, scratch: &Path, origin: u16) -> Result<(u16, PathBuf)> {
    let port = free_port()?;
    let folder = scratch.to_str().context("the target folder's name is not UTF-8")?;
    let text = fs::read_to_string(file(name)).with_context(|| format!("cannot read {name}"))?;
    let text = text.replace("@PORT@", &port.to_string()).replace("@ORIGIN@", &origin.to_string());
    let config = scratch.join(name);
    fs::write(&config, text.replace("@RUN@", folder)).with_context(|| format!("cannot write {}", config.display()))?;
    Ok((port, config))
}

fn ask(suite: &Path, port: u16) -> Result<Vec<TestOutcome>> {
    let mut node = Command::new("node");
    node.arg("--no-warnings").arg(file("run.mjs")).arg(suite).arg(format!("http://127.0.0.1:{port}"));
    let results: serde_json::Value = serde_json::from_str(&shell::output(&mut node)?).context("no results")?;
    let results = results.as_array().context("results are a list")?;
    let text = |test: &serde_json::Value, member: &str| test[member].as_str().unwrap_or_default().to_owned();
    let outcome = |test| TestOutcome {
        suite: text(test, "suite"),
        id: text(test, "id"),
        name: text(test, "name"),
        kind: text(test, "kind"),
        outcome: text(test, "outcome"),
    };
    Ok(results.iter().map(outcome).collect())
}

fn document(theirs: &[TestOutcome], ours: &[TestOutcome], nginx: &str) -> String {
    let mut out = format!(
        "# Results of the cache tests

Results of the test suite of <https://cache-tests.fyi> ({}) for the
plugin `cache`, and in the same run for {nginx} with the configuration that the suite has for it.

```sh
cargo xtask cache-tests        # runs the suite and writes this page
```

*Required* tests check what RFC 9111 demands, *optimal* ones what a good cache would do. Tests of the
kind *check* only observe a behaviour that the RFC leaves open; they are not counted.

| | tests | nginx passes | the gateway passes |
|---|---:|---:|---:|
",
        PACKAGES[0]
    );
    for kind in ["required", "optimal"] {
        let of = |all: &[TestOutcome], passed: bool| {
            let counted = all.iter().filter(|test| test.kind == kind && test.outcome != "untested");
            counted.filter(|test| !passed || test.outcome == "pass").count()
        };
        let _ = writeln!(out, "| {kind} | {} | {} | {} |", of(ours, false), of(theirs, true), of(ours, true));
    }
    out.push_str("\n## What the gateway does not pass\n\n| test | kind | nginx | why |\n|---|---|---|---|\n");
    let theirs: BTreeMap<_, _> = theirs.iter().map(|test| (&test.id, &test.outcome)).collect();
    for test in ours.iter().filter(|test| test.kind != "check" && matches!(&*test.outcome, "fail" | "setup")) {
        let nginx = theirs.get(&test.id).map_or("", |outcome| if *outcome == "pass" { "passes" } else { "does not" });
        let _ = writeln!(
            out,
            "| {}: {} (`{}`) | {} | {nginx} | {} |",
            test.suite,
            test.name,
            test.id,
            test.kind,
            why(&test.id)
        );
    }
    out
}

/// Why a test is not passed, as far as it is meant.
fn why(id: &str) -> &'static str {
    match id {
        id if id.starts_with("age-parse") => "of several values the first counts (RFC 9111 §5.1)",
        id if id.starts_with("stale-close") => {
            "the gateway answers 502, in which the suite misses the number of its server's answer"
        }
        id if id.contains("Set-Cookie") || id == "other-set-cookie" => {
            "a response with `Set-Cookie` belongs to one client and is not cached"
        }
        id if id.contains("Transfer-Encoding") => "a transfer coding other than `chunked` is refused",
        id if id.starts_with("partial-store-partial") => "partial responses are not cached",
        id if id.starts_with("vary-normalise-lang") => "languages are compared as they are written",
        "conditional-lm-fresh-no-lm" => {
            "without `Last-Modified`, only a copy that is as new as the response is known to be the same"
        }
        "method-POST" => "responses to POST are not cached",
        _ => "",
    }
}
