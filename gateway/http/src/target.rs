//! Raw bytes in request targets that URIs may not hold and that clients send all the same: `?query=up{job="x"}`.
//!
//! nginx and HAProxy forward them. The `http` crate refuses `"`, `<` and `>` in a query, `<`, `>` and `` ` `` in a path, and
//! bytes that are not UTF-8, and with it hyper answers 400. So they are percent-encoded before hyper reads the
//! request line, as browsers do (WHATWG URL, path and query percent-encode sets). Nothing else is touched: space,
//! control characters and everything that ends a line or a target stay what they are and are hyper's to refuse.
//!
//! This cannot move the end of a message: only the first line of a head is changed, while hyper waits for a head, and
//! no byte of a body is ever part of that. If a guess about where a head begins were wrong, it would change a byte of
//! another field of the same head, and hyper would still be the only one who says where the head ends.
//!
//! On HTTP/2 the target is HPACK-coded within a library that checks it itself: there such a stream is reset
//! (RFC 9113 §8.3.1 and §8.1.1: the request is malformed).

use memchr::{memchr, memchr3};

/// Follows the request line from its first byte to its end, over any number of reads.
#[derive(Debug, Default)]
pub struct RequestLine {
    position: Position,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Position {
    #[default]
    Elsewhere,
    /// A head is to begin.
    Start,
    Method,
    Path,
    Query,
}

impl RequestLine {
    /// Whether the line has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.position != Position::Elsewhere
    }

    /// Looks at what was read of a head. Returns what hyper shall read instead, if that is something else.
    pub fn read(&mut self, bytes: &[u8], begins: bool) -> Option<Vec<u8>> {
        let mut start = 0;
        if begins || self.position == Position::Start {
            // RFC 9112 §2.2: empty lines before a request line are skipped.
            start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
            self.position = if start < bytes.len() { Position::Method } else { Position::Start };
        }
        let rest = &bytes[start..];
        let (line, ended) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], true),
            None => (rest, false),
        };
        let clean = memchr3(b'"', b'<', b'>', line).is_none() && memchr(b'`', line).is_none() && line.is_ascii();
        if clean && ended {
            self.position = Position::Elsewhere;
            return None;
        }
        let utf8 = std::str::from_utf8(line).is_ok();
        let mut out = Vec::with_capacity(bytes.len() + 64);
        out.extend_from_slice(&bytes[..start]);
        for &byte in line {
            self.position = match (self.position, byte) {
                (Position::Method, b' ') => Position::Path,
                // No method: whatever this is, it is left as it is.
                (Position::Method, byte) if !is_token(byte) => Position::Elsewhere,
                (Position::Path, b'?') => Position::Query,
                (position, _) => position,
            };
            let refused = match self.position {
                Position::Path => matches!(byte, b'<' | b'>' | b'`') || !utf8 && !byte.is_ascii(),
                Position::Query => matches!(byte, b'"' | b'<' | b'>') || !utf8 && !byte.is_ascii(),
                Position::Elsewhere | Position::Start | Position::Method => false,
            };
            if refused { push_escape(&mut out, byte) } else { out.push(byte) }
        }
        if ended {
            self.position = Position::Elsewhere;
        }
        if out.len() == start + line.len() {
            return None;
        }
        out.extend_from_slice(&rest[line.len()..]);
        Some(out)
    }
}

/// A target as it is typed, with what a URI may not hold percent-encoded.
pub fn encoded(target: &str) -> String {
    let mut line = RequestLine { position: Position::Path };
    let encoded = line.read(target.as_bytes(), false).and_then(|bytes| String::from_utf8(bytes).ok());
    encoded.unwrap_or_else(|| target.to_owned())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper reads of a head that comes in these parts.
    fn read(parts: &[&[u8]]) -> String {
        let mut line = RequestLine::default();
        let mut out = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            if i == 0 || line.is_open() {
                out.extend(line.read(part, i == 0).unwrap_or_else(|| part.to_vec()));
            } else {
                out.extend_from_slice(part);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn what_a_uri_may_not_hold_is_encoded_in_the_target() {
        for (sent, expected) in [
            ("GET /?q=[\"A\",\"B\"] HTTP/1.1\r\n", "GET /?q=[%22A%22,%22B%22] HTTP/1.1\r\n"),
            ("GET /<a>`?<b>` HTTP/1.1\r\n", "GET /%3Ca%3E%60?%3Cb%3E` HTTP/1.1\r\n"),
            ("GET http://a/?\" HTTP/1.1\r\n", "GET http://a/?%22 HTTP/1.1\r\n"),
            ("\r\n\r\nGET /?\" HTTP/1.1\r\n", "\r\n\r\nGET /?%22 HTTP/1.1\r\n"),
            ("GET /?\"\n", "GET /?%22\n"),
        ] {
            assert_eq!(read(&[sent.as_bytes()]), expected);
        }
        assert_eq!(read(&[b"GET /caf\xe9?\xff HTTP/1.1\r\n"]), "GET /caf%E9?%FF HTTP/1.1\r\n");
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for sent in [
            "GET /a?b={}|\\^ HTTP/1.1\r\nx: \"<>\"\r\n\r\n\"<>",
            "GET /caf\u{e9}?\u{fc} HTTP/1.1\r\n",
            "GET /{\"a\"} HTTP/1.1\r\n",
            "x: \"<>\"\r\n\r\n",
            "\"<>\r\n",
            "\r\n\r\n",
            "",
        ] {
            assert_eq!(read(&[sent.as_bytes()]), sent);
        }
        // The body of a request whose head came before.
        assert_eq!(read(&[b"POST / HTTP/1.1\r\n\r\n", b"{\"a\": 1}"]), "POST / HTTP/1.1\r\n\r\n{\"a\": 1}");
    }

    #[test]
    fn a_line_may_come_byte_by_byte() {
        let sent = b"\r\nGET /a<b?c=\"d\"\xff HTTP/1.1\r\nx: \"y\"\r\n\r\n\"<";
        let bytes: Vec<&[u8]> = sent.chunks(1).collect();
        let expected = "\r\nGET /a%3Cb?c=%22d%22%FF HTTP/1.1\r\nx: \"y\"\r\n\r\n\"<";
        assert_eq!(read(&bytes), expected);
        for cut in 1..sent.len() {
            assert_eq!(read(&[&sent[..cut], &sent[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_typed_target_is_encoded_too() {
        assert_eq!(encoded("http://a/<?\"x\""), "http://a/%3C?%22x%22");
        assert_eq!(encoded("/a?b"), "/a?b");
    }
}
