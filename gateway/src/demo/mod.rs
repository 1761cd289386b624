//! `gateway demo`: an example configuration, with an upstream of its own in this process, that answers at once.

mod token;
mod upstream;

use std::{fmt::Write, io, net::SocketAddr, path::PathBuf};

pub use upstream::EchoUpstream;

use crate::app::Source;

/// The example, as `examples/` would have it; the addresses are filled in at start.
pub const CONFIG: &str = include_str!("demo.yaml");

/// What `CONFIG` says, to be replaced by what is.
const LISTEN: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9900";
const UPSTREAM: &str = "127.0.0.1:9000";
/// The shared secret of the example's tokens.
const SECRET: &[u8] = b"a demo secret of thirty-two bytes";

/// The running upstream, as long as it lives.
pub struct Demo {
    config: String,
    token: String,
    _upstream: EchoUpstream,
}

impl Demo {
    /// Starts the upstream; the ports are where the gateway is to listen, for clients and for operators.
    pub fn start(port: u16, admin: u16) -> io::Result<Self> {
        let upstream = EchoUpstream::start(([127, 0, 0, 1], 0).into())?;
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port)).to_string();
        let config = CONFIG
            .replace(LISTEN, &here(port))
            .replace(ADMIN, &here(admin))
            .replace(UPSTREAM, &upstream.address().to_string());
        Ok(Self { config, token: token::for_demo(SECRET), _upstream: upstream })
    }

    pub fn source(&self) -> Source {
        Source::Text { text: self.config.clone(), base: PathBuf::from(".") }
    }

    /// The banner: addresses, routes, and commands to copy.
    pub fn welcome(&self, address: SocketAddr, admin: Option<SocketAddr>) -> String {
        let mut text = format!("\nThe gateway listens on http://{address}, in front of an echo service. Try:\n\n");
        let token = &self.token;
        let lines = [
            (
                "a request passes through; the response tells what the service saw",
                format!("curl 'http://{address}/echo/hello?x=1'"),
            ),
            (
                "`transform` renames, adds and removes, with values from the path",
                format!("curl -i http://{address}/users/42"),
            ),
            (
                "`rate-limit` answers 429 from the sixth request in ten seconds on",
                format!(
                    "for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://{address}/limited; done"
                ),
            ),
            ("`jwt` wants a token", format!("curl -i http://{address}/private")),
            ("and hands its claims on", format!("curl http://{address}/private -H 'authorization: Bearer {token}'")),
            ("nothing is there", format!("curl -i http://{address}/nowhere")),
        ];
        for (what, line) in lines {
            let _ = writeln!(text, "  # {what}\n  {line}\n");
        }
        if let Some(admin) = admin {
            let _ = writeln!(text, "The dashboard is at http://{admin}/ in a browser.\n");
        }
        text.push_str("The lines below are the access log, by the plugin of that name. `gateway demo --print-config` shows\nthe configuration. Ctrl-C ends it.\n\n");
        text
    }
}
