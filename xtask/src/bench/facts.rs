//! What is not a cost per request: how long a start takes, how much memory things need, what a reload does to running
//! traffic, what a second worker is worth.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    load::{Load, Seen},
    peers::{Bench, Gateway},
    scenarios::{SCENARIOS, Scenario},
    server::Server,
};
use crate::shell;

/// One figure and, where there is one, the most that it may be.
pub struct Fact {
    pub name: &'static str,
    pub figure: f64,
    pub unit: &'static str,
    pub most: Option<f64>,
}

const MANY_ROUTES: usize = 10_000;
const CONNECTIONS: usize = 1000;
/// How long a connection is silent before the gateway takes it for idle, and a little more.
const SILENCE: Duration = Duration::from_secs(7);
const STARTS: usize = 3;

pub fn measure(bench: &Bench, upstream: u16, seconds: u32) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    starts(bench, upstream, &mut facts)?;
    memory(bench, upstream, &mut facts)?;
    reload(bench, upstream, seconds, &mut facts)?;
    workers(bench, upstream, seconds, &mut facts)?;
    Ok(facts)
}

fn plain(routes: usize) -> Scenario {
    Scenario { routes, ..SCENARIOS[0] }
}

/// From the start of the process to the first answer.
fn starts(bench: &Bench, upstream: u16, facts: &mut Vec<Fact>) -> Result<()> {
    progress("starts");
    let all = Scenario { config: "all-plugins.yaml", ..plain(0) };
    let first_answer = |scenario: &Scenario, cache: &str| -> Result<f64> {
        let gateway = bench.gateway_with(scenario, upstream, &Gateway { cache: Some(cache), ..Gateway::default() })?;
        gateway.wait_for_an_answer()
    };
    // An empty folder for compiled code; what it compiles, the next starts find.
    bench.forget_compiled("cold")?;
    let cold = first_answer(&all, "cold")?;
    let warm = median((0..STARTS).map(|_| first_answer(&all, "cold")).collect::<Result<_>>()?);
    let many = plain(MANY_ROUTES);
    let many = median((0..STARTS).map(|_| first_answer(&many, "cold")).collect::<Result<_>>()?);
    facts.push(Fact {
        name: "start with all plugins, compiled before",
        figure: warm * 1e3,
        unit: "ms",
        most: Some(100.0),
    });
    facts.push(Fact {
        name: "start with all plugins, compiling them",
        figure: cold * 1e3,
        unit: "ms",
        most: Some(3000.0),
    });
    facts.push(Fact { name: "start with 10,000 routes", figure: many * 1e3, unit: "ms", most: Some(1000.0) });
    Ok(())
}

fn memory(bench: &Bench, upstream: u16, facts: &mut Vec<Fact>) -> Result<()> {
    progress("memory");
    let one = bench.gateway(&plain(0), upstream)?;
    one.check(&plain(0))?;
    let at_rest = one.memory()?;
    facts.push(Fact { name: "memory at rest", figure: mebi(at_rest), unit: "MiB", most: Some(40.0) });
    let connections = (0..CONNECTIONS).map(|_| keep_alive(one.port)).collect::<Result<Vec<_>>>()?;
    thread::sleep(SILENCE);
    let each = one.memory()?.saturating_sub(at_rest) / CONNECTIONS as u64;
    drop(connections);
    facts.push(Fact { name: "memory for an idle connection", figure: kibi(each), unit: "KiB", most: Some(16.0) });
    drop(one);
    let many = bench.gateway(&plain(MANY_ROUTES), upstream)?;
    many.check(&plain(MANY_ROUTES))?;
    let each = many.memory()?.saturating_sub(at_rest) / MANY_ROUTES as u64;
    facts.push(Fact { name: "memory for a route, of 10,000", figure: kibi(each), unit: "KiB", most: Some(1.0) });
    Ok(())
}

/// Requests on connections that stay open.
fn keep_alive(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /bench HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = [0; 4096];
    let mut seen = 0;
    while seen < SCENARIOS[0].body_bytes {
        let read = stream.read(&mut answer)?;
        ensure!(read > 0, "the gateway closed a connection that it should keep");
        seen += read;
    }
    Ok(stream)
}

/// The 99th percentile while the configuration is replaced again and again, beside that of a quiet run.
fn reload(bench: &Bench, upstream: u16, seconds: u32, facts: &mut Vec<Fact>) -> Result<()> {
    progress("reload");
    let many = plain(MANY_ROUTES);
    // Loading has a thread of its own, for which there is room beside the worker as on any machine with two cores.
    let gateway = bench.gateway_with(&many, upstream, &Gateway { cpus: Some("0,1"), ..Gateway::default() })?;
    let load = || Load { scenario: &many, seconds: seconds.max(3), openssl: &bench.openssl }.run(gateway.port);
    load()?;
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let quiet = load()?;
        let reloading = thread::scope(|scope| -> Result<Seen> {
            let reloads = scope.spawn(|| -> Result<()> {
                for _ in 0..3 {
                    thread::sleep(Duration::from_millis(700));
                    shell::run(Command::new("kill").args(["-HUP", &gateway.id().to_string()]))?;
                }
                Ok(())
            });
            let seen = load()?;
            reloads.join().ok().context("the reloading thread panicked")??;
            Ok(seen)
        })?;
        ensure!(reloading.errors == 0, "{} requests failed while the configuration was replaced", reloading.errors);
        ratios.push(reloading.p99_micros / quiet.p99_micros);
    }
    let figure = median(ratios);
    facts.push(Fact { name: "p99 during reloads of 10,000 routes, ÷ without", figure, unit: "", most: Some(2.0) });
    Ok(())
}

/// CPU time for a request with two workers on two CPUs, beside one worker on one: what they could serve without the
/// load generator, which has to share the CPUs.
fn workers(bench: &Bench, upstream: u16, seconds: u32, facts: &mut Vec<Fact>) -> Result<()> {
    progress("workers");
    let scenario = plain(0);
    let mut gains = Vec::new();
    let cost = |gateway: &Server, cpus| -> Result<f64> {
        let before = gateway.cpu_micros()?;
        let seen = Load { scenario: &scenario, seconds, openssl: &bench.openssl }.run_on(gateway.port, cpus)?;
        Ok((gateway.cpu_micros()? - before) as f64 / seen.requests as f64)
    };
    let one = bench.gateway_with(&scenario, upstream, &Gateway { cpus: Some("0"), ..Gateway::default() })?;
    let two =
        bench.gateway_with(&scenario, upstream, &Gateway { cpus: Some("0,1"), workers: 2, ..Gateway::default() })?;
    for _ in 0..4 {
        gains.push(2.0 * cost(&one, "1")? / cost(&two, "0,1")?);
    }
    // The first round warms up.
    let figure = median(gains.split_off(1));
    facts.push(Fact { name: "two workers, in what one serves (at least 1.8)", figure, unit: "", most: None });
    Ok(())
}

pub fn markdown(facts: &[Fact]) -> String {
    let mut table = String::from("| what | figure | at most |\n|---|---:|---|\n");
    for fact in facts {
        let most = fact.most.map_or(String::new(), |most| {
            format!("{most} {} {}", fact.unit, if fact.figure <= most { "pass" } else { "miss" })
        });
        table += &format!("| {} | {:.2} {} | {most} |\n", fact.name, fact.figure, fact.unit);
    }
    table
}

fn progress(what: &str) {
    eprintln!("facts: {what}");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn kibi(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

/// The memory of a process that is its own or shared with nobody else's use, in bytes: `VmRSS` of proc_pid_status(5).
pub fn resident(pid: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("memory is read from /proc, which is Linux's")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc says no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

impl Server {
    fn memory(&self) -> Result<u64> {
        resident(self.id())
    }

    /// Asks until there is an answer, whatever it says; the seconds since the process was started.
    fn wait_for_an_answer(&self) -> Result<f64> {
        let deadline = self.started + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                stream.write_all(b"GET /r00000/item HTTP/1.1\r\nHost: bench\r\n\r\n")?;
                if stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {
                    return Ok(self.started.elapsed().as_secs_f64());
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        anyhow::bail!("no answer within a minute")
    }
}
