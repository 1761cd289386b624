//! Starting what is measured: templates of `benches/` filled in, every process pinned to its CPU.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    LOAD_CPU, PROXY_CPU,
    scenarios::{Front, JWT_REMEMBERED, Scenario},
    server::{Server, free_port},
};
use crate::shell::{self, find, root};

/// The sizes that the upstream serves at `/` and at `/large`.
const SMALL_BODY: usize = 1024;
const LARGE_BODY: usize = 100 * 1024;

/// Where the peers' files are, and what they share.
pub struct Bench {
    pub files: Files,
    gateway: PathBuf,
    /// Where the upstream is a gRPC service.
    pub grpc_port: u16,
    /// The load generators' OpenSSL configuration: one version, cipher and group for every peer.
    pub openssl: PathBuf,
}

/// What every peer is given.
pub struct Files {
    pub scratch: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How the gateway is started, where it is not as ever.
pub struct Gateway<'a> {
    pub workers: usize,
    /// As taskset takes them.
    pub cpus: Option<&'a str>,
    /// The folder for compiled plugins, below the scratch folder; the user's own otherwise.
    pub cache: Option<&'a str>,
}

impl Default for Gateway<'_> {
    fn default() -> Self {
        Self { workers: 1, cpus: None, cache: None }
    }
}

impl Bench {
    pub fn new(scratch: PathBuf, gateway: PathBuf) -> Result<Self> {
        let keys = folder(&scratch, "keys")?;
        let (certificate, key, openssl) = (keys.join("tls.pem"), keys.join("tls.key"), keys.join("client.cnf"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]);
        make.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        shell::output(make.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
        // HAProxy reads key and certificate from one file; the others take the first certificate and the key apart.
        let both = fs::read_to_string(&certificate)? + &fs::read_to_string(&key)?;
        fs::write(keys.join("both.pem"), both)?;
        let client = "openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMinProtocol = TLSv1.3\n\
                      Ciphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";
        fs::write(&openssl, client)?;
        Ok(Self { files: Files { scratch, certificate, key }, gateway, grpc_port: free_port()?, openssl })
    }

    pub fn upstream(&self) -> Result<Server> {
        let (run, port) = (folder(&self.files.scratch, "upstream")?, free_port()?);
        let large = run.join("large");
        fs::write(&large, "x".repeat(LARGE_BODY))?;
        fs::write(run.join("reply"), reply())?;
        let ports = [("@PORT@", port.to_string()), ("@GRPC_PORT@", self.grpc_port.to_string())];
        let config = render("upstream.nginx.conf", &run, &ports)?;
        start_nginx("upstream", LOAD_CPU, &run, &config, port)
    }

    pub fn nginx(&self, scenario: &Scenario, upstream: u16) -> Result<Server> {
        let (run, port) = (folder(&self.files.scratch, "nginx")?, free_port()?);
        let options = match scenario.front {
            Front::Http1 => "",
            Front::Tls => " ssl",
            Front::Http2Tls => " ssl http2",
            Front::Http2 => " http2",
        };
        let mut tls = String::new();
        if scenario.front.is_tls() {
            tls = format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; ssl_session_tickets off;",
                self.files.certificate.display(),
                self.files.key.display()
            );
        }
        let location = |route| format!("location {} {{ proxy_pass http://service; }}\n", prefix(route));
        let routes = match scenario.routes {
            0 => "location / { proxy_pass http://service; }".to_owned(),
            count => (0..count).map(location).collect(),
        };
        let values = [
            ("@PORT@", port.to_string()),
            ("@UPSTREAM@", upstream.to_string()),
            ("@LISTEN@", options.to_owned()),
            ("@TLS@", tls),
            ("@ROUTES@", routes),
        ];
        start_nginx("nginx", PROXY_CPU, &run, &render("proxy.nginx.conf", &run, &values)?, port)
    }

    pub fn haproxy(&self, scenario: &Scenario, upstream: u16) -> Result<Server> {
        let (run, port) = (folder(&self.files.scratch, "haproxy")?, free_port()?);
        let tls = |alpn| {
            let file = self.files.certificate.with_file_name("both.pem");
            format!("ssl crt {} ssl-min-ver TLSv1.3 no-tls-tickets alpn {alpn}", file.display())
        };
        let bind = match scenario.front {
            Front::Http1 => String::new(),
            Front::Tls => tls("http/1.1"),
            Front::Http2Tls => tls("h2"),
            Front::Http2 => "proto h2".to_owned(),
        };
        let map = run.join("routes.map");
        let entries: String = (0..scenario.routes).map(|route| format!("{} service\n", prefix(route))).collect();
        fs::write(&map, entries)?;
        let backend = match scenario.routes {
            0 => "default_backend service".to_owned(),
            _ => format!("use_backend %[path,map_beg({})]", map.display()),
        };
        let values = [
            ("@PORT@", port.to_string()),
            ("@UPSTREAM@", upstream.to_string()),
            ("@BIND@", bind),
            ("@BACKEND@", backend),
        ];
        let config = render("proxy.haproxy.cfg", &run, &values)?;
        let haproxy = find("haproxy").context("haproxy is not installed")?;
        let mut command = pinned(PROXY_CPU, &haproxy);
        command.args(["-db", "-f"]).arg(config);
        Server::start("haproxy", command, port, &run.join("output.log"))
    }

    pub fn gateway(&self, scenario: &Scenario, upstream: u16) -> Result<Server> {
        self.gateway_with(scenario, upstream, &Gateway::default())
    }

    /// Empties a folder for compiled plugins.
    pub fn forget_compiled(&self, cache: &str) -> Result<()> {
        folder(&self.files.scratch, cache).map(drop)
    }

    pub fn gateway_with(&self, scenario: &Scenario, upstream: u16, how: &Gateway<'_>) -> Result<Server> {
        let port = free_port()?;
        let run = folder(&self.files.scratch, &format!("gateway-{port}"))?;
        let mut tls = String::new();
        if scenario.front.is_tls() {
            let (certificate, key) = (self.files.certificate.display(), self.files.key.display());
            tls = format!("tls: {{ certificates: [{{ cert: {certificate}, key: {key} }}] }}");
        }
        let route = |route| {
            let path = format!("{}{{*rest}}", prefix(route));
            format!("  - {{ name: r{route}, match: {{ path: \"{path}\" }}, upstream: service }}\n")
        };
        let routes = match scenario.routes {
            0 => "  - { name: everything, match: { path: \"/{*rest}\" }, upstream: service }".to_owned(),
            count => (0..count).map(route).collect(),
        };
        let remember = if scenario.key == JWT_REMEMBERED { "1000" } else { "0" };
        let values = [
            ("@PORT@", port.to_string()),
            ("@UPSTREAM@", upstream.to_string()),
            ("@TLS@", tls),
            ("@ROUTES@", routes),
            ("@TOKEN_CACHE_SIZE@", remember.to_owned()),
            ("@DESCRIPTORS@", descriptors().display().to_string()),
        ];
        let config = render(scenario.config, &run, &values)?;
        if how.workers != 1 {
            let text = fs::read_to_string(&config)?.replace("workers: 1", &format!("workers: {}", how.workers));
            fs::write(&config, text)?;
        }
        let mut command = pinned(how.cpus.unwrap_or(PROXY_CPU), &self.gateway);
        if let Some(cache) = how.cache {
            command.env("XDG_CACHE_HOME", self.files.scratch.join(cache));
        }
        command.args(["run", "-c"]).arg(config);
        Server::start("gateway", command, port, &run.join("output.log"))
    }
}

/// Of the service in the scenario `grpc-json`.
pub fn descriptors() -> PathBuf {
    root().join("examples/bookstore.binpb")
}

/// A list of eight books as gRPC frames it, of which the JSON has as many bytes as the other scenario's small bodies.
fn reply() -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        let mut length = bytes.len();
        let mut field = vec![tag << 3 | 2];
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(bytes);
        field
    };
    const BOOKS: usize = 8;
    let name = |number: usize| format!("shelves/3/books/{number}");
    let around = "{\"books\":[]}".len() + BOOKS * "{\"name\":\"\",\"title\":\"\"},".len() - 1;
    let names: usize = (0..BOOKS).map(|number| name(number).len()).sum();
    let titles = SMALL_BODY - around - names;
    let title = |number: usize| titles / BOOKS + usize::from(number < titles % BOOKS);
    let message: Vec<u8> = (0..BOOKS)
        .flat_map(|number| {
            let book = [field(1, name(number).as_bytes()), field(2, "x".repeat(title(number)).as_bytes())];
            field(1, &book.concat())
        })
        .collect();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

pub fn prefix(route: usize) -> String {
    format!("/r{route:05}/")
}

fn start_nginx(name: &str, cpu: &str, run: &Path, config: &Path, port: u16) -> Result<Server> {
    let nginx = find("nginx").context("nginx is not installed")?;
    let mut command = pinned(cpu, &nginx);
    command.arg("-p").arg(run).arg("-e").arg(run.join("error.log")).arg("-c").arg(config);
    Server::start(name, command, port, &run.join("output.log"))
}

pub fn pinned(cpu: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).arg(program);
    command
}

/// An empty folder for the files of one server.
pub fn folder(scratch: &Path, name: &str) -> Result<PathBuf> {
    let folder = scratch.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Fills in a template of `benches/` and returns the path of the result.
pub fn render(template: &str, run: &Path, values: &[(&str, String)]) -> Result<PathBuf> {
    let path = root().join("benches").join(template);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = text.replace("@RUN@", &run.display().to_string()).replace("@BODY@", &"x".repeat(SMALL_BODY));
    for (name, value) in values {
        text = text.replace(name, value);
    }
    let out = run.join(template);
    fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(out)
}
