//! The heads of messages on their way.

use gateway_http::request_headers::RequestHeaders;
use http::{HeaderMap, HeaderValue, Method, StatusCode, uri::PathAndQuery};

/// The head of a request as the upstream will see it. `host` is not among the headers, but `authority`.
#[derive(Clone)]
pub struct RequestHead {
    pub method: Method,
    pub scheme: &'static str,
    pub authority: HeaderValue,
    pub target: PathAndQuery,
    pub headers: RequestHeaders,
}

/// The head of a response.
#[derive(Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}
