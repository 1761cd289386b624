//! A real Thrift server: Apache's Python library, with code that Apache's compiler made of tests/thrift
//! (`apt-get install python3-thrift thrift-compiler`).

use std::{net::SocketAddr, process::Stdio, sync::OnceLock};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::in_time;

/// Where tests/thrift is.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/thrift");

/// A running server. Dropping it kills it.
pub struct ThriftServer {
    _child: Child,
    address: SocketAddr,
}

impl ThriftServer {
    /// Of a transport (`framed`, `buffered`, `http`) and a protocol (`binary`, `compact`).
    pub async fn start(transport: &str, protocol: &str) -> Self {
        Self::start_with(&[transport, protocol]).await
    }

    pub async fn start_with(arguments: &[&str]) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .arg(format!("{FOLDER}/server.py"))
            .arg(generated().path())
            .args(arguments)
            // What it says when a service fails is no news.
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's Python");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = in_time("the Thrift server's port", output.next_line()).await.expect("a pipe");
        let line = line.expect("the Thrift server starts: apt-get install python3-thrift thrift-compiler");
        let port: u16 = line.strip_prefix("port ").and_then(|port| port.parse().ok()).expect("a port");
        Self { _child: child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What the compiler makes of the IDL, once for all tests.
fn generated() -> &'static TempDir {
    static GENERATED: OnceLock<TempDir> = OnceLock::new();
    GENERATED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = std::process::Command::new("thrift")
            .args(["-r", "--gen", "py", "-out"])
            .arg(folder.path())
            .arg(format!("{FOLDER}/everything.thrift"))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "thrift: apt-get install thrift-compiler");
        folder
    })
}
