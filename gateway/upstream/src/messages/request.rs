//! What shall be sent, whichever endpoint it will be, and what of it may be sent twice.

use std::time::{Duration, Instant};

use gateway_core::model::Upgrade;
use gateway_http::{body::Body, deadline::Deadline, request_headers::ForwardingHeaders};
use gateway_telemetry::trace::Tries;
use http::{HeaderMap, HeaderValue, Method, response::Parts, uri::PathAndQuery};

use crate::{
    connections::request_head::RequestHead,
    worker::{Endpoint, PrivateConnections},
};

/// A request as the upstream shall see it, less what depends on the endpoint.
pub struct Outgoing<'a> {
    /// As the client sent it, or as plugins have changed it.
    pub method: &'a Method,
    /// Path and query, as they are sent.
    pub target: &'a PathAndQuery,
    /// Fields of the connection and of framing among them are not sent; the protocol has its own.
    pub headers: &'a HeaderMap,
    /// Forwarding headers beside those.
    pub forwarding: Option<&'a ForwardingHeaders>,
    /// What `Host` says where the upstream preserves it.
    pub authority: &'a HeaderValue,
    /// What the connection shall switch to.
    pub upgrade: Option<Upgrade>,
    /// What a hash over the request balances by (`hash_of`).
    pub key: Option<u64>,
    /// Taken when it is sent.
    pub body: Body,
    /// Receives the interim responses (RFC 9110 §15.2), if wanted.
    pub interim: Option<&'a dyn Fn(&Parts)>,
    /// Whose request it is, where connections can belong to the client.
    pub private: Option<&'a PrivateConnections>,
    /// Where its tries are recorded, if they are.
    pub tries: Option<Box<Tries>>,
}

/// The deadlines of a request.
pub struct Deadlines {
    /// Now.
    pub since: Instant,
    /// Until the response's head is there.
    pub response: Deadline,
    /// Between two parts of the response's body, unless the upstream has a time of its own.
    pub body: Duration,
    /// Until the last byte of the response.
    pub total: Option<Instant>,
}

impl Outgoing<'_> {
    /// The body once more, if the request may be sent twice: RFC 9110 §9.2.2 lets an idempotent one be.
    pub(crate) fn spare(&self) -> Option<Body> {
        if self.method.is_idempotent() { self.copy() } else { None }
    }

    /// The body once more, if it is at hand.
    pub(crate) fn copy(&self) -> Option<Body> {
        match &self.body {
            Body::Empty => Some(Body::Empty),
            Body::Full(bytes) => Some(Body::Full(bytes.clone())),
            Body::Client(_) | Body::Stream(_) => None,
        }
    }

    /// The request's head to one endpoint.
    pub(crate) fn head<'a>(&'a self, endpoint: &'a Endpoint, preserve_host: bool) -> RequestHead<'a> {
        let preserve_host = preserve_host && !self.authority.is_empty();
        RequestHead {
            method: self.method,
            target: self.target,
            headers: self.headers,
            forwarding: self.forwarding,
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
