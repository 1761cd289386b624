//! A server that is measured: its process, its port, its CPU time.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::scenarios::{Front, Scenario};
use crate::shell;

/// A running server; ends when dropped.
pub struct Server {
    name: String,
    child: Child,
    pub port: u16,
    pub started: Instant,
    micros_per_tick: u64,
}

/// The first start compiles every plugin.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(name: &str, mut command: Command, port: u16, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let ticks: u64 = shell::output(Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server =
            Self { name: name.to_owned(), child, port, started, micros_per_tick: 1_000_000 / ticks.max(1) };
        server.wait_until_it_listens(log)?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, log: &Path) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, fs::read_to_string(log).unwrap_or_default());
            }
            sleep(Duration::from_millis(1));
        }
        bail!("{} did not listen within {START_TIMEOUT:?}; see {}", self.name, log.display())
    }

    /// Of its process; `taskset` becomes what it starts.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far, of the process and its children.
    pub fn cpu_micros(&self) -> Result<u64> {
        let mut ticks = 0;
        for entry in fs::read_dir("/proc").context("CPU time is read from /proc, which is Linux's")? {
            let path: PathBuf = entry?.path();
            let is_process = path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
            // A process may end between the listing and here.
            let Some(stat) = is_process.then(|| fs::read_to_string(path.join("stat")).ok()).flatten() else { continue };
            ticks += parse_stat(&stat).filter(|stat| stat.belongs_to(self.child.id())).map_or(0, |stat| stat.ticks);
        }
        Ok(ticks * self.micros_per_tick)
    }

    /// One request must be answered with that status, so long a body, and in the scenario's protocol.
    pub fn check(&self, scenario: &Scenario) -> Result<()> {
        let version = if scenario.front.is_http2() { "2" } else { "1.1" };
        let expected = format!("200 {} {version}", scenario.body_bytes);
        let answer = self.ask(scenario, scenario.header)?;
        ensure!(answer == expected, "{} answers {answer:?}, not {expected:?} (status, bytes, HTTP version)", self.name);
        Ok(())
    }

    /// A request without the scenario's header must be answered with its status.
    pub fn check_without_header(&self, scenario: &Scenario) -> Result<()> {
        let answer = self.ask(scenario, None)?;
        let expected = scenario.status_without.to_string();
        ensure!(answer.starts_with(&expected), "{} answers {answer:?}, not {expected}, without a header", self.name);
        Ok(())
    }

    fn ask(&self, scenario: &Scenario, header: Option<&str>) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "10"]);
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{size_download} %{http_version}"]);
        curl.arg(match scenario.front {
            Front::Http1 | Front::Tls => "--http1.1",
            Front::Http2Tls => "--http2",
            Front::Http2 => "--http2-prior-knowledge",
        });
        if scenario.front.is_tls() {
            curl.arg("--tlsv1.3");
        }
        if let Some(header) = header {
            curl.args(["--header", header]);
        }
        shell::output(curl.arg(scenario.url(self.port))).with_context(|| format!("{} does not answer", self.name))
    }
}

impl Drop for Server {
    /// Asks first: nginx's master ends its workers only then.
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < STOP_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Stat {
    pid: u32,
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn belongs_to(&self, pid: u32) -> bool {
        self.pid == pid || self.parent == pid
    }
}

/// `/proc/PID/stat`, proc_pid_stat(5). The name may hold blanks and parentheses, so the last one counts.
fn parse_stat(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let pid = before.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { pid, parent: number(1)? as u32, ticks: number(11)? + number(12)? })
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (odd) (name) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 1 1";
        let stat = parse_stat(text).expect("the line is whole");
        assert_eq!((stat.pid, stat.parent, stat.ticks), (42, 7, 200));
    }
}
