//! `gateway plugin dev`: a plugin in a gateway while it is written.

use std::{
    fs,
    io::{IsTerminal, stderr},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{DevArgs, Failed, Logging, complain, run::overrides};
use crate::{
    app::{Gateway, Options, Source},
    demo::{DemoUpstream, Role},
    project::{self, Purpose, Sources},
};

/// How often it is looked whether Ctrl-C has ended the gateway.
const GLANCE: Duration = Duration::from_millis(200);
/// For a service on this machine to take a connection.
const REACHED: Duration = Duration::from_millis(300);

pub(super) fn dev(args: &DevArgs, logging: &Logging) -> Result<(), Failed> {
    let file = args.config.clone().unwrap_or_else(|| args.folder.join("gateway.yaml"));
    if !file.is_file() {
        return Err(Failed::Misunderstood(format!("there is no file {}", file.display())));
    }
    // Before the first build, so that nothing is missed.
    let mut sources = Sources::watch(&args.folder).map_err(|error| Failed::Stopped(error.to_string()))?;
    while !build(&args.folder) {
        complain("waiting for a change");
        while !sources.changed_within(GLANCE) {}
    }
    let _services = stand_ins(&file)?;
    let gateway = Gateway::start(Options {
        source: Source::File(file),
        signals: true,
        watch: false,
        code_cache: true,
        logging: Some(overrides(logging)),
        timers: Arc::default(),
    })?;
    for address in gateway.addresses() {
        good(format_args!("serving on http://{address}; save a file to build and load it again, Ctrl-C to end"));
    }
    while !gateway.has_ended() {
        if !sources.changed_within(GLANCE) || !build(&args.folder) {
            continue;
        }
        // Requests in progress end with the plugin that they began with.
        match gateway.reload() {
            Ok(()) => good("loaded"),
            Err(error) => bad(format_args!("what was serving keeps serving:\n{error}")),
        }
    }
    Ok(())
}

/// Whether there is a new component.
fn build(folder: &Path) -> bool {
    let began = Instant::now();
    match project::build(folder, Purpose::Writing, |line| faint(format_args!("$ {line}"))) {
        Ok(built) => {
            let facts = &built.facts;
            let (size, took) = (facts.size.div_ceil(1024), began.elapsed().as_secs_f64());
            good(format_args!("{} {}: {size} KiB, built in {took:.1} s", facts.name, facts.version));
            true
        }
        Err(why) => {
            bad(why);
            false
        }
    }
}

/// Where a service of the configuration on this machine does not listen, one that answers with what it was asked does.
fn stand_ins(file: &Path) -> Result<Vec<DemoUpstream>, Failed> {
    let text = fs::read_to_string(file)?;
    // Problems are reported when the gateway starts.
    let Ok(typed) = serde_yaml::from_str::<serde_json::Value>(&text) else { return Ok(Vec::new()) };
    let upstreams = typed.get("upstreams").and_then(|upstreams| upstreams.as_object());
    let endpoints = upstreams.into_iter().flat_map(|all| all.values());
    let endpoints = endpoints.filter_map(|upstream| upstream.get("endpoints")?.as_array()).flatten();
    let mut services = Vec::new();
    for endpoint in endpoints.filter_map(|endpoint| endpoint.as_str().or_else(|| endpoint.get("url")?.as_str())) {
        let address = endpoint.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) else { continue };
        if !address.ip().is_loopback() || TcpStream::connect_timeout(&address, REACHED).is_ok() {
            continue;
        }
        services.push(DemoUpstream::start(address, Role::Echo)?);
        good(format_args!("nothing listened on {address}: there is a service now that answers with what it was asked"));
    }
    Ok(services)
}

fn good(text: impl std::fmt::Display) {
    painted("32", text);
}

fn bad(text: impl std::fmt::Display) {
    painted("31", text);
}

fn faint(text: impl std::fmt::Display) {
    painted("2", text);
}

/// In colour on a terminal, unless <https://no-color.org> asks for none.
fn painted(code: &str, text: impl std::fmt::Display) {
    let plain = !stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain { complain(text) } else { complain(format_args!("\x1b[{code}m{text}\x1b[0m")) }
}
