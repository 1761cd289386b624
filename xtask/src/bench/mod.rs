//! `cargo xtask bench`: what a request costs, beside nginx and HAProxy, on this machine, in the same minutes.
//!
//! The figure that counts is CPU time of the proxy's processes per request: throughput and latency say as much
//! about the load generator and the neighbours. The proxy has CPU 0; the upstream and the load generator share
//! CPU 1. The proxies take turns (A B A B), so that what disturbs one disturbs the others.

mod envoy;
mod facts;
mod load;
mod peers;
mod report;
mod scenarios;
pub mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use self::{
    envoy::Envoy,
    load::Load,
    peers::Bench,
    report::{Group, Round, Row},
    scenarios::{GRPC_JSON, SCENARIOS, Scenario},
    server::Server,
};
use crate::{
    shell::{self, cargo, find, target_dir},
    toolchain::ensure_wasm_target,
};

const PROXY_CPU: &str = "0";
const LOAD_CPU: &str = "1";
/// What `--only` calls all that is not a scenario.
const FACTS: &str = "facts";

struct Options {
    rounds: usize,
    seconds: u32,
    haproxy: bool,
    envoy: bool,
    scenarios: Vec<&'static Scenario>,
    facts: bool,
    /// A gateway that is built already.
    binary: Option<PathBuf>,
    json: Option<PathBuf>,
}

pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    ensure_tools()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cpus >= 2, "two CPUs are needed, one for the proxy and one for the load; this machine offers {cpus}");
    let target = target_dir()?;
    let gateway = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            ensure_wasm_target()?;
            println!("building the gateway");
            shell::run(cargo().args(["build", "--release", "--package", "gateway", "--bin", "gateway"]))?;
            target.join("release/gateway")
        }
    };
    let bench = Bench::new(target.join("bench"), gateway)?;
    let envoy = options.envoy.then(|| Envoy::install(&target.join("bench"))).transpose()?;
    let upstream = bench.upstream()?;
    let mut groups = Vec::new();
    let mut failed = Ok(());
    for scenario in &options.scenarios {
        match measure(scenario, &bench, envoy.as_ref(), upstream.port, &options) {
            Ok(group) => groups.push(group),
            // What has been measured is worth seeing all the same.
            Err(error) => {
                failed = Err(error.context(format!("cannot measure {}", scenario.key)));
                break;
            }
        }
    }
    println!("\n{}", report::markdown(&groups));
    if options.facts && failed.is_ok() {
        let facts = facts::measure(&bench, upstream.port, options.seconds)?;
        println!("{}", facts::markdown(&facts));
    }
    if let Some(file) = &options.json {
        fs::write(file, report::json(&groups)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    failed
}

/// Has a gateway that is watched do what is measured, for a short time. The figures mean nothing.
pub fn train(gateway: &Path, scenarios: &str) -> Result<()> {
    let gateway = gateway.to_str().context("the target folder's name is not UTF-8")?;
    run(&["--quick", "--only", scenarios, "--binary", gateway].map(str::to_owned))
}

fn parse(args: &[String]) -> Result<Options> {
    let scenarios = SCENARIOS.iter().collect();
    let mut options = Options {
        rounds: 5,
        seconds: 5,
        haproxy: true,
        envoy: false,
        scenarios,
        facts: true,
        binary: None,
        json: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (options.rounds, options.seconds, options.haproxy) = (3, 1, false),
            "--envoy" => options.envoy = true,
            "--binary" => options.binary = Some(args.next().context("--binary needs a file")?.into()),
            "--json" => options.json = Some(args.next().context("--json needs a file")?.into()),
            "--only" => {
                let keys = args.next().context("--only needs the names of scenarios")?;
                (options.scenarios, options.facts) = named(keys)?;
            }
            other => {
                bail!(
                    "cannot understand {other}; expected --quick, --envoy, --only SCENARIO,…, --binary FILE or --json FILE"
                )
            }
        }
    }
    Ok(options)
}

/// `plain,tls,facts`: those scenarios, in the order of the table, and whether the other facts are wanted.
fn named(keys: &str) -> Result<(Vec<&'static Scenario>, bool)> {
    let keys: Vec<_> = keys.split(',').collect();
    let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.key).chain([FACTS]).collect();
    if let Some(key) = keys.iter().find(|key| !known.contains(key)) {
        bail!("there is no scenario {key:?}; there are {}", known.join(", "));
    }
    let scenarios = SCENARIOS.iter().filter(|scenario| keys.contains(&scenario.key)).collect();
    Ok((scenarios, keys.contains(&FACTS)))
}

/// The proxies in turn; the first turn warms them up and does not count.
fn measure(
    scenario: &'static Scenario,
    bench: &Bench,
    envoy: Option<&Envoy>,
    upstream: u16,
    options: &Options,
) -> Result<Group> {
    let service = if scenario.key == GRPC_JSON { bench.grpc_port } else { upstream };
    let mut proxies = vec![("nginx (plain)", bench.nginx(scenario, upstream)?)];
    if options.haproxy {
        proxies.push(("HAProxy (plain)", bench.haproxy(scenario, upstream)?));
    }
    if let Some(envoy) = envoy.filter(|_| Envoy::has(scenario)) {
        let name = if scenario.config == "one-plugin.yaml" { "Envoy (Wasm)" } else { "Envoy" };
        proxies.push((name, envoy.start(scenario, service, &bench.files)?));
    }
    let gateway = bench.gateway(scenario, service)?;
    if scenario.header.is_some() {
        gateway.check_without_header(scenario)?;
    }
    proxies.push(("gateway", gateway));
    for (_, proxy) in &proxies {
        proxy.check(scenario)?;
    }
    let mut rounds: Vec<Vec<Round>> = proxies.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for ((_, proxy), rounds) in proxies.iter().zip(&mut rounds) {
            let seconds = if round == 0 { 1 } else { options.seconds };
            let measured = turn(proxy, &Load { scenario, seconds, openssl: &bench.openssl })?;
            if round > 0 {
                rounds.push(measured);
            }
        }
        eprint!("\r{}: {round} of {} rounds", scenario.name, options.rounds);
    }
    eprintln!();
    let rows = proxies.iter().zip(rounds).map(|((name, _), rounds)| Row::new(name, rounds)).collect();
    Ok(Group { scenario, rows })
}

fn turn(proxy: &Server, load: &Load<'_>) -> Result<Round> {
    let before = proxy.cpu_micros()?;
    let seen = load.run(proxy.port)?;
    Ok(Round { cpu_micros: proxy.cpu_micros()? - before, load: seen })
}

/// Installs what is missing where that is possible without asking, and says how otherwise.
fn ensure_tools() -> Result<()> {
    let tools = [
        ("nginx", "nginx-light"),
        ("haproxy", "haproxy"),
        ("wrk", "wrk"),
        ("h2load", "nghttp2-client"),
        ("curl", "curl"),
        ("openssl", "openssl"),
        ("taskset", "util-linux"),
    ];
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_root = shell::output(Command::new("id").arg("-u"))?.trim() == "0";
    let apt = find("apt-get").filter(|_| is_root);
    let Some(apt) = apt else { bail!("missing: install with `apt-get install {}`", missing.join(" ")) };
    println!("installing {}", missing.join(" "));
    shell::run(Command::new(&apt).args(["update", "-q"]).stdin(Stdio::null()))?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    shell::run(Command::new(&apt).args(install).args(&missing).env("DEBIAN_FRONTEND", "noninteractive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_scenarios_are_measured() {
        let keys: Vec<_> = named("tls,plain").expect("both exist").0.iter().map(|scenario| scenario.key).collect();
        assert_eq!(keys, ["plain", "tls"]);
        let error = named("plain,quic").err().expect("there is no such scenario").to_string();
        assert!(error.starts_with("there is no scenario \"quic\"; there are plain, large, tls"), "{error}");
    }
}
