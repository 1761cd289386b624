//! What is measured, and the ratio that the gateway is held to.

/// How clients speak to the proxy. Upstreams are always spoken to in HTTP/1.1 without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Http1,
    Tls,
    Http2Tls,
    Http2,
}

impl Front {
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Http2Tls)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }
}

/// The highest CPU time per request that is good enough, in nginx's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    Ratio(f64),
    /// So much more than the gateway's own ratio in the scenario `plain`.
    AbovePlain(f64),
    None,
}

pub struct Scenario {
    /// What `--only` takes.
    pub key: &'static str,
    pub name: &'static str,
    pub front: Front,
    pub path: &'static str,
    pub body_bytes: usize,
    /// The gateway's configuration, in `benches/`. nginx and HAProxy only forward.
    pub config: &'static str,
    pub header: Option<&'static str>,
    /// What a request without the header is answered with.
    pub status_without: u16,
    /// How many routes there are to hit at random; 0 is one route for everything.
    pub routes: usize,
    pub target: Target,
}

/// HS256 for the secret in `benches/five-plugins.yaml`: issuer, audience, a subject, and an end in 2100.
const TOKEN: &str = "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJiZW5jaCIsImF1ZCI6ImFwaSI\
    sInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.-OzBNezypPYwV7mv3W_yHBknJXsljevT-Ii3YN5wyf4";

/// Tokens are remembered in this scenario.
pub const JWT_REMEMBERED: &str = "jwt-remembered";

/// RS256 for the key in `benches/jwt.yaml`: the same claims.
const SIGNED: &str = "Authorization: Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImJlbmNoIiwidHlwIjoiSldUIn0.eyJpc3MiOiJiZW5jaCIsImF1ZC\
    I6ImFwaSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.iJn8JTQp7Bxk00_DGJ2xG1yGclzeu4MY-Yk7xQ1K5iA9WSD2buJ\
    n0Pid_ZZFduwh9EkHEc4tb41UfpddLSPmbGNZdaksvM6-TVrIdFgQHsKFraxQDTzrDiBk6qkopsokXWy9agyrfdl9zDY2H-xQQWBYQ57\
    wH_wH_s9OeBvrmx3sNcYKL_dc8rcBZcIoBs873DlHC9RTcR-X4xRNvi2Xq1vcOGb174ZLDnCveY5rQMVuDbZV5ufBwPv9UZLowI9exig\
    PIUA1As89BX4R9JbI3PlJaDhdHk_CVDbswj3lMt-ehtXninjfy-hAGSM41-ME-od3fabNw6FWECLE_BDyAA";

const PLAIN: Scenario = Scenario {
    key: "plain",
    name: "plain proxy",
    front: Front::Http1,
    path: "/bench",
    body_bytes: 1024,
    config: "plain.yaml",
    header: None,
    status_without: 200,
    routes: 0,
    target: Target::Ratio(1.05),
};

/// A list of books, as in `examples/bookstore.proto`.
pub const GRPC_JSON: &str = "grpc-json";

pub const SCENARIOS: [Scenario; 15] = [
    PLAIN,
    Scenario {
        key: "large",
        name: "100 KiB",
        path: "/large",
        body_bytes: 100 * 1024,
        target: Target::Ratio(0.55),
        ..PLAIN
    },
    Scenario { key: "tls", name: "TLS 1.3, kept alive", front: Front::Tls, target: Target::Ratio(1.2), ..PLAIN },
    Scenario {
        key: "handshake",
        name: "TLS 1.3, a handshake a request",
        front: Front::Tls,
        header: Some("Connection: close"),
        target: Target::Ratio(0.85),
        ..PLAIN
    },
    Scenario { key: "h2", name: "HTTP/2 over TLS", front: Front::Http2Tls, target: Target::Ratio(1.2), ..PLAIN },
    Scenario { key: "h2c", name: "HTTP/2 in clear text", front: Front::Http2, target: Target::Ratio(1.1), ..PLAIN },
    Scenario {
        key: "one-plugin",
        name: "one plugin",
        config: "one-plugin.yaml",
        header: Some("X-From: bench"),
        target: Target::AbovePlain(0.1),
        ..PLAIN
    },
    Scenario {
        key: "five-plugins",
        name: "five plugins",
        config: "five-plugins.yaml",
        header: Some(TOKEN),
        status_without: 401,
        target: Target::None,
        ..PLAIN
    },
    Scenario {
        key: JWT_REMEMBERED,
        name: "jwt, rate-limit, transform",
        config: "jwt.yaml",
        header: Some(SIGNED),
        status_without: 401,
        target: Target::Ratio(1.8),
        ..PLAIN
    },
    Scenario {
        key: "jwt-verified",
        name: "the same, every token verified",
        config: "jwt.yaml",
        header: Some(SIGNED),
        status_without: 401,
        target: Target::Ratio(2.8),
        ..PLAIN
    },
    Scenario {
        key: "resilient",
        name: "health checks, retries, circuit breaker",
        config: "resilient.yaml",
        target: Target::AbovePlain(0.05),
        ..PLAIN
    },
    Scenario {
        key: "cache-hit",
        name: "a response that is kept",
        config: "cache.yaml",
        target: Target::AbovePlain(0.0),
        ..PLAIN
    },
    Scenario {
        key: GRPC_JSON,
        name: "JSON to a gRPC service",
        path: "/v1/shelves/3/books?pageSize=8",
        config: "grpc-json.yaml",
        target: Target::None,
        ..PLAIN
    },
    Scenario { key: "routes-1k", name: "1,000 routes", routes: 1_000, target: Target::AbovePlain(0.05), ..PLAIN },
    Scenario { key: "routes-10k", name: "10,000 routes", routes: 10_000, target: Target::AbovePlain(0.05), ..PLAIN },
];

impl Scenario {
    /// Where one request is answered; with many routes, by one of them.
    pub fn url(&self, port: u16) -> String {
        let scheme = if self.front.is_tls() { "https" } else { "http" };
        let path = if self.routes > 0 { "/r00000/item" } else { self.path };
        format!("{scheme}://127.0.0.1:{port}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_found_by_one_key_only() {
        let mut keys: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), SCENARIOS.len());
    }
}
