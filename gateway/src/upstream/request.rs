//! From what shall be sent to a request on one connection: `Host`, framing, and what may be sent twice.

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use http_body::Body as _;

use super::endpoint::Endpoint;
use crate::{config::model::Upgrade, http::body::Body};

/// A request as the upstream shall see it, less what depends on the endpoint.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub target: &'a PathAndQuery,
    /// Moved into the request, unless they are needed again.
    pub headers: &'a mut HeaderMap,
    /// Somebody else needs the headers again.
    pub keep_headers: bool,
    /// What `Host` says where the upstream preserves it.
    pub authority: &'a HeaderValue,
    /// What the connection shall switch to.
    pub upgrade: Option<Upgrade>,
    /// What a hash over the request balances by (`hash_of`).
    pub key: Option<u64>,
    pub body: Body,
}

impl Outgoing<'_> {
    /// The body once more, if the request may be sent twice: RFC 9110 §9.2.2 lets an idempotent one be.
    pub(super) fn spare(&self) -> Option<Body> {
        match &self.body {
            _ if !self.method.is_idempotent() => None,
            Body::Empty => Some(Body::Empty),
            Body::Full(bytes) => Some(Body::Full(bytes.clone())),
            Body::Client(_) | Body::Stream(_) => None,
        }
    }

    /// The request to one endpoint. The body moves into it, and unless `keep_headers` so do the headers.
    pub(super) fn request(&mut self, endpoint: &Endpoint, preserve_host: bool, keep_headers: bool) -> Request<Body> {
        let mut request = Request::new(std::mem::take(&mut self.body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = if keep_headers { self.headers.clone() } else { std::mem::take(self.headers) };
        let preserve_host = preserve_host && !self.authority.is_empty();
        let host = if preserve_host { self.authority } else { &endpoint.authority };
        request.headers_mut().insert(header::HOST, host.clone());
        if request.headers().contains_key(header::TE) {
            // What is left of it is for this hop (RFC 9110 §10.1.4).
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        frame(&mut request);
        if let Some(upgrade) = self.upgrade {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(upgrade.token()));
        }
        request
    }

    /// Undoes `request`, of which nothing was sent.
    pub(super) fn take_back(&mut self, request: Request<Body>, kept_headers: bool) {
        let (head, body) = request.into_parts();
        self.body = body;
        if !kept_headers {
            *self.headers = head.headers;
        }
    }
}

/// Makes the head say how long the body is, whatever it said before. What hyper adds by itself is left to it.
fn frame(request: &mut Request<Body>) {
    let length = request.body().size_hint().exact();
    let streams = matches!(request.body(), Body::Client(_) | Body::Stream(_));
    // RFC 9110 §8.6: where a method expects a body, its absence is said.
    let expects_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    // HTTP/2 has trailers behind a body of known length too; HTTP/1.1 only behind a chunked one (RFC 9112 §7.1.2).
    let announces_trailers = streams && headers.contains_key(header::TRAILER);
    match length {
        Some(0) if !expects_body => drop(headers.remove(header::CONTENT_LENGTH)),
        Some(length) if !streams => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
        // The client's `Content-Length`, which its parser holds it to.
        Some(_) if !announces_trailers => {}
        _ => {
            // Said here, because hyper assumes that a GET of unknown length has no body.
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(method: Method, fields: &[(&'static str, &'static str)], body: Body) -> String {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        frame(&mut request);
        let fields = request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        fields.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_request_without_a_body_claims_none() {
        assert_eq!(framed(Method::GET, &[], Body::Empty), "");
        assert_eq!(framed(Method::GET, &[("content-length", "5")], Body::Empty), "");
        assert_eq!(framed(Method::DELETE, &[("trailer", "x")], Body::Empty), "trailer: x");
    }

    #[test]
    fn a_body_at_hand_has_its_own_length() {
        let body = || Body::Full("hello".into());
        assert_eq!(framed(Method::POST, &[("content-length", "99")], body()), "content-length: 5");
        assert_eq!(framed(Method::GET, &[], body()), "content-length: 5");
    }

    #[test]
    fn a_method_that_expects_a_body_says_that_there_is_none() {
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(framed(method.clone(), &[], Body::Empty), "content-length: 0");
            assert_eq!(framed(method, &[("content-length", "5")], Body::Empty), "content-length: 0");
        }
    }
}
