//! The load: wrk with one thread, and what it says.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::output;

pub struct Load {
    pub cpu: &'static str,
    pub connections: u32,
    pub seconds: u32,
    /// `Name: value`.
    pub header: Option<&'static str>,
}

/// What one run of wrk saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub requests: u64,
    pub seconds: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// Answers that are not 2xx or 3xx, and connections that failed.
    pub errors: u64,
}

impl Load {
    pub fn run(&self, port: u16) -> Result<Seen> {
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", self.cpu, "wrk", "-t1", "--latency", "--timeout", "10s"]);
        wrk.args([format!("-c{}", self.connections), format!("-d{}s", self.seconds)]);
        if let Some(header) = self.header {
            wrk.args(["-H", header]);
        }
        wrk.arg(format!("http://127.0.0.1:{port}/bench"));
        let text = output(&mut wrk)?;
        parse(&text).with_context(|| format!("cannot understand wrk:\n{text}"))
    }
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
}
