//! The host in an authority, in the one form in which hosts are compared.

use std::{borrow::Cow, net::Ipv6Addr};

/// The host of an authority: without port, in lower case, without the root's trailing dot; an IPv6 literal
/// without brackets and in its canonical form (RFC 5952). Allocates only where something but the port differs.
pub(super) fn normalise(authority: &str) -> Cow<'_, str> {
    if let Some(literal) = authority.strip_prefix('[') {
        let inner = literal.split(']').next().unwrap_or_default();
        return address(inner).unwrap_or_else(|| lower(inner));
    }
    match authority.split_once(':') {
        // More than one colon is no port: a bare IPv6 address, which only configurations have.
        Some((_, port)) if port.contains(':') => address(authority).unwrap_or_else(|| lower(authority)),
        Some((name, _)) => lower(strip_root(name)),
        None => lower(strip_root(authority)),
    }
}

/// The last `length` bytes of a host, if at least one label and a dot precede them.
pub(super) fn suffix(host: &str, length: usize) -> Option<&str> {
    let dot = host.len().checked_sub(length + 1)?;
    (dot > 0 && host.as_bytes()[dot] == b'.').then(|| &host[dot + 1..])
}

fn strip_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn address(text: &str) -> Option<Cow<'_, str>> {
    text.parse::<Ipv6Addr>().ok().map(|address| Cow::Owned(address.to_string()))
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{normalise, suffix};

    #[test]
    fn case_port_and_trailing_dot_do_not_count() {
        for authority in ["api.example.com", "API.Example.COM", "api.example.com:8443", "api.example.com.:80"] {
            assert_eq!(normalise(authority), "api.example.com", "{authority}");
        }
    }

    #[test]
    fn an_ipv6_literal_has_one_form() {
        for authority in ["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "::1"] {
            assert_eq!(normalise(authority), "::1", "{authority}");
        }
        assert_eq!(normalise("[2001:DB8::A]:1"), "2001:db8::a");
    }

    #[test]
    fn nonsense_is_harmless() {
        for authority in ["", ".", ":", "[", "[]", "[:", "]", "::", "ü.example", "[v1.x]:9"] {
            normalise(authority);
        }
    }

    #[test]
    fn a_suffix_needs_a_label_before_it() {
        assert_eq!(suffix("a.example.com", 11), Some("example.com"));
        assert_eq!(suffix("a.b.example.com", 11), Some("example.com"));
        assert_eq!(suffix("example.com", 11), None);
        assert_eq!(suffix(".example.com", 11), None);
        assert_eq!(suffix("badexample.com", 11), None);
        assert_eq!(suffix("ü.example.com", 12), None);
    }
}
