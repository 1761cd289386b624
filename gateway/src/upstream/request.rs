//! What shall be sent, whichever endpoint it will be, and what of it may be sent twice.

use http::{HeaderMap, HeaderValue, Method, uri::PathAndQuery};

use super::{endpoint::Endpoint, http1};
use crate::{config::model::Upgrade, http::body::Body};

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

    /// The request's head to one endpoint.
    pub(super) fn head<'a>(&'a self, endpoint: &'a Endpoint, preserve_host: bool) -> http1::Head<'a> {
        let preserve_host = preserve_host && !self.authority.is_empty();
        http1::Head {
            method: self.method,
            target: self.target,
            headers: self.headers,
            host: if preserve_host { self.authority } else { &endpoint.authority },
            upgrade: self.upgrade,
            last: false,
        }
    }
}
