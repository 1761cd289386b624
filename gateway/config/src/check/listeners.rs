//! Where clients connect.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use gateway_core::model;

use super::{certificates, files, names::cut, report::Report, settings};
use crate::{
    file::{ClientCertificates, File, ListenerTls, ProxyProtocol},
    part::Part,
    yaml::join,
};

pub(super) fn listeners(file: &File, report: &mut Report<'_>) -> Vec<model::Listener> {
    let mut seen = HashMap::new();
    let mut names = HashMap::new();
    let mut listeners = Vec::new();
    for (place, typed) in report.parts(&file.listeners, "/listeners") {
        let at = join(&place, "name");
        let name = typed.name.as_ref().and_then(|name| report.part(name, &at));
        if let Some(name) = name {
            let line = report.line(&at);
            if let Some(first) = names.insert(name.as_str(), line) {
                report.value(&at, format!("listener `{}` is also on line {first}", cut(name)));
            }
        }
        let at = join(&place, "address");
        let written = report.part(&typed.address, &at).map(String::as_str).unwrap_or_default();
        let name: Arc<str> = name.map_or(written, String::as_str).into();
        let address = report.part(&typed.address, &at).and_then(|text| address(text, &at, &mut seen, report));
        let tls = typed.tls.as_ref().and_then(|part| tls(part, &join(&place, "tls"), report));
        let at = join(&place, "proxy-protocol");
        let proxy_protocol = typed.proxy_protocol.as_ref().and_then(|part| proxy_protocol(part, &at, report));
        if let Some(address) = address {
            listeners.push(model::Listener { name, address, tls, proxy_protocol });
        }
    }
    listeners
}

pub(super) fn address(
    text: &str,
    at: &str,
    seen: &mut HashMap<SocketAddr, usize>,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let expected = "expected an IP address and a port, such as `0.0.0.0:8080` or `[::1]:8080`";
        report.value(at, format!("{expected}, found `{}`", cut(text)));
        return None;
    };
    // Port 0 is another one each time.
    if address.port() != 0 {
        let line = report.line(at);
        if let Some(first) = seen.insert(address, line) {
            report.value(at, format!("`{address}` is also the address of the listener on line {first}"));
        }
    }
    Some(address)
}

pub(super) fn tls(part: &Part<ListenerTls>, place: &str, report: &mut Report<'_>) -> Option<model::ListenerTls> {
    let typed = report.part(part, place)?;
    let certificates = certificates::of_listener(&typed.certificates, &join(place, "certificates"), report);
    let min_version = *report.part(&typed.min_version, &join(place, "min-version"))?;
    let at = join(place, "client-certificates");
    let client_certificates =
        typed.client_certificates.as_ref().and_then(|part| client_certificates(part, &at, report));
    Some(model::ListenerTls { certificates, min_version, client_certificates })
}

fn client_certificates(
    part: &Part<ClientCertificates>,
    place: &str,
    report: &mut Report<'_>,
) -> Option<model::ClientCertificates> {
    let typed = report.part(part, place)?;
    let mut ca = Vec::new();
    for (at, typed) in report.parts(&typed.ca, &join(place, "ca")) {
        let path = report.path(typed);
        if let Err(message) = files::authorities(&path) {
            report.value(&at, message);
        }
        ca.push(path);
    }
    let mode = *report.part(&typed.mode, &join(place, "mode"))?;
    Some(model::ClientCertificates { ca, mode })
}

fn proxy_protocol(part: &Part<ProxyProtocol>, place: &str, report: &mut Report<'_>) -> Option<model::ProxyProtocol> {
    let typed = report.part(part, place)?;
    let from = settings::networks(&typed.from, &join(place, "from"), report);
    let mode = *report.part(&typed.mode, &join(place, "mode"))?;
    Some(model::ProxyProtocol { from, mode })
}
