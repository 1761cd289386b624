//! `nginx.conf`.

mod location;
mod parse;
mod server;
mod settings;
mod upstream;
mod variables;
mod zones;

use parse::Directive;
use settings::{Settings, shown};
use zones::Zones;

use crate::{ImportError, draft::Draft};

/// Whether a text has a block of this name, for `Format::detect`.
pub(crate) fn has_block(text: &str, name: &str) -> bool {
    let begins = |line: &str| {
        let rest = line.trim_start().strip_prefix(name)?;
        (rest.trim_start().starts_with('{') || rest.starts_with(' ') && rest.trim_end().ends_with('{')).then_some(())
    };
    text.lines().any(|line| begins(line).is_some())
}

pub(crate) fn translate(text: &str) -> Result<Draft, ImportError> {
    let directives = parse::parse(text)?;
    let mut draft = Draft::default();
    let mut http = Vec::new();
    for directive in directives {
        match (directive.name.as_str(), directive.block) {
            ("http", Some(block)) => http.extend(block),
            // A file of `sites-enabled` has servers without `http`.
            (name @ ("server" | "upstream" | "map" | "geo" | "split_clients"), block) => {
                http.push(Directive { name: name.to_owned(), block, ..directive });
            }
            ("limit_req_zone" | "limit_conn_zone", block) => http.push(Directive { block, ..directive }),
            ("stream" | "mail", _) => {
                draft.note(directive.line, format!("`{}`: only HTTP is proxied", directive.name));
            }
            (name, _) if OF_THE_PROCESS.contains(&name) => {}
            (_, block) => http.push(Directive { block, ..directive }),
        }
    }
    let mut zones = Zones::default();
    for directive in &http {
        match directive.name.as_str() {
            "limit_req_zone" | "limit_conn_zone" => zones.define(directive),
            "upstream" => upstream::translate(directive, &mut draft),
            "set_real_ip_from" => draft.trusted_proxies.extend(directive.args.first().cloned()),
            "map" | "geo" | "split_clients" if !is_connection_upgrade(directive) => {
                draft.note(directive.line, format!("`{}`: no counterpart", shown(directive)));
            }
            _ => {}
        }
    }
    note_implicit_defaults(&http, &mut draft);
    let settings = Settings::default().within(&http, &zones, &mut draft, is_of_http);
    for server in http.iter().filter(|directive| directive.name == "server") {
        if let Some(block) = &server.block {
            server::translate(server.line, block, &settings, &zones, &mut draft);
        }
    }
    draft.complete("the file has no `server` with a `proxy_pass` or a `return`")
}

/// Without `default_server`, nginx gives requests with an unknown host to the first server of the address.
fn note_implicit_defaults(http: &[Directive], draft: &mut Draft) {
    let servers: Vec<_> = http.iter().filter(|directive| directive.name == "server").collect();
    let listens = |server: &Directive| -> Vec<(String, bool)> {
        let listens = server.block.iter().flatten().filter(|directive| directive.name == "listen");
        let address = |listen: &Directive| {
            Some((listen.args.first()?.clone(), listen.args.iter().any(|arg| arg == "default_server")))
        };
        listens.filter_map(address).collect()
    };
    let all: Vec<_> = servers.iter().map(|server| listens(server)).collect();
    let mut seen: Vec<&str> = Vec::new();
    for (server, own) in servers.iter().zip(&all) {
        let has_name = server.block.iter().flatten().any(|directive| {
            directive.name == "server_name"
                && directive.args.iter().any(|name| !matches!(name.as_str(), "_" | "" | "localhost"))
        });
        for (address, _) in own {
            let is_first = !seen.contains(&address.as_str());
            seen.push(address);
            let has_default = all.iter().flatten().any(|(other, is_default)| other == address && *is_default);
            if is_first && has_name && !has_default {
                let text = "`server`: nginx also uses it for requests with other hosts; here they get 404. Remove `host` from its routes to keep this";
                draft.note(server.line, text);
            }
        }
    }
}

/// Directives outside `http` about how nginx runs.
const OF_THE_PROCESS: &[&str] = &[
    "daemon",
    "env",
    "error_log",
    "events",
    "load_module",
    "lock_file",
    "master_process",
    "pcre_jit",
    "pid",
    "user",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_processes",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
];

fn is_of_http(name: &str) -> bool {
    matches!(
        name,
        "server"
            | "upstream"
            | "limit_req_zone"
            | "limit_conn_zone"
            | "set_real_ip_from"
            | "real_ip_header"
            | "map"
            | "geo"
            | "split_clients"
            | "real_ip_recursive"
    )
}

/// `map $http_upgrade $connection_upgrade`, which the gateway does by itself.
fn is_connection_upgrade(map: &Directive) -> bool {
    map.args.first().is_some_and(|variable| variable == "$http_upgrade")
}
