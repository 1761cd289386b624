//! The real binary, as a shell would start it.

use std::{ffi::OsStr, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::in_time;

/// For compilers.
const PATIENCE: Duration = Duration::from_secs(900);

/// The variable by which the binary finds the standard plugins, if they are not inside: they are built here and now, and not by
/// the process that a test waits for.
pub fn standard_plugins() -> Option<(&'static str, &'static Path)> {
    let components = gateway_standard::components().unwrap_or_else(|error| panic!("{error}"));
    components.map(|folder| (gateway_standard::PREBUILT, folder))
}

/// A running gateway, of which every line is kept. Dropping it kills it.
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// What a process that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    /// -1 if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The lines of one stream so far, read by a task.
struct Lines {
    lines: watch::Receiver<Vec<String>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts `gateway` with arguments, in a folder.
    pub fn start<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same, with variables in its environment.
    pub fn start_with<A: AsRef<OsStr>>(
        folder: &Path,
        args: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(args).env_remove("GATEWAY_LOG").env_remove("NO_COLOR").envs(variables.iter().copied());
        Self::of(folder, command, Stdio::null())
    }

    /// Starts what in the end is `gateway`, in a folder.
    pub fn of(folder: &Path, mut command: Command, stdin: Stdio) -> Self {
        let is_set = |name: &str| command.as_std().get_envs().any(|(set, _)| set == name);
        command.envs(standard_plugins().filter(|(name, _)| !is_set(name)));
        let mut child = command
            .current_dir(folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    /// Waits until the log has a line with this text, and returns the line.
    pub async fn logged(&mut self, text: &str) -> String {
        self.stderr.wait_for(text).await
    }

    /// Waits until the log has so many lines with this text.
    pub async fn logged_times(&mut self, text: &str, times: usize) {
        let has = |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).count() >= times;
        let found = in_time(&format!("{times} lines with {text:?}"), self.stderr.lines.wait_for(has)).await.map(drop);
        assert!(found.is_ok(), "the stream ended without {text:?}:\n{}", self.log());
    }

    /// The process's own limit of open files, soft and hard (proc_pid_limits(5)).
    pub fn open_files(&self) -> (u64, u64) {
        let id = self.child.id().expect("it still runs");
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("Linux");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line of it");
        let mut numbers = line.split_whitespace().take(2).map(|number| number.parse().expect("a number"));
        (numbers.next().expect("a soft limit"), numbers.next().expect("a hard limit"))
    }

    /// The same, for what takes its time: compilers run.
    pub async fn logged_at_last(&mut self, text: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let found = tokio::time::timeout(PATIENCE, self.stderr.lines.wait_for(has)).await.expect("it is logged");
        drop(found);
        self.logged(text).await
    }

    /// The same for standard output.
    pub async fn printed(&mut self, text: &str) -> String {
        self.stdout.wait_for(text).await
    }

    /// All that has been printed so far.
    pub fn output(&self) -> String {
        self.stdout.lines.borrow().join("\n")
    }

    /// All that has been logged so far.
    pub fn log(&self) -> String {
        self.stderr.lines.borrow().join("\n")
    }

    /// Where `run` says that it listens: the listeners in order.
    pub async fn addresses(&mut self) -> Vec<SocketAddr> {
        addresses(&self.logged("listening on ").await, "listening on ")
    }

    /// Where `run` says that the operator's listener is.
    pub async fn admin(&mut self) -> SocketAddr {
        addresses(&self.logged("admin on ").await, "admin on ")[0]
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it still runs");
        let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status();
        assert!(sent.expect("a shell").success(), "the signal could not be sent");
    }

    /// Its memory in bytes: `VmRSS` for now, `VmHWM` for the most that it ever had (proc_pid_status(5)).
    pub fn memory(&self, kind: &str) -> u64 {
        let id = self.child.id().expect("it still runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':')).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// How often the thread of this name has gone to sleep, and the process has such a thread (proc_pid_status(5)).
    pub fn sleeps(&self, thread: &str) -> Option<u64> {
        let id = self.child.id().expect("it still runs");
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("Linux").filter_map(Result::ok);
        let read = |task: &std::fs::DirEntry, name: &str| std::fs::read_to_string(task.path().join(name)).ok();
        let mut status = tasks.filter(|task| read(task, "comm").is_some_and(|name| name.trim() == thread));
        let status = status.find_map(|task| read(&task, "status"))?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse().ok()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> Ended {
        let status = in_time("the gateway's end", self.child.wait()).await.expect("a child of ours");
        let stdout = self.stdout.all().await;
        let stderr = self.stderr.all().await;
        Ended { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

/// Runs `gateway` to its end.
pub async fn run<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Ended {
    Process::start(folder, args).ended().await
}

/// Runs `gateway` to its end, which takes its time: compilers run, beside all other tests.
pub async fn run_long<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Ended {
    let running = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(args)
        .envs(standard_plugins())
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("it ends").expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Ended { code: ended.status.code().unwrap_or(-1), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

impl Lines {
    fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, lines) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                sender.send_modify(|lines| lines.push(text));
                line.clear();
            }
        });
        Self { lines, reader }
    }

    async fn wait_for(&mut self, text: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let found =
            in_time(&format!("a line with {text:?}"), self.lines.wait_for(has)).await.map(|lines| lines.clone());
        match found {
            Ok(lines) => lines.into_iter().find(|line| line.contains(text)).expect("it was there a moment ago"),
            Err(_) => panic!("the stream ended without {text:?}:\n{}", self.lines.borrow().join("\n")),
        }
    }

    async fn all(self) -> String {
        in_time("the end of a stream", self.reader).await.expect("no panic");
        self.lines.borrow().join("\n")
    }
}

fn addresses(line: &str, after: &str) -> Vec<SocketAddr> {
    let (_, list) = line.split_once(after).expect("the line was found by this text");
    list.split(", ").filter_map(|address| address.trim().parse().ok()).collect()
}
