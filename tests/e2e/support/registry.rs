//! A real registry (`docker-registry` of Debian's package of that name), which tests kill and start again.

use std::{fs, process::Stdio};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{eventually, free_address};

/// On a port of its own, with what was pushed in a folder.
pub struct Registry {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    auth: RegistryAuth,
}

impl Registry {
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// One that only this user may use.
    pub async fn of(user: &str, password: &str) -> Self {
        Self::with(Some((user, password))).await
    }

    async fn with(login: Option<(&str, &str)>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_address().port();
        let at = |file: &str| folder.path().join(file).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:{port} }}\n",
            at("data")
        );
        let mut auth = RegistryAuth::Anonymous;
        if let Some((user, password)) = login {
            let hash = bcrypt::hash(password, 4).expect("a hash");
            fs::write(at("htpasswd"), format!("{user}:{hash}\n")).expect("a file");
            config.push_str(&format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", at("htpasswd")));
            auth = RegistryAuth::Basic(user.to_owned(), password.to_owned());
        }
        fs::write(at("config.yml"), config).expect("a file");
        let mut registry = Self { child: None, folder, port, auth };
        registry.start_again().await;
        registry
    }

    /// On the same port, with what was pushed before.
    pub async fn start_again(&mut self) {
        let child = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("docker-registry: install the package of that name");
        self.child = Some(child);
        let address = self.address();
        eventually("the registry listening", async || TcpStream::connect(&address).await.is_ok()).await;
    }

    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("it was there");
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes one layer, and returns the digest of the manifest.
    pub async fn push(&self, name: &str, media_type: &str, bytes: &[u8]) -> String {
        let reference: Reference = format!("{}/{name}", self.address()).parse().expect("a reference");
        let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let layers = [ImageLayer::new(bytes.to_vec(), media_type.to_owned(), None)];
        let config = Config::new(b"{}".to_vec(), "application/vnd.wasm.config.v0+json".to_owned(), None);
        client.push(&reference, &layers, config, &self.auth, None).await.expect("it is pushed");
        client.fetch_manifest_digest(&reference, &self.auth).await.expect("it is there")
    }
}
