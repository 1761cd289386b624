//! Fields that are for one connection only, removed before a message goes on (RFC 9110 §7.6.1).
//!
//! Removed are `Connection` and the fields that it names, `Keep-Alive`, `Proxy-Connection`, `TE` except for
//! `trailers`, `Transfer-Encoding` and `Upgrade`; also `Proxy-Authenticate`, `Proxy-Authorization` and
//! `Proxy-Authentication-Info`, which are for the next hop (RFC 9110 §11.7), and to its clients a gateway is an
//! origin server and no proxy. `Trailer` stays: it announces fields that are forwarded.
//!
//! A client can name any field in `Connection`. A field that is for all recipients must not be named there, so
//! such a name is ignored rather than obeyed: otherwise `Connection: host` or `Connection: x-forwarded-for`
//! would hide from the upstream what this gateway or a proxy before it said. nginx obeys no name, Envoy refuses
//! requests that name what it relies on; here unknown names are obeyed, as the RFC demands.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::known_headers::{CONNECTION, HOP_BY_HOP, KnownHeaders, TE, TRANSFER_ENCODING};

/// Removes what concerned only the connection on which the message came. What stays of `TE` is `trailers`: who
/// sends it on by HTTP/1.1 names `TE` in a `Connection` field of its own (RFC 9110 §10.1.4).
pub fn strip(headers: &mut HeaderMap, known_headers: KnownHeaders) {
    // Nearly every HTTP/2 request and many of HTTP/1.1 end here.
    if !known_headers.has(CONNECTION | TE | HOP_BY_HOP | TRANSFER_ENCODING) {
        return;
    }
    if known_headers.has(CONNECTION) {
        strip_named(headers);
        headers.remove(header::CONNECTION);
    }
    if known_headers.has(TRANSFER_ENCODING) {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if known_headers.has(HOP_BY_HOP) {
        for name in OTHERS {
            headers.remove(name);
        }
    }
    if known_headers.has(TE) {
        let trailers = accepts_trailers(headers);
        headers.remove(header::TE);
        if trailers {
            // A map so full that it takes no field again: the wish for trailers is optional.
            let _ = headers.try_insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Whether `Connection` lists `upgrade`, without which `Upgrade` means nothing (RFC 9110 §7.8).
pub fn lists_upgrade(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONNECTION).iter();
    lines.any(|line| {
        line.as_bytes().split(|&byte| byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

/// What `KnownHeaders` knows as `HOP_BY_HOP`.
const OTHERS: [&str; 6] = [
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];

/// Removes the fields that `Connection` names, if it may name them.
fn strip_named(headers: &mut HeaderMap) {
    // The map cannot change while the names are read from it; a value's clone shares its bytes.
    let mut lines: smallvec::SmallVec<[HeaderValue; 2]> = smallvec::SmallVec::new();
    // Nearly always it says one of these two, and names nothing.
    let names = |line: &&HeaderValue| {
        !line.as_bytes().eq_ignore_ascii_case(b"keep-alive") && !line.as_bytes().eq_ignore_ascii_case(b"close")
    };
    lines.extend(headers.get_all(header::CONNECTION).iter().filter(names).cloned());
    for line in &lines {
        for name in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(name)
                && !is_for_everyone(&name)
            {
                headers.remove(name);
            }
        }
    }
}

/// Fields that `Connection` cannot name, because they are for all recipients: routing, framing and meaning of
/// the message, credentials, and what proxies say about the client. `TE` is here because it is treated apart.
fn is_for_everyone(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("access-control-")
        || name.starts_with("if-")
        || name.starts_with("sec-")
        || matches!(
            name,
            "accept"
                | "accept-encoding"
                | "age"
                | "authorization"
                | "cache-control"
                | "cdn-loop"
                | "cookie"
                | "date"
                | "etag"
                | "expect"
                | "expires"
                | "forwarded"
                | "host"
                | "last-modified"
                | "location"
                | "max-forwards"
                | "origin"
                | "pragma"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "strict-transport-security"
                | "te"
                | "traceparent"
                | "tracestate"
                | "trailer"
                | "vary"
                | "via"
                | "www-authenticate"
                | "x-api-key"
                | "x-content-type-options"
                | "x-frame-options"
                | "x-real-ip"
                | "x-request-id"
        )
}

/// Whether `TE` lists `trailers`, which has neither parameters nor weight.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE);
    values.iter().any(|value| {
        value.as_bytes().split(|&byte| byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The remaining fields, one per line.
    fn stripped(fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let known_headers = KnownHeaders::of(&headers);
        strip(&mut headers, known_headers);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect();
        left.sort();
        left.join("\n")
    }

    #[test]
    fn end_to_end_fields_stay() {
        let fields =
            [("accept", "*/*"), ("cookie", "a=1"), ("trailer", "x-sum"), ("user-agent", "u"), ("priority", "u=1")];
        assert_eq!(stripped(&fields), "accept: */*\ncookie: a=1\npriority: u=1\ntrailer: x-sum\nuser-agent: u");
    }

    #[test]
    fn hop_by_hop_fields_go_whether_connection_names_them_or_not() {
        let fields = [
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-authenticate", "Basic"),
            ("x-kept", "1"),
        ];
        assert_eq!(stripped(&fields), "x-kept: 1");
        for field in &fields[..8] {
            assert_eq!(stripped(&[*field]), "", "{field:?} alone");
        }
    }

    #[test]
    fn what_connection_names_goes_with_all_its_values() {
        let fields = [
            ("connection", "close, X-Hop ,,x-other"),
            ("x-hop", "1"),
            ("x-hop", "2"),
            ("connection", "x-third"),
            ("x-other", "1"),
            ("x-third", "1"),
            ("x-kept", "1"),
        ];
        assert_eq!(stripped(&fields), "x-kept: 1");
    }

    #[test]
    fn connection_cannot_take_away_what_everyone_relies_on() {
        let fields = [
            ("connection", "host, content-length, authorization, cookie, x-forwarded-for, forwarded, cache-control"),
            ("host", "h"),
            ("content-length", "3"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(
            stripped(&fields),
            "authorization: Bearer x\ncontent-length: 3\nhost: h\nx-forwarded-for: 192.0.2.1"
        );
    }

    #[test]
    fn of_te_only_trailers_is_left() {
        assert_eq!(stripped(&[("te", "trailers")]), "te: trailers");
        assert_eq!(stripped(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te, close")]), "te: trailers");
        assert_eq!(stripped(&[("te", "deflate"), ("te", "trailers")]), "te: trailers");
        assert_eq!(stripped(&[("te", "deflate")]), "");
    }

    #[test]
    fn a_name_that_is_none_is_ignored() {
        assert_eq!(stripped(&[("connection", "a b, (x), \u{9}close"), ("x-kept", "1")]), "x-kept: 1");
    }
}
