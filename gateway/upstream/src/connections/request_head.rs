//! A request without its body, as it is sent over either protocol.

use gateway_core::model::Upgrade;
use gateway_http::request_headers::ForwardingHeaders;
use http::{HeaderMap, HeaderValue, Method, response::Parts, uri::PathAndQuery};

/// A request without its body. Fields of the connection and of framing are not looked at.
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) headers: &'a HeaderMap,
    /// Forwarding headers beside those.
    pub(crate) forwarding: Option<&'a ForwardingHeaders>,
    pub(crate) host: &'a HeaderValue,
    /// What the connection shall switch to.
    pub(crate) upgrade: Option<Upgrade>,
    /// What `traceparent` says, where the request has one.
    pub(crate) traceparent: Option<&'a HeaderValue>,
    /// Receives the interim responses, if wanted.
    pub(crate) interim: Option<&'a dyn Fn(&Parts)>,
    /// The body follows when the upstream asks for it (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    /// No further request will come on the connection.
    pub(crate) last: bool,
}
