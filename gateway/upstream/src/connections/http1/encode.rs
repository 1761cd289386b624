//! The head of a request as it is written, with framing of its own, whatever the fields say.

use gateway_http::{authentication, body::Body, loops};
use gateway_telemetry::trace::TRACEPARENT;
use http::{HeaderName, HeaderValue, Method, header};
use http_body::Body as _;

use crate::connections::request_head::RequestHead;

/// How a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// In so many bytes.
    Length(u64),
    Chunked,
}

/// What a head that was written means for what follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) framing: Framing,
    /// It has credentials that authenticate the connection.
    pub(super) authenticates_connection: bool,
}

impl RequestHead<'_> {
    /// Appends the head, and says how the body must follow.
    pub(super) fn encode(&self, out: &mut Vec<u8>, body: &Body) -> Encoded {
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_str().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        line(out, &header::HOST, self.host);
        line(out, &loops::CDN_LOOP, loops::mark());
        let mut option = self.last.then_some("close");
        let mut announces_trailers = false;
        let mut authenticates_connection = false;
        for (name, value) in self.headers {
            match (name.as_str().len(), name) {
                (4, &header::HOST) | (7, &header::UPGRADE) | (10, &header::CONNECTION) => continue,
                (14, &header::CONTENT_LENGTH) | (17, &header::TRANSFER_ENCODING) => continue,
                // What is left of it is for this hop (RFC 9110 §10.1.4).
                (2, &header::TE) => option = option.or(Some("te")),
                (7, &header::TRAILER) => announces_trailers = true,
                (13, &header::AUTHORIZATION) | (19, &header::PROXY_AUTHORIZATION) => {
                    authenticates_connection |= authentication::is_of_connection(value);
                }
                (11, name) if name == TRACEPARENT => {
                    line(out, name, self.traceparent.unwrap_or(value));
                    continue;
                }
                _ => {}
            }
            line(out, name, value);
        }
        if let Some(forwarding) = self.forwarding {
            out.extend_from_slice(forwarding.lines());
        }
        if let Some(upgrade) = self.upgrade {
            option = Some("upgrade");
            line(out, &header::UPGRADE, &HeaderValue::from_static(upgrade.token()));
        }
        if let Some(option) = option {
            line(out, &header::CONNECTION, &HeaderValue::from_static(option));
        }
        if self.expects_continue {
            line(out, &header::EXPECT, &HeaderValue::from_static("100-continue"));
        }
        let streams = matches!(body, Body::Client(_) | Body::Stream(_));
        // RFC 9110 §8.6: where a method expects a body, its absence is said.
        let expects_body = matches!(*self.method, Method::POST | Method::PUT | Method::PATCH);
        let framing = match body.size_hint().exact() {
            // Trailers can follow chunks only (RFC 9112 §7.1.2).
            Some(length) if !(streams && announces_trailers) => {
                if length > 0 || expects_body {
                    line(out, &header::CONTENT_LENGTH, &length.into());
                }
                Framing::Length(length)
            }
            _ => {
                line(out, &header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
                Framing::Chunked
            }
        };
        out.extend_from_slice(b"\r\n");
        Encoded { framing, authenticates_connection }
    }

    /// The trailers that may be sent; none if all may. Of a client's body these are the ones that it announces: others may be dropped
    /// (RFC 9110 §6.5.1). A body that comes from a plugin has the trailers that the plugin decided on, maybe at its very end;
    /// RFC 9110 §6.6.2 does not require that they are announced.
    pub(super) fn announced(&self, body: &Body) -> Option<Vec<HeaderName>> {
        if matches!(body, Body::Stream(_)) {
            return None;
        }
        let lines = self.headers.get_all(header::TRAILER).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|octet| *octet == b','));
        Some(names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect())
    }
}

pub(super) fn line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, uri::PathAndQuery};

    use super::*;

    fn encoded(method: Method, fields: &[(&'static str, &'static str)], body: &Body) -> (String, Framing) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let head = RequestHead {
            method: &method,
            target: &PathAndQuery::from_static("/a?b"),
            headers: &headers,
            forwarding: None,
            host: &HeaderValue::from_static("h"),
            upgrade: None,
            traceparent: None,
            interim: None,
            expects_continue: false,
            last: false,
        };
        let mut out = Vec::new();
        let Encoded { framing, .. } = head.encode(&mut out, body);
        let text = String::from_utf8(out).expect("ascii");
        let mark = loops::mark().to_str().expect("ascii");
        let start = format!("{method} /a?b HTTP/1.1\r\nhost: h\r\ncdn-loop: {mark}\r\n");
        let fields = text.strip_prefix(&start).expect("a head");
        (fields.strip_suffix("\r\n").expect("an empty line").replace("\r\n", "\n"), framing)
    }

    #[test]
    fn a_request_without_a_body_claims_none() {
        let none = (String::new(), Framing::Length(0));
        assert_eq!(encoded(Method::GET, &[], &Body::Empty), none);
        assert_eq!(encoded(Method::GET, &[("content-length", "5")], &Body::Empty), none);
        let (fields, _) = encoded(Method::DELETE, &[("trailer", "x")], &Body::Empty);
        assert_eq!(fields, "trailer: x\n");
    }

    #[test]
    fn a_body_at_hand_has_its_own_length() {
        let body = Body::Full("hello".into());
        let framed = ("content-length: 5\n".to_owned(), Framing::Length(5));
        assert_eq!(encoded(Method::POST, &[("content-length", "99")], &body), framed);
        assert_eq!(encoded(Method::GET, &[("transfer-encoding", "chunked")], &body), framed);
    }

    #[test]
    fn a_method_that_expects_a_body_says_that_there_is_none() {
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let framed = ("content-length: 0\n".to_owned(), Framing::Length(0));
            assert_eq!(encoded(method.clone(), &[], &Body::Empty), framed);
            assert_eq!(encoded(method, &[("content-length", "5")], &Body::Empty), framed);
        }
    }

    #[test]
    fn fields_of_the_connection_are_our_own() {
        let fields = [("host", "evil"), ("connection", "close"), ("upgrade", "h2c"), ("te", "trailers"), ("x", "1")];
        let (fields, _) = encoded(Method::GET, &fields, &Body::Empty);
        assert_eq!(fields, "te: trailers\nx: 1\nconnection: te\n");
    }
}
