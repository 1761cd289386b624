//! Whether requests would come back to the gateway that sends them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use gateway_core::model;
use http::Uri;

use super::report::Report;
use crate::yaml::join;

/// Warns of endpoints that are listeners of the same gateway. It may be meant, and requests that go round are stopped; but an
/// address that was mistyped is far more likely.
pub(super) fn warn(
    listeners: &[model::Listener],
    admin: Option<&model::Admin>,
    upstreams: &BTreeMap<String, Arc<model::Upstream>>,
    report: &mut Report<'_>,
) {
    for (name, upstream) in upstreams {
        for (position, endpoint) in upstream.endpoints.iter().enumerate() {
            let place = join(&join(&join("/upstreams", name), "endpoints"), &position.to_string());
            if let Some(listener) = listeners.iter().find(|listener| is_at(&endpoint.url, listener.address)) {
                let address = listener.address;
                let message =
                    format!("this endpoint is the gateway's own listener `{address}`: its requests come back");
                report.warn(&place, message);
            }
            if let Some(admin) = admin.filter(|admin| is_at(&endpoint.url, admin.address)) {
                let message = format!(
                    "this endpoint is the gateway's own admin listener `{}`: clients of a route to it act as local ones",
                    admin.address
                );
                report.warn(&place, message);
            }
        }
    }
}

/// Whether a connection to the endpoint comes to this listener of the same machine.
fn is_at(endpoint: &Uri, listener: SocketAddr) -> bool {
    let default = if model::Endpoint::is_secure(endpoint) { 443 } else { 80 };
    if listener.port() == 0 || endpoint.port_u16().unwrap_or(default) != listener.port() {
        return false;
    }
    let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        // Where other names lead can differ between this machine and the one that the configuration is for.
        Err(_) => Vec::new(),
    };
    let of_listener = listener.ip().to_canonical();
    addresses.iter().map(IpAddr::to_canonical).any(|address| {
        // To connect to the unspecified address is to connect to this machine.
        let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address };
        address == of_listener || (of_listener.is_unspecified() && address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_found_to_be_a_listener_however_it_is_written() {
        for (endpoint, listener, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8080", "0.0.0.0:8080", true),
            ("http://localhost:8080", "0.0.0.0:8080", true),
            ("http://LOCALHOST:8080", "[::]:8080", true),
            ("http://0.0.0.0:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://localhost", "127.0.0.1:80", true),
            ("https://localhost", "0.0.0.0:443", true),
            ("http://10.0.0.1:8080", "10.0.0.1:8080", true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://10.0.0.2:8080", "10.0.0.1:8080", false),
            ("http://10.0.0.2:8080", "0.0.0.0:8080", false),
            ("http://127.0.0.1:8080", "10.0.0.1:8080", false),
            ("http://users:8080", "0.0.0.0:8080", false),
            ("http://localhost", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_at(&endpoint.parse().unwrap(), listener.parse().unwrap()), expected, "{endpoint} {listener}");
        }
    }
}
