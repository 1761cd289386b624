//! Which of the fields that the gateway itself looks at a head has: found in one pass, so that the many heads that
//! lack nearly all of them are not searched for each.

use http::HeaderMap;

/// What a head has. A field that it lacks need not be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownHeaders {
    found: u16,
    /// The fields as HTTP/1.1 writes them: `name: value` and a line end each.
    pub bytes: usize,
}

/// `Connection`, and what is hop-by-hop whether it is named there or not.
pub const CONNECTION: u16 = 1;
pub const TE: u16 = 1 << 1;
pub const HOP_BY_HOP: u16 = 1 << 2;
pub const TRANSFER_ENCODING: u16 = 1 << 3;
pub const CONTENT_LENGTH: u16 = 1 << 4;
pub const HOST: u16 = 1 << 5;
pub const EXPECT: u16 = 1 << 6;
pub const COOKIE: u16 = 1 << 7;
pub const REQUEST_ID: u16 = 1 << 8;
/// `Forwarded` and its relatives, by which a sender says who it is.
pub const CLAIM: u16 = 1 << 9;
pub const TRAILER: u16 = 1 << 10;
pub const AUTHORIZATION: u16 = 1 << 11;
pub const CDN_LOOP: u16 = 1 << 12;

impl KnownHeaders {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut known_headers = Self { found: 0, bytes: 0 };
        for (name, value) in headers {
            let name = name.as_str();
            known_headers.bytes += name.len() + value.len() + 4;
            known_headers.found |= kind(name);
        }
        known_headers
    }

    /// Whether any of these is there.
    pub fn has(self, fields: u16) -> bool {
        self.found & fields != 0
    }
}

/// By length first, since that tells nearly all names apart.
fn kind(name: &str) -> u16 {
    match (name.len(), name) {
        (2, "te") => TE,
        (4, "host") => HOST,
        (6, "cookie") => COOKIE,
        (6, "expect") => EXPECT,
        (7, "upgrade") => HOP_BY_HOP,
        (7, "trailer") => TRAILER,
        (8, "cdn-loop") => CDN_LOOP,
        (9, _) if is_claim(name) => CLAIM,
        (10, "connection") => CONNECTION,
        (10, "keep-alive") => HOP_BY_HOP,
        (12, "x-request-id") => REQUEST_ID,
        (13, "authorization") => AUTHORIZATION,
        (14, "content-length") => CONTENT_LENGTH,
        (17, "transfer-encoding") => TRANSFER_ENCODING,
        (16, "proxy-connection") => HOP_BY_HOP,
        (18, "proxy-authenticate") => HOP_BY_HOP,
        (19, "proxy-authorization") => HOP_BY_HOP,
        (25, "proxy-authentication-info") => HOP_BY_HOP,
        (13.., _) if is_claim(name) => CLAIM,
        _ => 0,
    }
}

/// Whether a field says something about who sent the request, in whatever case and with `_` for any `-`.
pub fn is_claim(name: &str) -> bool {
    let spelt = |text: &[u8], known: &[u8]| {
        let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a, *b) == (b'_', b'-');
        text.len() == known.len() && text.iter().zip(known).all(same)
    };
    let name = name.as_bytes();
    match name.first() {
        Some(b'x' | b'X') => {
            spelt(name, b"x-real-ip") || name.get(..12).is_some_and(|start| spelt(start, b"x-forwarded-"))
        }
        Some(b'f' | b'F') => name.eq_ignore_ascii_case(b"forwarded"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn known_headers(names: &[&'static str]) -> KnownHeaders {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        KnownHeaders::of(&headers)
    }

    #[test]
    fn every_field_of_interest_is_found_and_no_other() {
        let fields = [
            ("connection", CONNECTION),
            ("cdn-loop", CDN_LOOP),
            ("te", TE),
            ("keep-alive", HOP_BY_HOP),
            ("proxy-connection", HOP_BY_HOP),
            ("proxy-authenticate", HOP_BY_HOP),
            ("proxy-authorization", HOP_BY_HOP),
            ("proxy-authentication-info", HOP_BY_HOP),
            ("upgrade", HOP_BY_HOP),
            ("transfer-encoding", TRANSFER_ENCODING),
            ("content-length", CONTENT_LENGTH),
            ("host", HOST),
            ("expect", EXPECT),
            ("cookie", COOKIE),
            ("authorization", AUTHORIZATION),
            ("x-request-id", REQUEST_ID),
            ("forwarded", CLAIM),
            ("x-real-ip", CLAIM),
            ("x-forwarded-for", CLAIM),
            ("x-forwarded-anything", CLAIM),
            ("x_forwarded-for", CLAIM),
            ("x_real_ip", CLAIM),
            ("trailer", TRAILER),
        ];
        for (name, field) in fields {
            assert_eq!(known_headers(&[name]).found, field, "{name}");
        }
        for name in ["accept", "user-agent", "x-real-id", "content-lengtt", "ht", "x-request-ip", "x-forwarded"] {
            assert_eq!(known_headers(&[name]).found, 0, "{name}");
        }
        let all: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(known_headers(&all).found, (CDN_LOOP << 1) - 1);
    }

    #[test]
    fn the_size_is_that_of_every_line() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("a", HeaderValue::from_static("22"));
        assert_eq!(KnownHeaders::of(&headers).bytes, "a: 1\r\na: 22\r\n".len());
    }
}
