//! What the table is asked.

use http::{HeaderMap, Method};

/// What a request is matched by.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The name of the listener that the request came to; empty if it is not known.
    pub listener: &'a str,
    /// The authority, in any case, with or without port; empty if the request names none.
    pub host: &'a str,
    /// The normalised path, from the root.
    pub path: &'a str,
    /// What follows `?`.
    pub query: Option<&'a str>,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}
