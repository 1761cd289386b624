//! Who is counted: from a request to the key of the store.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use plugin_sdk::{Item, Pointer, Problems, Request, Selection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One thing about a request that tells clients apart, or several of them together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `client-address`, `route`, `{ header: NAME }`, `{ attribute: NAME }`, \
                 `{ path-parameter: NAME }`, or a list of these"
)]
pub(crate) enum Key {
    One(Part),
    /// Clients are the same only if all of these are.
    All(#[schemars(length(min = 1, max = 4))] Vec<Part>),
}

/// One thing about a request that tells clients apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// The client's address, grouped by `ipv4-prefix` and `ipv6-prefix`.
    ClientAddress,
    /// The route: one count for all clients.
    Route,
    /// The first value of a header. Clients choose it freely, unless an earlier plugin has checked it.
    Header(String),
    /// An attribute that an earlier plugin has set, such as `jwt.sub`.
    Attribute(String),
    /// What the route's path pattern captured.
    PathParameter(String),
}

/// What becomes of a request that lacks a part of the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missing {
    /// The client's address takes the place of the missing part.
    #[default]
    ClientAddress,
    /// The request passes without being counted.
    Skip,
    /// The request is answered with 400.
    Reject,
}

/// Which requests share a count, beyond the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    /// Each route counts for itself.
    #[default]
    Route,
    /// All routes that give the same name here count together.
    Shared(String),
}

/// How requests are told apart, checked.
pub(crate) struct KeyRule {
    parts: Vec<Part>,
    /// The route, and what each part reads.
    selection: Selection,
    missing: Missing,
    scope: Scope,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

/// Whom a request counts for.
pub(crate) enum Subject {
    /// The key in the store, less the name of the limit.
    Known(String),
    Skipped,
    /// What the request lacks, in words for the client.
    Rejected(String),
}

/// With names of 100 bytes the key stays far below the store's 1 KiB.
const MAX_PARTS: usize = 4;
const MAX_PART_NAME: usize = 100;

impl KeyRule {
    pub(crate) fn check(
        key: Key,
        missing: Missing,
        scope: Scope,
        (ipv4_prefix, ipv6_prefix): (u8, u8),
        problems: &mut Problems,
    ) -> Self {
        let at = Pointer::root().then("key");
        let parts = match key {
            Key::One(part) => {
                part.check(&at, problems);
                vec![part]
            }
            Key::All(parts) => {
                if parts.is_empty() || parts.len() > MAX_PARTS {
                    problems.add(&at, format!("`key` needs 1 to {MAX_PARTS} parts"));
                }
                for (i, part) in parts.iter().enumerate() {
                    part.check(&at.then(i), problems);
                }
                parts
            }
        };
        if let Scope::Shared(name) = &scope
            && !is_name(name)
        {
            problems.add(Pointer::root().then("scope").then("shared"), NAME_EXPECTED);
        }
        for (option, prefix, most) in [("ipv4-prefix", ipv4_prefix, 32), ("ipv6-prefix", ipv6_prefix, 128)] {
            if prefix == 0 || prefix > most {
                problems.add(Pointer::root().then(option), format!("`{option}` must be 1 to {most}"));
            }
        }
        let items = std::iter::once(Item::Route).chain(parts.iter().map(Part::item));
        // Parts with something wrong about them may be too much to be read.
        let items = if problems.is_empty() { items.collect::<Vec<_>>() } else { Vec::new() };
        let selection = Selection::new(&items);
        Self { parts, selection, missing, scope, ipv4_prefix, ipv6_prefix }
    }

    pub(crate) fn subject(&self, request: &Request) -> Subject {
        let values = self.selection.read(request, None);
        let mut values = values.iter();
        let route = values.next().flatten().and_then(|route| std::str::from_utf8(route).ok()).unwrap_or_default();
        let mut key = match &self.scope {
            Scope::Route => ["route=", route].concat(),
            Scope::Shared(name) => ["shared=", name.as_str()].concat(),
        };
        for (part, value) in self.parts.iter().zip(values) {
            key.push('/');
            let (kind, name) = match part {
                Part::ClientAddress => {
                    let address = value.and_then(|address| std::str::from_utf8(address).ok());
                    self.push_address(&mut key, address.unwrap_or_default());
                    continue;
                }
                Part::Route => {
                    key.push_str("route=");
                    key.push_str(route);
                    continue;
                }
                Part::Header(name) => ("header", name),
                Part::Attribute(name) => ("attribute", name),
                Part::PathParameter(name) => ("path-parameter", name),
            };
            // An empty value tells nobody apart.
            match (value.filter(|value| !value.is_empty()), self.missing) {
                (Some(value), _) => push_digest(&mut key, kind, name, value),
                (None, Missing::ClientAddress) => self.push_address(&mut key, &request.client_address()),
                (None, Missing::Skip) => return Subject::Skipped,
                (None, Missing::Reject) => return Subject::Rejected(part.described()),
            }
        }
        Subject::Known(key)
    }

    fn push_address(&self, key: &mut String, text: &str) {
        let Ok(address) = text.parse::<IpAddr>() else {
            push_digest(key, "client-address", "text", text.as_bytes());
            return;
        };
        // An IPv4 client on an IPv6 socket (`::ffff:192.0.2.1`) is the IPv4 client that it is.
        let (network, prefix, width) = match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4_prefix)).unwrap_or(0);
                (IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)), self.ipv4_prefix, 32)
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.ipv6_prefix)).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), self.ipv6_prefix, 128)
            }
        };
        // Writing to a string cannot fail.
        let _ = write!(key, "client-address={network}");
        if prefix < width {
            let _ = write!(key, ",{prefix}");
        }
    }
}

impl Part {
    /// What is read for it.
    fn item(&self) -> Item {
        match self {
            Self::ClientAddress => Item::ClientAddress,
            Self::Route => Item::Route,
            Self::Header(name) => Item::Header(name.clone()),
            Self::Attribute(name) => Item::Attribute(name.clone()),
            Self::PathParameter(name) => Item::PathParameter(name.clone()),
        }
    }

    fn check(&self, at: &Pointer, problems: &mut Problems) {
        let (kind, name, valid) = match self {
            Self::ClientAddress | Self::Route => return,
            Self::Header(name) => ("header", name, is_token(name)),
            Self::Attribute(name) => ("attribute", name, is_visible(name)),
            Self::PathParameter(name) => ("path-parameter", name, is_visible(name)),
        };
        if !valid || name.len() > MAX_PART_NAME {
            problems.add(at.then(kind), format!("`{name}` is not the name of a {kind} of up to {MAX_PART_NAME} bytes"));
        }
    }

    /// A client can do something about a missing header; the rest is for it as if it had not said who it is.
    fn described(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            _ => "to say who it is from".to_owned(),
        }
    }
}

/// What clients send may be a credential or of any length, so the store gets 128 bits of its digest.
fn push_digest(key: &mut String, kind: &str, name: &str, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    key.reserve(kind.len() + name.len() + 2 + 32);
    key.push_str(kind);
    key.push('.');
    key.push_str(name);
    key.push('=');
    for &byte in Sha256::digest(value).iter().take(16) {
        key.push(char::from(HEX[usize::from(byte >> 4)]));
        key.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

pub(crate) const NAME_EXPECTED: &str = "expected a name of up to 64 letters, digits, `-`, `_` and `.`";

/// Names in headers and in the store: short and plain.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}
