//! The size of header sections.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The size of a header section as HTTP/1.1 writes it: `name: value` and a line end for each field.
pub fn section_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| line_bytes(name, value)).sum()
}

/// The size of one field of it.
#[inline]
pub fn line_bytes(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}
