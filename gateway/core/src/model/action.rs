//! What becomes of a route's requests, after its plugins.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, uri::PathAndQuery};

use super::Upstream;

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Upstream(Arc<Upstream>),
    /// Weighted random; at least two, of which one has a weight.
    Split(Vec<(Arc<Upstream>, u32)>),
    Redirect(Redirect),
    Respond(Respond),
}

/// What is absent is as in the request. The query always is, unless the path has one; the port is not if the scheme
/// is another.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    pub scheme: Option<&'static str>,
    /// With port, if it has one.
    pub authority: Option<HeaderValue>,
    pub port: Option<u16>,
    pub path: Option<PathAndQuery>,
    pub status: StatusCode,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Respond {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}
