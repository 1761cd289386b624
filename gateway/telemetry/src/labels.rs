//! Labels with a fixed set of values.

use http::Method;

/// The methods that have a label of their own; every other is `other`, because clients make them up.
pub(super) const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "other"];

/// Status classes; `none` is for clients that left before a response began.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn method_index(method: &Method) -> usize {
    let last = METHODS.len() - 1;
    METHODS[..last].iter().position(|name| *name == method.as_str()).unwrap_or(last)
}

pub(super) fn class_index(status: Option<u16>) -> usize {
    status.map_or(0, |status| usize::from(status / 100).min(CLASSES.len() - 1))
}
