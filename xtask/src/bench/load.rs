//! The load: wrk or, for HTTP/2, h2load, with one thread each, and what they say.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{LOAD_CPU, scenarios::Scenario};
use crate::shell::{output, root};

const WRK_CONNECTIONS: u32 = 64;

pub struct Load<'a> {
    pub scenario: &'a Scenario,
    pub seconds: u32,
    pub openssl: &'a Path,
}

/// What one run saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub requests: u64,
    pub seconds: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// Answers that are not 2xx or 3xx, and connections that failed.
    pub errors: u64,
}

impl Load<'_> {
    pub fn run(&self, port: u16) -> Result<Seen> {
        if self.scenario.front.is_http2() { self.h2load(port) } else { self.run_on(port, LOAD_CPU) }
    }

    /// wrk, on these CPUs.
    pub fn run_on(&self, port: u16, cpus: &str) -> Result<Seen> {
        let mut wrk = self.command("wrk", cpus);
        wrk.args(["-t1", "--latency", "--timeout", "10s"]);
        wrk.args([format!("-c{WRK_CONNECTIONS}"), format!("-d{}s", self.seconds)]);
        if self.scenario.routes > 0 {
            wrk.arg("-s").arg(root().join("benches/routes.lua"));
        }
        wrk.arg(self.scenario.url(port));
        if self.scenario.routes > 0 {
            wrk.arg("--").arg(self.scenario.routes.to_string());
        }
        let text = output(&mut wrk)?;
        parse(&text).with_context(|| format!("cannot understand wrk:\n{text}"))
    }

    /// 16 connections with 8 streams each; its log has every request, which its summary has no percentiles of.
    fn h2load(&self, port: u16) -> Result<Seen> {
        let log: PathBuf = self.openssl.with_file_name("h2load.log");
        if log.exists() {
            fs::remove_file(&log)?;
        }
        let mut h2load = self.command("h2load", LOAD_CPU);
        h2load.args(["-t1", "-c16", "-m8"]).arg(format!("-D{}", self.seconds));
        h2load.arg(format!("--log-file={}", log.display())).arg(self.scenario.url(port));
        let text = output(&mut h2load)?;
        let requests = fs::read_to_string(&log).with_context(|| format!("h2load wrote no log:\n{text}"))?;
        parse_log(&requests, f64::from(self.seconds)).with_context(|| format!("cannot understand h2load:\n{text}"))
    }

    fn command(&self, program: &str, cpus: &str) -> Command {
        let mut command = Command::new("taskset");
        command.env("OPENSSL_CONF", self.openssl).args(["-c", cpus, program]);
        if let Some(header) = self.scenario.header {
            command.args(["-H", header]);
        }
        command
    }
}

/// h2load's log: when a request began, its status (-1: none) and how many microseconds it took.
fn parse_log(text: &str, seconds: f64) -> Option<Seen> {
    let (mut micros, mut errors) = (Vec::new(), 0);
    for line in text.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (status, took) = (fields.next()?.parse::<i32>().ok()?, fields.next()?.parse::<u64>().ok()?);
        if (200..400).contains(&status) {
            micros.push(took);
        } else {
            errors += 1;
        }
    }
    micros.sort_unstable();
    let at = |percent: usize| micros.get(micros.len() * percent / 100).map(|&micros| micros as f64);
    let requests = micros.len() as u64 + errors;
    Some(Seen { requests, seconds, p50_micros: at(50)?, p99_micros: at(99)?, errors })
}

fn parse(text: &str) -> Option<Seen> {
    let mut seen = Seen { requests: 0, seconds: 0.0, p50_micros: 0.0, p99_micros: 0.0, errors: 0 };
    for line in text.lines().map(str::trim) {
        if let Some((requests, rest)) = line.split_once(" requests in ") {
            seen.requests = requests.parse().ok()?;
            seen.seconds = micros(rest.split(',').next()?)? / 1e6;
        } else if let Some(value) = line.strip_prefix("50%") {
            seen.p50_micros = micros(value)?;
        } else if let Some(value) = line.strip_prefix("99%") {
            seen.p99_micros = micros(value)?;
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            seen.errors += count.trim().parse::<u64>().ok()?;
        } else if let Some(counts) = line.strip_prefix("Socket errors:") {
            let counts = counts.split(',').filter_map(|count| count.rsplit(' ').next()?.parse::<u64>().ok());
            seen.errors += counts.sum::<u64>();
        }
    }
    (seen.requests > 0 && seen.seconds > 0.0).then_some(seen)
}

/// `1.25ms`, `830.00us`, `5.10s`, `1.02m`.
fn micros(text: &str) -> Option<f64> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let scale = match &text[at..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(text[..at].parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_understood() {
        let text = "\
Running 5s test @ http://127.0.0.1:8080/bench
  1 threads and 64 connections
  Latency Distribution
     50%    1.25ms
     75%    1.40ms
     99%  830.00us
  231456 requests in 5.10s, 264.99MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 12
Requests/sec:  45383.53
";
        let expected = Seen { requests: 231_456, seconds: 5.1, p50_micros: 1250.0, p99_micros: 830.0, errors: 16 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("unable to connect"), None);
    }

    #[test]
    fn what_h2load_logs_is_understood() {
        let text = "1000\t200\t300\n1001\t200\t500\n1002\t503\t9000\n1003\t-1\t9000\n";
        let expected = Seen { requests: 4, seconds: 2.0, p50_micros: 500.0, p99_micros: 500.0, errors: 2 };
        assert_eq!(parse_log(text, 2.0), Some(expected));
        assert_eq!(parse_log("", 2.0), None);
    }
}
