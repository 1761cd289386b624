//! `cargo xtask bench`: what a request costs, beside nginx, on this machine, in the same minutes.
//!
//! The figure that counts is CPU time of the proxy's processes per request: throughput and latency say as much
//! about the load generator and the neighbours. The proxy has CPU 0; the upstream and the load generator share
//! CPU 1. nginx and the gateway take turns (A B A B), so that what disturbs one disturbs the other.

mod load;
mod report;
mod server;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use self::{
    load::Load,
    report::{Round, Row},
    server::{Server, free_port},
};
use crate::{
    shell::{self, cargo, find, root, target_dir},
    toolchain::ensure_wasm_target,
};

const PROXY_CPU: &str = "0";
const LOAD_CPU: &str = "1";
const BODY_BYTES: usize = 1024;

/// HS256 for the secret in `benches/five-plugins.yaml`: issuer, audience, a subject, and an end in 2100.
const TOKEN: &str = "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJiZW5jaCIsImF1ZCI6ImFwaSI\
    sInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.-OzBNezypPYwV7mv3W_yHBknJXsljevT-Ii3YN5wyf4";

struct Scenario {
    name: &'static str,
    /// The gateway's configuration, in `benches/`. nginx is a plain proxy in every row.
    config: &'static str,
    header: Option<&'static str>,
    /// What a request without the header is answered with.
    status_without: u16,
}

const SCENARIOS: [Scenario; 2] = [
    Scenario { name: "plain proxy", config: "plain.yaml", header: None, status_without: 200 },
    Scenario { name: "five plugins", config: "five-plugins.yaml", header: Some(TOKEN), status_without: 401 },
];

struct Options {
    rounds: usize,
    seconds: u32,
    json: Option<PathBuf>,
}

pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    ensure_tools()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cpus >= 2, "two CPUs are needed, one for the proxy and one for the load; this machine offers {cpus}");
    ensure_wasm_target()?;
    println!("building the gateway");
    shell::run(cargo().args(["build", "--release", "--package", "gateway", "--bin", "gateway"]))?;
    let target = target_dir()?;
    let (gateway, scratch) = (target.join("release/gateway"), target.join("bench"));

    let upstream = start_nginx("upstream", "upstream.nginx.conf", LOAD_CPU, &scratch, 0)?;
    let nginx = start_nginx("nginx", "proxy.nginx.conf", PROXY_CPU, &scratch, upstream.port)?;
    nginx.check(None, 200, BODY_BYTES)?;
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        let gateway = start_gateway(&gateway, scenario, &scratch, upstream.port)?;
        gateway.check(scenario.header, 200, BODY_BYTES).with_context(|| format!("{}: wrong answer", scenario.name))?;
        if scenario.header.is_some() {
            gateway.check_status(None, scenario.status_without)?;
        }
        rows.extend(measure(scenario, &nginx, &gateway, &options)?);
    }
    let table = report::markdown(&rows);
    println!("\n{table}");
    if let Some(file) = &options.json {
        fs::write(file, report::json(&rows)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { rounds: 5, seconds: 5, json: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (options.rounds, options.seconds) = (3, 2),
            "--json" => options.json = Some(args.next().context("--json needs a file")?.into()),
            other => bail!("cannot understand {other}; expected --quick or --json FILE"),
        }
    }
    Ok(options)
}

/// nginx and the gateway in turn; the first turn warms both up and does not count.
fn measure(scenario: &Scenario, nginx: &Server, gateway: &Server, options: &Options) -> Result<[Row; 2]> {
    let load = |seconds| Load { cpu: LOAD_CPU, connections: 64, seconds, header: scenario.header };
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..=options.rounds {
        for (proxy, rounds) in [nginx, gateway].into_iter().zip(&mut rounds) {
            let seconds = if round == 0 { 1 } else { options.seconds };
            let before = proxy.cpu_micros()?;
            let result = load(seconds).run(proxy.port)?;
            let cpu_micros = proxy.cpu_micros()? - before;
            if round > 0 {
                rounds.push(Round { cpu_micros, load: result });
            }
        }
        eprint!("\r{}: {round} of {} rounds", scenario.name, options.rounds);
    }
    eprintln!();
    let [nginx, gateway] = rounds;
    Ok([Row::new(scenario.name, "nginx (plain)", nginx), Row::new(scenario.name, "gateway", gateway)])
}

fn start_nginx(name: &str, template: &str, cpu: &str, scratch: &Path, upstream: u16) -> Result<Server> {
    let (run, port) = (folder(scratch, name)?, free_port()?);
    let config = render(template, &run, port, upstream)?;
    let nginx = find("nginx").context("nginx is not installed")?;
    let mut command = pinned(cpu, &nginx);
    command.arg("-p").arg(&run).arg("-e").arg(run.join("error.log")).arg("-c").arg(config);
    Server::start(name, command, port, &run.join("output.log"))
}

fn start_gateway(binary: &Path, scenario: &Scenario, scratch: &Path, upstream: u16) -> Result<Server> {
    let (run, port) = (folder(scratch, "gateway")?, free_port()?);
    let config = render(scenario.config, &run, port, upstream)?;
    let mut command = pinned(PROXY_CPU, binary);
    command.args(["run", "-c"]).arg(config);
    Server::start("gateway", command, port, &run.join("output.log"))
}

fn pinned(cpu: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).arg(program);
    command
}

/// An empty folder for the files of one server.
fn folder(scratch: &Path, name: &str) -> Result<PathBuf> {
    let folder = scratch.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Fills in a template of `benches/` and returns the path of the result.
fn render(template: &str, run: &Path, port: u16, upstream: u16) -> Result<PathBuf> {
    let path = root().join("benches").join(template);
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let values = HashMap::from([
        ("@RUN@", run.display().to_string()),
        ("@PORT@", port.to_string()),
        ("@UPSTREAM@", upstream.to_string()),
        ("@BODY@", "x".repeat(BODY_BYTES)),
    ]);
    for (name, value) in values {
        text = text.replace(name, &value);
    }
    let out = run.join(template);
    fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(out)
}

/// Installs what is missing where that is possible without asking, and says how otherwise.
fn ensure_tools() -> Result<()> {
    let tools = [("nginx", "nginx-light"), ("wrk", "wrk"), ("taskset", "util-linux")];
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
