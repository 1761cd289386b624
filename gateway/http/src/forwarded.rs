//! Forwarding headers that the upstream gets, and which of a proxy's forwarding headers are trusted:
//! `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `X-Real-IP` and `Forwarded` (RFC 7239).
//!
//! Headers from a peer that is not a trusted proxy are ignored: every `X-Forwarded-*`, `X-Real-IP` and
//! `Forwarded` is replaced by what the connection says. Names with `_` for `-` are removed from all peers:
//! CGI, WSGI and their relatives make one variable of `X_Forwarded_For` and `X-Forwarded-For`.
//!
//! A trusted proxy's lists of addresses are kept and the proxy itself appended. The client is the right-most
//! address of the list that is no trusted proxy's: what stands left of it may be the client's invention. Most
//! proxies write `X-Forwarded-For` and let a client's `Forwarded` pass; so where both are there, `Forwarded`
//! counts, and goes on, only if it lists the same addresses. From a proxy that sends neither, `X-Real-IP` is
//! accepted.
//!
//! Scheme, host and port are those by which the client came to the first trusted proxy, and one value goes upstream.
//! In a list (repeated lines are one, RFC 9110 §5.3) with as many values as there are addresses that is the value
//! beside the client's address. In any other list it is the first, as Django, Express and Tomcat take it. `wss` and
//! `ws` are `https` and `http`, by which a WebSocket begins. Without a list, `Forwarded` says it in the client's element.
//! Whatever else begins with `X-Forwarded-`, such as `X-Forwarded-Prefix`, a trusted proxy may send as it likes.

use std::{
    cell::RefCell,
    fmt::Write,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    framing::split_port,
    known_headers::{CLAIM, KnownHeaders, is_claim},
    request_headers::ForwardingHeaders,
};

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Who is at the other end of a connection, with the values that all its requests share. For one worker.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    /// Whether it is a trusted proxy.
    trusted: bool,
    scheme: &'static str,
    text: HeaderValue,
    /// The last authority and what is made of it: nearly all requests of a connection ask for one.
    last: RefCell<Option<Rc<Addressed>>>,
}

/// What an authority becomes.
#[derive(Debug)]
struct Addressed {
    /// A copy, since a header that came in is a part of all that was read with it.
    authority: HeaderValue,
    /// The connection's element of `Forwarded`.
    element: HeaderValue,
    /// What is said of a client that is not behind a trusted proxy.
    headers: Rc<ForwardingHeaders>,
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

    /// Sets the forwarding headers of a request, or returns them where they are only the gateway's own, and the client. `authority`
    /// is what the request asks for; empty if it does not say.
    pub fn announce(
        &self,
        headers: &mut HeaderMap,
        known_headers: KnownHeaders,
        authority: &HeaderValue,
        trusted_proxies: &[IpNet],
    ) -> (Client, Option<Rc<ForwardingHeaders>>) {
        let addressed = self.addressed(authority);
        if known_headers.has(CLAIM) {
            if self.trusted {
                forget(headers, |name| is_claim(name) && name.contains('_'));
                return (self.continue_chain(headers, authority, &addressed.element, trusted_proxies), None);
            }
            forget(headers, is_claim);
        }
        (Client { address: self.address, scheme: self.scheme }, Some(addressed.headers.clone()))
    }

    /// A trusted proxy's fields, with the proxy appended.
    fn continue_chain(
        &self,
        headers: &mut HeaderMap,
        authority: &HeaderValue,
        own_element: &HeaderValue,
        trusted_proxies: &[IpNet],
    ) -> Client {
        if !headers.get_all(header::FORWARDED).iter().all(has_closed_quotes) {
            // What is appended would end up inside of the open string.
            headers.remove(header::FORWARDED);
        }
        let elements = forwarded_elements(headers);
        let has_list = headers.contains_key(&X_FORWARDED_FOR);
        let chain: Chain = match (has_list, elements.is_empty()) {
            (true, _) => x_forwarded_for(headers),
            (false, false) => elements.iter().map(|element| element.node).collect(),
            (false, true) => {
                one(headers, &X_REAL_IP).and_then(|value| node(value.as_bytes())).map(Some).into_iter().collect()
            }
        };
        let forwarded_holds = chain.iter().eq(elements.iter().map(|element| &element.node));
        let (address, hop) = client(self.address, &chain, trusted_proxies);
        let said = Said { elements: if forwarded_holds { &elements } else { &[] }, hops: chain.len(), hop };
        let scheme = said.scheme(headers).unwrap_or(self.scheme);
        let host = said.host(headers);
        let port = said.port(headers, host.as_ref().unwrap_or(authority), scheme);

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
            append(headers, header::FORWARDED, own_element);
        } else {
            let mut text = String::new();
            for node in &chain {
                text.push_str("for=");
                write_node(&mut text, *node);
                text.push_str(", ");
            }
            text.push_str(own_element.to_str().unwrap_or_default());
            set(headers, header::FORWARDED, visible(&text));
        }
        let client = if address == self.address { self.text.clone() } else { visible(&address.to_string()) };
        set(headers, X_REAL_IP, client);
        set(headers, X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        set(headers, X_FORWARDED_PORT, port);
        match host.unwrap_or_else(|| authority.clone()) {
            host if host.is_empty() => _ = headers.remove(&X_FORWARDED_HOST),
            host => set(headers, X_FORWARDED_HOST, host),
        }
        Client { address, scheme }
    }

    fn addressed(&self, authority: &HeaderValue) -> Rc<Addressed> {
        let mut last = self.last.borrow_mut();
        if let Some(known) = &*last
            && known.authority == *authority
        {
            return known.clone();
        }
        // RFC 7239 §4.
        let mut text = String::from("for=");
        write_node(&mut text, Some(self.address));
        if let Some(host) = authority.to_str().ok().filter(|host| is_host(host.as_bytes())) {
            // Quoted always: a port's colon and an IPv6 literal's brackets are not token characters.
            _ = write!(text, ";host=\"{host}\"");
        }
        _ = write!(text, ";proto={}", self.scheme);
        let element = visible(&text);
        let authority = HeaderValue::from_bytes(authority.as_bytes()).unwrap_or(HeaderValue::from_static(""));
        let headers = Rc::new(self.forwarding_headers(&authority, &element));
        let addressed = Rc::new(Addressed { authority, element, headers });
        *last = Some(addressed.clone());
        addressed
    }

    /// What the connection says of the client.
    fn forwarding_headers(&self, authority: &HeaderValue, element: &HeaderValue) -> ForwardingHeaders {
        let fields = [
            (X_FORWARDED_FOR, self.text.clone()),
            (X_REAL_IP, self.text.clone()),
            (X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme)),
            (X_FORWARDED_PORT, port_of(authority.as_bytes(), self.scheme)),
            (header::FORWARDED, element.clone()),
        ];
        let host = (!authority.is_empty()).then(|| (X_FORWARDED_HOST, authority.clone()));
        ForwardingHeaders::new(fields.into_iter().chain(host))
    }
}

/// What trusted proxies say about how the client came to the first of them.
struct Said<'h> {
    /// Of `Forwarded`, if it is trusted.
    elements: &'h [Element],
    /// How many addresses there are, and which of them is the client's; none where no proxy names one.
    hops: usize,
    hop: Option<usize>,
}

impl Said<'_> {
    fn scheme(&self, headers: &HeaderMap) -> Option<&'static str> {
        match self.value(headers, &X_FORWARDED_PROTO) {
            Some(value) => scheme(value.as_bytes()),
            None => self.element()?.scheme,
        }
    }

    fn host(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self.value(headers, &X_FORWARDED_HOST) {
            Some(value) => Some(value).filter(|host| is_host(host.as_bytes())),
            None => self.element()?.host.clone(),
        }
    }

    fn port(&self, headers: &HeaderMap, host: &HeaderValue, scheme: &str) -> HeaderValue {
        let named = self.value(headers, &X_FORWARDED_PORT).filter(|port| is_port(port.as_bytes()));
        named.unwrap_or_else(|| port_of(host.as_bytes(), scheme))
    }

    fn element(&self) -> Option<&Element> {
        self.elements.get(self.hop?)
    }

    /// The value of a list that is about the client.
    fn value(&self, headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
        let lines = headers.get_all(name).iter();
        let mut values = lines
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b',').map(move |part| (line, part.trim_ascii())));
        let first = values.next()?;
        let others: SmallVec<[_; 8]> = values.collect();
        let (line, value) = match self.hop {
            Some(hop) if others.len() + 1 == self.hops && hop > 0 => others[hop - 1],
            _ => first,
        };
        if line.len() == value.len() { Some(line.clone()) } else { HeaderValue::from_bytes(value).ok() }
    }
}

/// The nodes of a list, left to right; `None` for one that is no address, such as `unknown` or `_hidden`.
type Chain = SmallVec<[Option<IpAddr>; 8]>;

/// What is of use in an element of `Forwarded`.
#[derive(Default)]
struct Element {
    node: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<HeaderValue>,
}

/// The right-most address that is no trusted proxy's, and which one in the list says how it came. What a trusted proxy
/// does not know stays unknown: then the client is that proxy.
fn client(peer: IpAddr, chain: &Chain, trusted_proxies: &[IpNet]) -> (IpAddr, Option<usize>) {
    let (mut client, mut hop) = (peer, None);
    for (place, node) in chain.iter().enumerate().rev() {
        hop = Some(place);
        let Some(address) = node else { break };
        client = *address;
        if !is_trusted(client, trusted_proxies) {
            break;
        }
    }
    (client, hop)
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
        } else if name.eq_ignore_ascii_case(b"host") && is_host(value) {
            element.host = HeaderValue::from_bytes(value).ok();
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

/// How a request came, where `ws` and `wss` are what a WebSocket's is called (RFC 6455 §3).
fn scheme(text: &[u8]) -> Option<&'static str> {
    let is = |scheme: &str| text.eq_ignore_ascii_case(scheme.as_bytes());
    if is("https") || is("wss") {
        Some("https")
    } else if is("http") || is("ws") {
        Some("http")
    } else {
        None
    }
}

fn is_port(text: &[u8]) -> bool {
    let port = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    port.and_then(|port| port.parse().ok()).is_some_and(|port: u16| port > 0)
}

/// The port in an authority, else the scheme's.
fn port_of(authority: &[u8], scheme: &str) -> HeaderValue {
    match split_port(authority).1.filter(|port| is_port(port)).map(HeaderValue::from_bytes) {
        Some(Ok(port)) => port,
        _ if scheme == "https" => HeaderValue::from_static("443"),
        _ => HeaderValue::from_static("80"),
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

fn forget(headers: &mut HeaderMap, which: impl Fn(&str) -> bool) {
    let names: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| which(name.as_str())).cloned().collect();
    for name in &names {
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
