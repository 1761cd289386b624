//! A gateway in this process, on ports that the system chooses.

use std::{net::SocketAddr, path::Path};

use gateway::app::{Gateway, Options, Source, StartError};
use tempfile::TempDir;

use super::{Client, Response, client::Request, raw};

/// A running gateway and the folder that its configuration's relative paths count from.
pub struct TestGateway {
    gateway: Option<Gateway>,
    folder: TempDir,
}

/// Prepended to every configuration that says nothing about listeners itself.
const LISTENERS: &str = "\
workers: 2
listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }
";

impl TestGateway {
    /// Starts with a configuration; `listeners` and `admin` are added where it has none.
    pub async fn start(yaml: &str) -> Self {
        match Self::try_start(yaml).await {
            Ok(gateway) => gateway,
            Err(error) => panic!("the gateway does not start:\n{error}"),
        }
    }

    pub async fn try_start(yaml: &str) -> Result<Self, StartError> {
        Self::try_start_in(tempfile::tempdir().expect("a temporary folder"), yaml).await
    }

    /// As `start`, in a folder with files that the configuration names.
    pub async fn start_in(folder: TempDir, yaml: &str) -> Self {
        match Self::try_start_in(folder, yaml).await {
            Ok(gateway) => gateway,
            Err(error) => panic!("the gateway does not start:\n{error}"),
        }
    }

    pub async fn try_start_in(folder: TempDir, yaml: &str) -> Result<Self, StartError> {
        let source = Source::Text { text: complete(yaml), base: folder.path().to_owned() };
        let gateway = tokio::task::spawn_blocking(move || Gateway::start(options(source))).await.expect("no panic")?;
        Ok(Self { gateway: Some(gateway), folder })
    }

    fn running(&self) -> &Gateway {
        self.gateway.as_ref().expect("not drained yet")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> SocketAddr {
        self.running().addresses()[0]
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.running().addresses().to_vec()
    }

    pub fn admin(&self) -> SocketAddr {
        self.running().admin_address().expect("the test's configuration has an admin listener")
    }

    /// Puts another configuration in force, or says why not.
    pub async fn reload(&mut self, yaml: &str) -> Result<(), StartError> {
        let source = Source::Text { text: complete(yaml), base: self.folder.path().to_owned() };
        let gateway = self.gateway.take().expect("not drained yet");
        let (gateway, result) = tokio::task::spawn_blocking(move || {
            let result = gateway.reload_with(source);
            (gateway, result)
        })
        .await
        .expect("no panic");
        self.gateway = Some(gateway);
        result
    }

    /// Begins to drain; the handle ends when the gateway has.
    pub fn drain(&mut self) -> tokio::task::JoinHandle<()> {
        let gateway = self.gateway.take().expect("drained once");
        tokio::task::spawn_blocking(move || gateway.drain())
    }

    /// A connection of its own for each request.
    pub async fn send(&self, request: Request) -> Response {
        Client::connect(self.address()).await.send(request).await
    }

    pub async fn get(&self, target: &str) -> Response {
        self.send(Request::get(target)).await
    }

    /// Sends bytes as they are and returns everything that comes back until the connection closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        raw::exchange(self.address(), bytes).await
    }

    /// The sum of all samples of a metric that have these labels, among others; none without any.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let page = self.metrics().await;
        let samples = page.lines().filter_map(|line| {
            let (own, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
            let has = |label: &String| own.split(',').any(|other| other == label);
            labels.iter().all(has).then(|| value.parse::<u64>().expect("a whole number"))
        });
        samples.reduce(|a, b| a + b)
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        Client::connect(self.admin()).await.send(Request::get("/metrics")).await.text()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            // Ending waits for threads, which must not hold up a runtime.
            std::thread::spawn(move || drop(gateway));
        }
    }
}

fn options(source: Source) -> Options {
    Options { source, signals: false, watch: false, code_cache: true, logging: None, timers: Default::default() }
}

fn complete(yaml: &str) -> String {
    let has = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    if has("listeners:") { yaml.to_owned() } else { format!("{LISTENERS}{yaml}") }
}
