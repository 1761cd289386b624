//! Who operates the gateway, and how they are recognised.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use aws_lc_rs::{constant_time, digest};
use gateway_core::model::{Admin, Proof, Role, check_token};
use gateway_http::secured::dns_names;
use gateway_server::tls::Termination;
use gateway_wasm::services::Named;
use http::{HeaderMap, StatusCode, header};
use rustls::{ServerConfig, ServerConnection};

use super::api_result::{ApiResult, Refusal};

/// What the present configuration says about operators.
#[derive(Default)]
pub(crate) struct Rules {
    pub(super) tls: Option<Arc<ServerConfig>>,
    access: Vec<Known>,
}

struct Known {
    name: Arc<str>,
    by: KnownBy,
    role: Role,
}

enum KnownBy {
    /// SHA-256 of the token: of the same length for all, and the token itself is not kept.
    Token([u8; 32]),
    Certificate(String),
}

impl Rules {
    /// Loads certificates and tokens.
    pub(crate) fn load(admin: &Admin, secrets: &Named) -> io::Result<Self> {
        let tls = admin.tls.as_ref().map(|tls| Termination::load(tls, None)).transpose()?;
        let tls = tls.map(|termination| {
            let mut config = (*termination.config).clone();
            // There is no HTTP/2 here.
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        });
        let known = |access: &gateway_core::model::Access| {
            let by = match &access.by {
                Proof::Certificate(name) => KnownBy::Certificate(name.clone()),
                Proof::Token(secret) => {
                    let token = secrets.get(secret).map(|bytes| &bytes[..]).unwrap_or_default();
                    check_token(token).map_err(|wanted| io::Error::other(format!("secret `{secret}`: {wanted}")))?;
                    KnownBy::Token(hash(token))
                }
            };
            Ok(Known { name: access.name.as_str().into(), by, role: access.role })
        };
        Ok(Self { tls, access: admin.access.iter().map(known).collect::<io::Result<_>>()? })
    }

    pub(super) fn find(&self, peer: &Peer, headers: &HeaderMap) -> ApiResult<Operator> {
        if self.access.is_empty() {
            return match peer.address.ip().to_canonical() {
                ip if !ip.is_loopback() => Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "without a list of `admin.access` in the configuration the API is for this machine alone: by its \
                     loopback address",
                )),
                // A page in a browser on this machine may have a name of its own lead here.
                _ if !is_local(headers) => {
                    Err(Refusal::new(StatusCode::FORBIDDEN, "ask for `localhost` or an address, not for another name"))
                }
                ip => Ok(Operator { name: ip.to_string().into(), role: Role::Full }),
            };
        }
        let token = bearer(headers).map(|token| hash(token.as_bytes()));
        let found = self.access.iter().find(|known| match &known.by {
            KnownBy::Token(hash) => {
                token.is_some_and(|token| constant_time::verify_slices_are_equal(&token, hash).is_ok())
            }
            KnownBy::Certificate(name) => peer.names.contains(name),
        });
        match found {
            Some(known) => Ok(Operator { name: known.name.clone(), role: known.role }),
            None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "no token or certificate of `admin.access` was shown")),
        }
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    hash
}

/// RFC 6750 §2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<http::uri::Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: SocketAddr,
    /// The DNS names in its certificate, in lower case.
    names: Arc<[String]>,
}

impl Peer {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, names: Arc::default() }
    }

    pub(super) fn secured(address: SocketAddr, connection: &ServerConnection) -> Self {
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Self { address, names: certificate.map(dns_names).unwrap_or_default().into() }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn peer(address: &str) -> Peer {
        Peer::plain(address.parse().unwrap())
    }

    fn tokens() -> Rules {
        let known = |name: &str, token: &str, role| Known {
            name: name.into(),
            by: KnownBy::Token(hash(token.as_bytes())),
            role,
        };
        Rules { tls: None, access: vec![known("a", "first", Role::Read), known("b", "second", Role::Full)] }
    }

    #[test]
    fn without_a_list_only_this_machine_may_ask_and_not_by_any_name() {
        let find = |address, host| Rules::default().find(&peer(address), &headers(&[("host", host)])).is_ok();
        assert!(find("127.0.0.1:1", "127.0.0.1:9900"));
        assert!(find("[::1]:1", "[::1]:9900"));
        assert!(find("[::ffff:127.0.0.1]:1", "localhost:9900"));
        assert!(!find("127.0.0.1:1", "evil.example:9900"));
        assert!(!find("127.0.0.1:1", ""));
        assert!(!find("10.0.0.1:1", "127.0.0.1:9900"));
    }

    #[test]
    fn with_a_list_this_machine_needs_a_token_too() {
        let find = |fields: &[(&'static str, &'static str)]| {
            tokens().find(&peer("127.0.0.1:1"), &headers(fields)).map(|who| (who.name.to_string(), who.role)).ok()
        };
        assert_eq!(find(&[("host", "localhost")]), None);
        assert_eq!(find(&[("authorization", "Bearer first")]), Some(("a".to_owned(), Role::Read)));
        assert_eq!(find(&[("authorization", "bearer second")]), Some(("b".to_owned(), Role::Full)));
        assert_eq!(find(&[("authorization", "Basic second")]), None);
        assert_eq!(find(&[("authorization", "Bearer secon")]), None);
        assert_eq!(find(&[("authorization", "Bearer ")]), None);
    }
}
