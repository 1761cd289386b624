//! A server that is measured: its process, its port, its CPU time.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// A running server; ends when dropped.
pub struct Server {
    name: String,
    child: Child,
    pub port: u16,
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
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { name: name.to_owned(), child, port, micros_per_tick: 1_000_000 / ticks.max(1) };
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
            sleep(Duration::from_millis(20));
        }
        bail!("{} did not listen within {START_TIMEOUT:?}; see {}", self.name, log.display())
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

    /// One request must be answered with that status and so long a body.
    pub fn check(&self, header: Option<&str>, status: u16, body: usize) -> Result<()> {
        let answer = self.get(header)?;
        ensure!(answer.status == status, "{} answers with {}, not {status}", self.name, answer.status);
        ensure!(answer.body.len() == body, "{} sends a body of {} bytes, not {body}", self.name, answer.body.len());
        Ok(())
    }

    pub fn check_status(&self, header: Option<&str>, status: u16) -> Result<()> {
        let answer = self.get(header)?;
        ensure!(answer.status == status, "{} answers with {}, not {status}", self.name, answer.status);
        Ok(())
    }

    fn get(&self, header: Option<&str>) -> Result<Answer> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let header = header.map(|header| format!("{header}\r\n")).unwrap_or_default();
        write!(stream, "GET /bench HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).with_context(|| format!("{} does not answer", self.name))?;
        Answer::parse(&bytes).with_context(|| format!("{} does not answer in HTTP", self.name))
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

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self { status, body: bytes[end + 4..].to_vec() })
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
