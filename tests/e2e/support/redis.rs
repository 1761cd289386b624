//! A real Redis (`redis-server` of Debian's package of that name), which tests kill, freeze and start again.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use super::{eventually, free_address};

/// A server on a port of its own, which keeps nothing on disk.
pub struct Redis {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Redis {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With options of its command line. A port for TLS is written `TLS`, for which there is no other then.
    pub async fn with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self::within(folder, options).await
    }

    pub async fn within(folder: TempDir, options: &[&str]) -> Self {
        let port = free_address().port();
        let options = options.iter().map(|option| option.replace("TLS", &port.to_string())).collect();
        let mut redis = Self { child: None, folder, port, options };
        redis.start_again().await;
        redis
    }

    /// On the same port, with nothing in it.
    pub async fn start_again(&mut self) {
        let port = if self.options.iter().any(|option| option == "--tls-port") { 0 } else { self.port };
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--loglevel", "warning"])
            .args(&self.options)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server: install the package of that name");
        self.child = Some(child);
        let address = self.address();
        eventually("Redis listening", async || TcpStream::connect(address).await.is_ok()).await;
    }

    /// A Sentinel that monitors a primary under the name `main`.
    pub async fn sentinel(primary: &Self) -> Self {
        let folder = TempDir::new().expect("a folder");
        let lines =
            format!("sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 2000\n", primary.port);
        std::fs::write(folder.path().join("sentinel.conf"), lines).expect("written");
        let port = free_address().port();
        let mut sentinel = Self { child: None, folder, port, options: Vec::new() };
        let child = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"])
            .current_dir(sentinel.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server: install the package of that name");
        sentinel.child = Some(child);
        let address = sentinel.address();
        eventually("the Sentinel listening", async || TcpStream::connect(address).await.is_ok()).await;
        sentinel
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// With `KILL` it is gone at once, with `STOP` it neither answers nor goes, with `CONT` it goes on.
    pub async fn signal(&mut self, name: &str) {
        let child = self.child.as_mut().expect("it runs");
        let id = child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await;
        assert!(sent.expect("kill").success());
        if name == "KILL" {
            let _ = self.child.take().expect("it runs").wait().await;
        }
    }

    /// The same where the answer is one string.
    pub async fn bulk(&self, command: &str) -> String {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await.expect("Redis"));
        stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
        let mut line = String::new();
        for _ in 0..2 {
            line.clear();
            stream.read_line(&mut line).await.expect("an answer");
        }
        line.trim_end().to_owned()
    }

    /// One line of command, and the first line of the answer.
    pub async fn ask(&self, command: &str) -> String {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await.expect("Redis"));
        stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("an answer");
        line.trim_end().to_owned()
    }
}
