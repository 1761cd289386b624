//! Starting, reloading, draining, ending: with the real binary where a signal or an exit code matters, and in
//! this process where it does not.

mod drain;
mod files;
mod handover;
mod leaving;
mod metrics;
mod operator;
mod rejected;
mod reload;
mod signals;
mod source;
mod supervised;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{Client, Process, client::Request};

/// `gateway run` and the file that it was started with.
struct Running {
    process: Process,
    file: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[]).await
    }

    async fn start_with(yaml: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, yaml).unwrap();
        let args = ["run", "-c", "gateway.yaml"].iter().chain(options);
        let mut process = Process::start(folder.path(), args);
        let admin = process.admin().await;
        let address = process.addresses().await[0];
        Self { process, file, folder, address, admin }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    async fn get(&self, target: &str) -> String {
        self.client().await.send(Request::get(target)).await.text()
    }

    async fn admin_page(&self, target: &str) -> (u16, String) {
        let response = Client::connect(self.admin).await.send(Request::get(target)).await;
        (response.status.as_u16(), response.text())
    }

    async fn metrics(&self) -> String {
        self.admin_page("/metrics").await.1
    }
}

/// Everything to one upstream.
fn to(upstream: SocketAddr) -> String {
    with(upstream, "timeouts: { drain-delay: 0s }")
}

fn with(upstream: SocketAddr, settings: &str) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
{settings}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
"
    )
}

/// An address where nobody listens a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}
