//! From the bytes of a head to its fields, which share them, and to where what follows it ends.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header, response::Parts};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::{
    chunked::Chunked,
    fields::{FIELDS_INLINE, MAX_FIELDS, append, name},
};
use crate::connections::broken::Malformed;

/// How much of a body is to come.
pub(super) enum Length {
    Exact(u64),
    Chunked(Chunked),
    UntilClose,
}

/// A head, what follows it, and whether another request may follow on the connection.
pub(super) type Parsed = (Parts, Length, bool);

/// Whether these can be the first bytes of a head. Who speaks another protocol may wait for us to speak next.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.").all(|(octet, expected)| octet == expected)
}

/// A head that is whole, in answer to a request of this method; or what is wrong with it.
pub(super) fn response(head: &Bytes, method: &Method) -> Result<Parsed, Malformed> {
    let mut space = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_INLINE];
    match parse(head, method, &mut space) {
        Err(Malformed::TooManyFields(_)) => {}
        parsed => return parsed,
    }
    let mut space = vec![MaybeUninit::uninit(); MAX_FIELDS];
    parse(head, method, &mut space)
}

/// A head of as many fields as there is space for.
fn parse<'a>(head: &'a Bytes, method: &Method, space: &mut [MaybeUninit<Header<'a>>]) -> Result<Parsed, Malformed> {
    let mut parsed = httparse::Response::new(&mut []);
    let most = space.len();
    let status = match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, space) {
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyFields(most)),
        status => status?,
    };
    if status != Status::Complete(head.len()) {
        return Err(Malformed::EmptyLine);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Status)?;
    // To a server of HTTP/1.0 connections are for one request (RFC 9112 §9.3).
    let modern = parsed.version == Some(1);
    let mut framing = Framing { persists: modern, ..Framing::default() };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = name(field)?;
        framing.note(&name, field.value);
        append(&mut headers, head, name, field)?;
    }
    let length = framing.length(status, method, modern)?;
    let persists = framing.persists && !matches!(length, Length::UntilClose);
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers;
    // RFC 9112 §4: clients should ignore it, and people read it. The usual one need not be kept.
    let reason = parsed.reason.unwrap_or_default();
    if !reason.is_empty() && status.canonical_reason() != Some(reason) {
        let reason = ReasonPhrase::try_from(head.slice_ref(reason.as_bytes()));
        parts.extensions.insert(reason.map_err(|_| Malformed::Reason)?);
    }
    Ok((parts, length, persists))
}

/// What a head says of the message's end and of the connection's.
#[derive(Default)]
struct Framing {
    persists: bool,
    chunked: bool,
    /// A transfer coding other than chunked, or one more.
    other_coding: bool,
    length: Option<u64>,
    /// Lengths that differ, or are none.
    contradictory: bool,
}

impl Framing {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        match *name {
            header::CONNECTION => {
                let mut options = value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
                self.persists &= !options.any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            header::CONTENT_LENGTH => {
                // RFC 9110 §8.6: the same one several times is that one.
                for length in value.split(|octet| *octet == b',') {
                    let length = number(length.trim_ascii());
                    self.contradictory |= length.is_none() || self.length.is_some_and(|before| Some(before) != length);
                    self.length = length;
                }
            }
            header::TRANSFER_ENCODING => {
                self.other_coding |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
                self.chunked = true;
            }
            _ => {}
        }
    }

    /// RFC 9112 §6.3.
    fn length(&self, status: StatusCode, method: &Method, modern: bool) -> Result<Length, Malformed> {
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || *method == Method::HEAD;
        if bodiless {
            return Ok(Length::Exact(0));
        }
        if self.chunked {
            // Chunks were not known to HTTP/1.0, so these are not treated as chunks (§6.1).
            return match (self.other_coding, modern) {
                (false, true) => Ok(Length::Chunked(Chunked::default())),
                (true, _) => Err(Malformed::TransferCoding),
                (_, false) => Err(Malformed::Chunks),
            };
        }
        match self.length {
            _ if self.contradictory => Err(Malformed::Length),
            Some(length) => Ok(Length::Exact(length)),
            None => Ok(Length::UntilClose),
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn length_of(head: &str, method: Method) -> Result<(String, bool), String> {
        let head = Bytes::from(format!("{head}\r\n\r\n"));
        let (_, length, persists) = response(&head, &method).map_err(|malformed| malformed.to_string())?;
        let length = match length {
            Length::Exact(length) => length.to_string(),
            Length::Chunked(_) => "chunks".to_owned(),
            Length::UntilClose => "until the end".to_owned(),
        };
        Ok((length, persists))
    }

    #[test]
    fn where_a_message_ends_is_as_rfc_9112_says() {
        let (get, head) = (Method::GET, Method::HEAD);
        for (text, method, length, persists) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", &get, "5", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\ncontent-length: 5", &get, "5", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5", &head, "0", true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", &head, "0", true),
            ("HTTP/1.1 200 OK", &head, "0", true),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 5", &get, "0", true),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5", &get, "0", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", &get, "chunks", true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: x, Close", &get, "chunks", false),
            ("HTTP/1.1 200", &get, "until the end", false),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5", &get, "5", false),
        ] {
            assert_eq!(length_of(text, method.clone()), Ok((length.to_owned(), persists)), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6",
            "HTTP/1.1 200 OK\r\ncontent-length: +5",
            "HTTP/1.1 200 OK\r\ncontent-length: five",
            "HTTP/1.1 200 OK\r\ncontent-length:",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: x\r\ncontent-length: 5",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
            "HTTP/2.0 200 OK",
        ] {
            assert!(length_of(text, Method::GET).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_keep_their_values_and_their_order() {
        let head = Bytes::from("HTTP/1.1 201 Made\r\nSet-Cookie: a\r\nX-B:  b c \r\nset-cookie: é\r\nx-empty:\r\n\r\n");
        let (parts, ..) = response(&head, &Method::GET).expect("a head");
        assert_eq!(parts.status, StatusCode::CREATED);
        let cookies: Vec<_> = parts.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [b"a", "é".as_bytes()]);
        assert_eq!((&parts.headers["x-b"], &parts.headers["x-empty"]), (&"b c".parse().unwrap(), &"".parse().unwrap()));
    }

    #[test]
    fn another_protocol_shows_in_its_first_bytes() {
        for bytes in [&b""[..], b"H", b"HTTP/1.", b"HTTP/1.1 200 OK"] {
            assert!(may_begin(bytes), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"\r\nHTTP/1.1 200 OK"[..], b"\0\0\x12\x04", b"SSH", b"HTTP/2", b"h"] {
            assert!(!may_begin(bytes), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let head = |fields: usize| Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(fields)));
        assert!(response(&head(MAX_FIELDS), &Method::GET).is_ok());
        assert!(response(&head(MAX_FIELDS + 1), &Method::GET).is_err());
    }
}
