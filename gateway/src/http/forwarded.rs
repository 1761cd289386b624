//! What the upstream is told about the client, and what a proxy before the gateway is believed about it:
//! `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `Forwarded` (RFC 7239).
//!
//! From a peer that is no trusted proxy nothing is believed: every `X-Forwarded-*`, `X-Real-IP` and `Forwarded`
//! is replaced by what the connection says. A trusted proxy's lists are kept and the proxy itself appended; its
//! `X-Forwarded-Proto` and `X-Forwarded-Host` stay if they are one valid value, as does whatever else begins
//! with `X-Forwarded-`.
//!
//! The client is the right-most address of the list that is no trusted proxy's: what stands left of it may be
//! the client's invention. Most proxies write `X-Forwarded-For` and let a client's `Forwarded` pass; so where
//! both are there, `Forwarded` counts, and goes on, only if it lists the same addresses.

use std::{
    cell::RefCell,
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::census::{CLAIM, Census};

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who is at the other end of a connection, with the values that all its requests share. For one worker.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    /// Whether it is a trusted proxy.
    trusted: bool,
    scheme: &'static str,
    text: HeaderValue,
    /// The last authority and the `Forwarded` element for it: nearly all requests of a connection ask for one.
    /// A copy, since a header that came in is a part of all that was read with it.
    last: RefCell<Option<(Box<[u8]>, HeaderValue)>>,
}

/// Who asks, as far as trusted proxies tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl Peer {
    pub fn new(address: IpAddr, tls: bool, trusted_proxies: &[IpNet]) -> Self {
        // A socket for both families shows IPv4 peers as IPv6 addresses.
        let address = address.to_canonical();
        Self {
            address,
            trusted: is_trusted(address, trusted_proxies),
            scheme: if tls { "https" } else { "http" },
            text: visible(&address.to_string()),
            last: RefCell::new(None),
        }
    }

    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The address at the other end of the connection.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Makes the fields of a request say what the upstream may believe, and says who the client is. `authority`
    /// is what the request asks for; empty if it does not say.
    pub fn announce(
        &self,
        headers: &mut HeaderMap,
        census: Census,
        authority: &HeaderValue,
        trusted_proxies: &[IpNet],
    ) -> Client {
        let element = self.element(authority);
        if census.has(CLAIM) {
            if self.trusted {
                return self.continue_chain(headers, authority, element, trusted_proxies);
            }
            forget_claims(headers);
        }
        set(headers, X_FORWARDED_FOR, self.text.clone());
        set(headers, X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
        set(headers, header::FORWARDED, element);
        if !authority.is_empty() {
            set(headers, X_FORWARDED_HOST, authority.clone());
        }
        Client { address: self.address, scheme: self.scheme }
    }

    /// A trusted proxy's fields, with the proxy appended.
    fn continue_chain(
        &self,
        headers: &mut HeaderMap,
        authority: &HeaderValue,
        element: HeaderValue,
        trusted_proxies: &[IpNet],
    ) -> Client {
        if !headers.get_all(header::FORWARDED).iter().all(has_closed_quotes) {
            // What is appended would end up inside of the open string.
            headers.remove(header::FORWARDED);
        }
        let forwarded = forwarded_elements(headers);
        let forwarded_chain: Chain = forwarded.iter().map(|element| element.node).collect();
        let has_list = headers.contains_key(&X_FORWARDED_FOR);
        let chain = if has_list { x_forwarded_for(headers) } else { forwarded_chain.clone() };
        let forwarded_holds = chain == forwarded_chain;
        let scheme = self.believed_scheme(headers, forwarded_holds.then(|| forwarded.last()).flatten());

        if has_list {
            append(headers, X_FORWARDED_FOR, &self.text);
        } else {
            let mut text = String::new();
            for node in &chain {
                match node {
                    Some(address) => _ = write!(text, "{address}, "),
                    None => text.push_str("unknown, "),
                }
            }
            _ = write!(text, "{}", self.address);
            set(headers, X_FORWARDED_FOR, visible(&text));
        }
        if forwarded_holds {
            append(headers, header::FORWARDED, &element);
        } else {
            let mut text = String::new();
            for node in &chain {
                text.push_str("for=");
                write_node(&mut text, *node);
                text.push_str(", ");
            }
            text.push_str(element.to_str().unwrap_or_default());
            set(headers, header::FORWARDED, visible(&text));
        }
        set(headers, X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        if !has_one(headers, &X_FORWARDED_HOST, is_host) {
            headers.remove(&X_FORWARDED_HOST);
            if !authority.is_empty() {
                set(headers, X_FORWARDED_HOST, authority.clone());
            }
        }
        Client { address: client(self.address, &chain, trusted_proxies), scheme }
    }

    /// How the client spoke to the first proxy: `X-Forwarded-Proto`, else the last element's `proto`.
    fn believed_scheme(&self, headers: &HeaderMap, last: Option<&Element>) -> &'static str {
        let named = match one(headers, &X_FORWARDED_PROTO) {
            Some(value) => scheme(value.as_bytes()),
            None if headers.contains_key(&X_FORWARDED_PROTO) => None,
            None => last.and_then(|element| element.scheme),
        };
        named.unwrap_or(self.scheme)
    }

    /// This connection's element of `Forwarded` (RFC 7239 §4).
    fn element(&self, authority: &HeaderValue) -> HeaderValue {
        let mut last = self.last.borrow_mut();
        if let Some((host, element)) = &*last
            && **host == *authority.as_bytes()
        {
            return element.clone();
        }
        let mut text = String::from("for=");
        write_node(&mut text, Some(self.address));
        if let Some(host) = authority.to_str().ok().filter(|host| is_host(host.as_bytes())) {
            // Quoted always: a port's colon and an IPv6 literal's brackets are not token characters.
            _ = write!(text, ";host=\"{host}\"");
        }
        _ = write!(text, ";proto={}", self.scheme);
        let element = visible(&text);
        *last = Some((authority.as_bytes().into(), element.clone()));
        element
    }
}

/// The nodes of a list, left to right; `None` for one that is no address, such as `unknown` or `_hidden`.
type Chain = SmallVec<[Option<IpAddr>; 8]>;

/// What is of use in an element of `Forwarded`.
#[derive(Default)]
struct Element {
    node: Option<IpAddr>,
    scheme: Option<&'static str>,
}

/// The right-most address that is no trusted proxy's. What a trusted proxy does not know stays unknown: then
/// the client is that proxy.
fn client(peer: IpAddr, chain: &Chain, trusted_proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for node in chain.iter().rev() {
        let Some(address) = node else { break };
        client = *address;
        if !is_trusted(client, trusted_proxies) {
            break;
        }
    }
    client
}

fn is_trusted(address: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    trusted_proxies.iter().any(|network| network.contains(&address))
}

fn x_forwarded_for(headers: &HeaderMap) -> Chain {
    let lines = headers.get_all(&X_FORWARDED_FOR).iter();
    let nodes = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    nodes.map(<[u8]>::trim_ascii).filter(|node| !node.is_empty()).map(node).collect()
}

fn forwarded_elements(headers: &HeaderMap) -> SmallVec<[Element; 8]> {
    let lines = headers.get_all(header::FORWARDED).iter();
    let elements = lines.flat_map(|line| split_unquoted(line.as_bytes(), b','));
    elements.filter(|element| !element.is_empty()).map(element).collect()
}

fn element(text: &[u8]) -> Element {
    let mut element = Element::default();
    for pair in split_unquoted(text, b';') {
        let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (&pair[..equals], unquote(&pair[equals + 1..]));
        if name.eq_ignore_ascii_case(b"for") {
            element.node = node(value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            element.scheme = scheme(value);
        }
    }
    element
}

fn has_closed_quotes(line: &HeaderValue) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for &byte in line.as_bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

/// The parts between separators outside of quoted strings, without white space around them.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && byte == separator,
        }
        false
    });
    parts.map(<[u8]>::trim_ascii)
}

/// Without its quotes. Escapes stay: no address and no scheme has any.
fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// An address as proxies write it: bare, in brackets, with a port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let address: Option<IpAddr> = text.parse().ok().or_else(bracketed).or_else(with_port);
    address.map(|address| address.to_canonical())
}

/// RFC 7239 §6: an IPv6 address is in brackets and therefore quoted.
fn write_node(out: &mut String, node: Option<IpAddr>) {
    _ = match node {
        Some(IpAddr::V4(address)) => write!(out, "{address}"),
        Some(IpAddr::V6(address)) => write!(out, "\"[{address}]\""),
        None => out.write_str("unknown"),
    };
}

fn scheme(text: &[u8]) -> Option<&'static str> {
    if text.eq_ignore_ascii_case(b"https") {
        Some("https")
    } else if text.eq_ignore_ascii_case(b"http") {
        Some("http")
    } else {
        None
    }
}

/// Whether a value can stand for `Host`, and in quotes.
fn is_host(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn has_one(headers: &HeaderMap, name: &HeaderName, valid: impl Fn(&[u8]) -> bool) -> bool {
    one(headers, name).is_some_and(|value| valid(value.as_bytes()))
}

/// Whether a field says something about who sent the request.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

fn forget_claims(headers: &mut HeaderMap) {
    let claims: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
    for name in &claims {
        headers.remove(name);
    }
}

/// Adds to the end of a list, and makes one line of it: many servers read only one.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut list: Vec<u8> = Vec::new();
    for line in headers.get_all(&name).iter().chain([value]).map(HeaderValue::as_bytes) {
        if !line.trim_ascii().is_empty() {
            if !list.is_empty() {
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(line);
        }
    }
    let list = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).unwrap_or_else(|_| value.clone());
    set(headers, name, list);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    // Refused only by a map of more than 24,000 names, which the limits of a head do not let arise.
    if headers.try_insert(&name, value).is_err() {
        headers.remove(name);
    }
}

/// A field value of text that is made here and has only visible characters and spaces.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests;
