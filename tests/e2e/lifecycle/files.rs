//! Files that the configuration names: when they change, the gateway takes them up by itself, without losing a
//! connection, or keeps the old ones and says why.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, path::Path};

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::support::{Authority, Client, Process, Upstream, certs::handshake, client::Request, eventually};

const NAME: &str = "api.example.com";

fn config(upstream: &Upstream, pair: &str) -> String {
    format!(
        "workers: 2
listeners:
  - {{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: {pair}.pem, key: {pair}.key }}] }} }}
admin: {{ address: '127.0.0.1:0' }}
secrets: {{ key: {{ file: secret }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, upstream: echo }}]
",
        upstream.address()
    )
}

/// A gateway that watches its files, and a client who was there before they changed.
struct Watching {
    authority: Authority,
    folder: TempDir,
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    client: Client,
    _upstream: Upstream,
}

impl Watching {
    /// `prepare` puts the pair of files where the configuration says.
    async fn start(pair: &str, prepare: impl FnOnce(&Authority, &Path)) -> Self {
        let (authority, upstream, folder) = (Authority::new(), Upstream::echo().await, TempDir::new().unwrap());
        prepare(&authority, folder.path());
        fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        fs::write(folder.path().join("gateway.yaml"), config(&upstream, pair)).unwrap();
        let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
        let address = process.addresses().await[0];
        let admin = process.admin().await;
        let client = Client::connect_tls(address, NAME, authority.client(&["h2"])).await.unwrap();
        Self { authority, folder, process, address, admin, client, _upstream: upstream }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn shows(&self, certificate: &CertificateDer<'_>) -> bool {
        let stream = handshake(self.address, NAME, self.authority.client(&[])).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0] == *certificate
    }

    async fn metric(&self, line: &str) -> bool {
        let page = Client::connect(self.admin).await.send(Request::get("/metrics")).await.text();
        page.lines().any(|other| other == line)
    }

    /// Sooner or later everyone new gets this certificate, and who was there before is still served.
    async fn comes_to_show(&mut self, certificate: &CertificateDer<'_>) {
        eventually("the new certificate is shown", async || self.shows(certificate).await).await;
        assert_eq!(self.client.send(Request::get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_written_in_place_or_renamed_is_taken_up() {
    let mut watching = Watching::start("api", |authority, path| drop(authority.issue(path, "api", &[NAME]))).await;
    let second = watching.authority.issue(watching.path(), "api", &[NAME]);
    watching.comes_to_show(&second).await;
    let third = watching.authority.issue(watching.path(), "new", &[NAME]);
    for end in ["key", "pem"] {
        fs::rename(watching.path().join("new").with_extension(end), watching.path().join("api").with_extension(end))
            .unwrap();
    }
    watching.comes_to_show(&third).await;
}

#[tokio::test]
async fn a_secret_that_kubernetes_mounts_is_taken_up_when_its_link_turns() {
    let version = |authority: &Authority, path: &Path, name: &str| {
        fs::create_dir_all(path.join("mounted").join(name)).unwrap();
        authority.issue(&path.join("mounted").join(name), "tls", &[NAME])
    };
    let mut watching = Watching::start("mounted/tls", |authority, path| {
        version(authority, path, "..v1");
        symlink("..v1", path.join("mounted/..data")).unwrap();
        for file in ["tls.pem", "tls.key"] {
            symlink(format!("..data/{file}"), path.join("mounted").join(file)).unwrap();
        }
    })
    .await;
    for name in ["..v2", "..v3"] {
        let certificate = version(&watching.authority, watching.path(), name);
        symlink(name, watching.path().join("mounted/..data_tmp")).unwrap();
        fs::rename(watching.path().join("mounted/..data_tmp"), watching.path().join("mounted/..data")).unwrap();
        watching.comes_to_show(&certificate).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_taken_up_when_it_turns() {
    let mut watching = Watching::start("current/api", |authority, path| {
        fs::create_dir(path.join("one")).unwrap();
        authority.issue(&path.join("one"), "api", &[NAME]);
        symlink("one", path.join("current")).unwrap();
    })
    .await;
    fs::create_dir(watching.path().join("two")).unwrap();
    let second = watching.authority.issue(&watching.path().join("two"), "api", &[NAME]);
    symlink("two", watching.path().join("next")).unwrap();
    fs::rename(watching.path().join("next"), watching.path().join("current")).unwrap();
    watching.comes_to_show(&second).await;
    // And what changes in the new folder is noticed, too.
    let third = watching.authority.issue(&watching.path().join("two"), "api", &[NAME]);
    watching.comes_to_show(&third).await;
}

#[tokio::test]
async fn a_bad_new_pair_keeps_the_old_one_and_says_so() {
    let mut first = None;
    let mut watching =
        Watching::start("api", |authority, path| first = Some(authority.issue(path, "api", &[NAME]))).await;
    let first = first.expect("issued at the start");
    watching.authority.issue(watching.path(), "other", &[NAME]);
    fs::copy(watching.path().join("other.key"), watching.path().join("api.key")).unwrap();
    watching.process.logged("reload failed").await;
    watching.process.logged("the private key does not belong to the certificate").await;
    eventually("it is counted", async || watching.metric("gateway_config_last_reload_successful 0").await).await;
    assert!(watching.shows(&first).await);
    assert_eq!(watching.client.send(Request::get("/")).await.status, 200);
    // The other half arrives: now they fit.
    fs::copy(watching.path().join("other.pem"), watching.path().join("api.pem")).unwrap();
    eventually("all is well again", async || watching.metric("gateway_config_last_reload_successful 1").await).await;
    assert!(!watching.shows(&first).await);
}

#[tokio::test]
async fn a_secret_is_read_again() {
    let mut watching = Watching::start("api", |authority, path| drop(authority.issue(path, "api", &[NAME]))).await;
    fs::write(watching.path().join("secret"), "another\n").unwrap();
    watching.process.logged("configuration reloaded").await;
    assert_eq!(watching.client.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn a_certificate_that_is_a_link_is_taken_up_when_its_target_changes() {
    let mut watching = Watching::start("api", |authority, path| {
        fs::create_dir(path.join("elsewhere")).unwrap();
        authority.issue(&path.join("elsewhere"), "real", &[NAME]);
        for end in ["pem", "key"] {
            symlink(format!("elsewhere/real.{end}"), path.join("api").with_extension(end)).unwrap();
        }
    })
    .await;
    // Written in place.
    let second = watching.authority.issue(&watching.path().join("elsewhere"), "real", &[NAME]);
    watching.comes_to_show(&second).await;
}
