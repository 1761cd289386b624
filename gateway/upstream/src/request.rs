//! What shall be sent, whichever endpoint it will be, and what of it may be sent twice.

use gateway_core::model::Upgrade;
use gateway_http::{body::Body, grpc, loops};
use gateway_telemetry::trace::{TRACEPARENT, Tries};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, response::Parts, uri::PathAndQuery};
use http_body::Body as _;

use super::{endpoint::Endpoint, http1, private::PrivateConnections};

/// A request as the upstream shall see it, less what depends on the endpoint.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub target: &'a PathAndQuery,
    pub headers: &'a HeaderMap,
    /// What `Host` says where the upstream preserves it.
    pub authority: &'a HeaderValue,
    /// What the connection shall switch to.
    pub upgrade: Option<Upgrade>,
    /// What a hash over the request balances by (`hash_of`).
    pub key: Option<u64>,
    pub body: Body,
    /// Gets the interim responses, where somebody wants them (RFC 9110 §15.2).
    pub interim: Option<&'a dyn Fn(&Parts)>,
    /// Whose request it is, where connections can belong to the client.
    pub private: Option<&'a PrivateConnections>,
    /// Where its tries are recorded, if they are.
    pub tries: Option<Box<Tries>>,
}

impl Outgoing<'_> {
    /// The body once more, if the request may be sent twice: RFC 9110 §9.2.2 lets an idempotent one be.
    pub(super) fn spare(&self) -> Option<Body> {
        if self.method.is_idempotent() { self.copy() } else { None }
    }

    /// The body once more, if it is at hand.
    pub(super) fn copy(&self) -> Option<Body> {
        match &self.body {
            Body::Empty => Some(Body::Empty),
            Body::Full(bytes) => Some(Body::Full(bytes.clone())),
            Body::Client(_) | Body::Stream(_) => None,
        }
    }

    /// The request's head to one endpoint.
    pub(super) fn head<'a>(&'a self, endpoint: &'a Endpoint, preserve_host: bool) -> http1::Head<'a> {
        let preserve_host = preserve_host && !self.authority.is_empty();
        http1::Head {
            method: self.method,
            target: self.target,
            headers: self.headers,
            host: if preserve_host { self.authority } else { &endpoint.authority },
            upgrade: self.upgrade,
            traceparent: self.tries.as_ref().and_then(|tries| tries.header()),
            interim: self.interim,
            // `body` has been taken for sending.
            expects_continue: false,
            last: false,
        }
    }
}

impl http1::Head<'_> {
    /// The same for HTTP/2 (RFC 9113 §8.3): no field of the connection, and a length only where it is known.
    pub(super) fn request(&self, scheme: &str, body: Body) -> Result<Request<Body>, String> {
        let uri = Uri::builder().scheme(scheme).authority(self.host.as_bytes()).path_and_query(self.target.clone());
        let uri = uri.build().map_err(|error| format!("the authority cannot be sent: {error}"))?;
        let mut headers = self.headers.clone();
        for name in [header::HOST, header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let expects_body = matches!(*self.method, Method::POST | Method::PUT | Method::PATCH);
        match body.size_hint().exact() {
            Some(length) if length > 0 || expects_body => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
            _ => drop(headers.remove(header::CONTENT_LENGTH)),
        }
        if let Some(parent) = self.traceparent
            && let Some(told) = headers.get_mut(TRACEPARENT)
        {
            *told = parent.clone();
        }
        headers
            .try_append(loops::CDN_LOOP, loops::mark().clone())
            .map_err(|error| format!("the head cannot be sent: {error}"))?;
        if grpc::is_call(&headers) {
            // Servers of gRPC want to be told that trailers are understood, and these are.
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
