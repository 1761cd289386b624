//! `gateway demo`: an example configuration with services and clients of its own in this process.

mod certificate;
mod token;
mod traffic;
mod upstream;

use std::{fmt::Write, fs, io, net::SocketAddr, path::PathBuf};

use tempfile::TempDir;

pub use upstream::{DemoUpstream, Role};

use crate::app::Source;
use traffic::{Target, Traffic};

/// The example, as `examples/` would have it; the addresses are filled in at start.
pub const CONFIG: &str = include_str!("demo.yaml");

/// What `CONFIG` says, to be replaced by what is.
const LISTEN: &str = "127.0.0.1:8080";
const LISTEN_TLS: &str = "127.0.0.1:8443";
const ADMIN: &str = "127.0.0.1:9900";
const UPSTREAMS: [(&str, Role); 4] = [
    ("127.0.0.1:9000", Role::Echo),
    ("127.0.0.1:9001", Role::Shop),
    ("127.0.0.1:9002", Role::Canary),
    ("127.0.0.1:9003", Role::Unstable),
];
/// The listener with TLS is a comment, because its files are made at start.
const TLS_COMMENT: [(&str, &str); 2] = [("  # - address: 127", "  - address: 127"), ("  #   tls:", "    tls:")];
const SINK: &str = "access: stdout";
const ACCESS_LOG: &str = "access.log";
/// The shared secret of the example's tokens.
const SECRET: &[u8] = b"a demo secret of thirty-two bytes";

/// Where the demo's gateway listens, on the loopback interface; 0 lets the system choose.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub https: u16,
    pub admin: u16,
}

/// The services, as long as it lives, and the clients.
pub struct Demo {
    config: String,
    token: String,
    folder: TempDir,
    has_traffic: bool,
    _upstreams: Vec<DemoUpstream>,
    traffic: Option<Traffic>,
}

impl Demo {
    /// Starts the services and makes the files that the configuration names.
    ///
    /// # Errors
    ///
    /// No port or no temporary folder.
    pub fn start(ports: Ports, has_traffic: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gateway-demo-").tempdir()?;
        certificate::write(folder.path())?;
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port)).to_string();
        let mut config = CONFIG.to_owned();
        let mut replace = |from: &str, to: &str| config = config.replace(from, to);
        let mut upstreams = Vec::new();
        for (address, role) in UPSTREAMS {
            let upstream = DemoUpstream::start(([127, 0, 0, 1], 0).into(), role)?;
            replace(address, &upstream.address().to_string());
            upstreams.push(upstream);
        }
        for (comment, listener) in TLS_COMMENT {
            replace(comment, listener);
        }
        replace(LISTEN, &here(ports.http));
        replace(LISTEN_TLS, &here(ports.https));
        replace(ADMIN, &here(ports.admin));
        if has_traffic {
            // The clients' requests would fill the terminal.
            replace(SINK, &format!("access: {{ file: {ACCESS_LOG} }}"));
        }
        let token = token::for_demo(SECRET);
        Ok(Self { config, token, folder, has_traffic, _upstreams: upstreams, traffic: None })
    }

    pub fn source(&self) -> Source {
        Source::Text { text: self.config.clone(), base: self.folder.path().to_owned() }
    }

    /// Starts the clients, if the demo has any. The addresses are those of the gateway, first without and then with TLS.
    ///
    /// # Errors
    ///
    /// No thread or no certificate.
    pub fn serve_clients(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        if let (true, Some(&http)) = (self.has_traffic, addresses.first()) {
            let certificate = fs::read(self.file(certificate::CERTIFICATE))?;
            let https = addresses.get(1).map(|address| (*address, certificate));
            self.traffic = Some(Traffic::start(Target { http, https, token: self.token.clone() })?);
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The banner: addresses, routes, and commands to copy.
    pub fn welcome(&self, addresses: &[SocketAddr], admin: Option<SocketAddr>) -> String {
        let [address, rest @ ..] = addresses else { return String::new() };
        let mut text = format!("\nThe gateway listens on http://{address}, in front of services of its own. Try:\n\n");
        let token = &self.token;
        let mut lines = vec![
            ("The response shows what the service received", format!("curl 'http://{address}/echo/hello?x=1'")),
            (
                "`transform` changes path and headers, with values from the path",
                format!("curl -i http://{address}/users/42"),
            ),
            (
                "`rate-limit` responds with 429 after five requests in ten seconds, of this computer's clients together",
                format!(
                    "for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://{address}/limited; done"
                ),
            ),
            ("`jwt` requires a token", format!("curl -i http://{address}/private")),
            (
                "and passes its claims to the service as headers",
                format!("curl http://{address}/private -H 'authorization: Bearer {token}'"),
            ),
            (
                "`cache`: the service takes 300 ms, the second response none",
                format!("curl -i http://{address}/catalogue/1"),
            ),
            (
                "A canary gets one request in five; its failing endpoint is not noticed",
                format!("curl http://{address}/shop/a"),
            ),
            ("No route matches", format!("curl -i http://{address}/nowhere")),
        ];
        if let [https, ..] = rest {
            let certificate = self.file(certificate::CERTIFICATE);
            let line = format!("curl --cacert {} https://localhost:{}/echo/tls", certificate.display(), https.port());
            lines.insert(1, ("The same with TLS and HTTP/2", line));
        }
        for (what, line) in lines {
            let _ = writeln!(text, "  # {what}\n  {line}\n");
        }
        if let Some(admin) = admin {
            let _ = writeln!(text, "The dashboard is at http://{admin}/ in a browser.");
        }
        if self.has_traffic {
            let _ = writeln!(
                text,
                "Built-in clients send ten requests per second, some of which fail; `--no-traffic` turns them off. The access log:\n\n  \
                 tail -f {}\n",
                self.file(ACCESS_LOG).display()
            );
        } else {
            text.push_str("The lines below are the access log.\n");
        }
        text.push_str("`gateway demo --print-config` prints the configuration. Ctrl-C ends the demo.\n\n");
        text
    }
}
