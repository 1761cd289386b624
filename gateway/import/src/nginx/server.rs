//! `server { … }`: listeners, names, certificates and locations.

use serde_json::{Map, Value, json};

use super::{
    location::{self, Server},
    parse::Directive,
    settings::Settings,
    zones::Zones,
};
use crate::draft::{Draft, Listener};

pub(super) fn translate(line: usize, block: &[Directive], http: &Settings, zones: &Zones, draft: &mut Draft) {
    let settings = http.within(block, zones, draft, is_of_server);
    let mut hosts = Vec::new();
    for directive in block.iter().filter(|directive| directive.name == "server_name") {
        for name in &directive.args {
            match name.as_str() {
                "_" | "" | "\"\"" | "localhost" => {}
                name if name.starts_with('~') => {
                    draft.note(directive.line, format!("`{name}`: hosts are not regular expressions"))
                }
                name if name.ends_with(".*") => {
                    draft.note(directive.line, format!("`{name}`: only the first label of a host can be `*`"))
                }
                // `.example.com` is the name and those below it.
                name if name.starts_with('.') => hosts.extend([name[1..].to_owned(), format!("*{name}")]),
                name => hosts.push(name.to_ascii_lowercase()),
            }
        }
    }
    let (listeners, is_default) = listen(line, block, draft);
    if is_default {
        hosts.clear();
    }
    location::translate(&Server { line, listeners, hosts, settings: &settings, zones }, block, draft);
}

/// Adds the listeners. Returns their addresses, and whether the server is the default one of one of them.
fn listen(line: usize, block: &[Directive], draft: &mut Draft) -> (Vec<String>, bool) {
    let tls = tls(block, draft);
    let mut is_default = false;
    let mut addresses = Vec::new();
    let listens: Vec<_> = block.iter().filter(|directive| directive.name == "listen").collect();
    for directive in &listens {
        let Some(address) = directive.args.first() else { continue };
        let has = |option: &str| directive.args.iter().any(|arg| arg == option);
        is_default |= has("default_server");
        let Some(address) = address_of(address) else {
            draft.note(directive.line, format!("`listen {address}`: a listener has an IP address and a port"));
            continue;
        };
        let mut wanted = None;
        if has("ssl") || has("quic") || address.ends_with(":443") {
            match &tls {
                Some(tls) => wanted = Some(tls.clone()),
                None => draft.note(directive.line, format!("`listen {address}` has TLS and no `ssl_certificate`")),
            }
        }
        if has("quic") {
            draft.note(directive.line, "`quic`: HTTP/3 is not supported");
            continue;
        }
        if has("proxy_protocol") {
            let text =
                "`proxy_protocol`: add `proxy-protocol: { from: [NETWORK] }` with the addresses of the load balancers";
            draft.note(directive.line, text);
        }
        addresses.push(address.clone());
        draft.listen(Listener { line: directive.line, address, tls: wanted });
    }
    if listens.is_empty() {
        addresses.push("0.0.0.0:80".to_owned());
        draft.listen(Listener { line, address: "0.0.0.0:80".to_owned(), tls: None });
    }
    (addresses, is_default)
}

fn address_of(listen: &str) -> Option<String> {
    if listen.starts_with("unix:") {
        return None;
    }
    if listen.parse::<u16>().is_ok() {
        return Some(format!("0.0.0.0:{listen}"));
    }
    let listen = listen.replace("*:", "0.0.0.0:").replace("localhost", "127.0.0.1");
    let with_port = super::upstream::with_port(&listen, 80);
    with_port.parse::<std::net::SocketAddr>().is_ok().then_some(with_port)
}

fn tls(block: &[Directive], draft: &mut Draft) -> Option<Value> {
    let all = |name: &str| -> Vec<_> {
        block.iter().filter(|directive| directive.name == name).filter_map(|directive| directive.args.first()).collect()
    };
    let one = |name: &str| block.iter().find(|directive| directive.name == name);
    let certificates: Vec<_> = all("ssl_certificate")
        .into_iter()
        .zip(all("ssl_certificate_key"))
        .map(|(cert, key)| json!({ "cert": cert, "key": key }))
        .collect();
    if certificates.is_empty() {
        return None;
    }
    let mut tls = Map::from_iter([("certificates".to_owned(), Value::from(certificates))]);
    if let Some(protocols) = one("ssl_protocols") {
        let has = |name: &str| protocols.args.iter().any(|arg| arg == name);
        if has("TLSv1") || has("TLSv1.1") {
            draft.note(protocols.line, "TLS 1.0 and 1.1 are not supported");
        }
        if has("TLSv1.3") && !has("TLSv1.2") {
            tls.insert("min-version".to_owned(), json!("1.3"));
        }
    }
    if let (Some(ca), Some(verify)) = (one("ssl_client_certificate"), one("ssl_verify_client")) {
        let mode = match verify.args.first().map(String::as_str) {
            Some("on") => Some("required"),
            Some("optional") => Some("optional"),
            Some("off") | None => None,
            Some(other) => {
                draft.note(verify.line, format!("`ssl_verify_client {other}`: certificates are always verified"));
                Some("optional")
            }
        };
        if let Some(mode) = mode {
            let ca: Vec<_> = ca.args.iter().take(1).collect();
            tls.insert("client-certificates".to_owned(), json!({ "ca": ca, "mode": mode }));
        }
    }
    Some(tls.into())
}

/// What `translate` or the locations look at.
fn is_of_server(name: &str) -> bool {
    matches!(
        name,
        "listen"
            | "server_name"
            | "location"
            | "return"
            | "rewrite"
            | "if"
            | "root"
            | "try_files"
            | "error_page"
            | "ssl_certificate"
            | "ssl_certificate_key"
            | "ssl_protocols"
            | "ssl_client_certificate"
            | "ssl_verify_client"
            | "proxy_pass"
            | "ssl"
            | "set_real_ip_from"
            | "real_ip_header"
            | "real_ip_recursive"
    )
}
