//! Bodies of JSON, by what their heads say.

/// Whether a body is JSON, as it is and not compressed, by its `content-type` and `content-encoding`: `application/json`, what ends
/// in `+json` (RFC 6839 §3.1), or what says nothing about itself, with an empty `content_type`.
///
/// ```
/// use plugin_sdk::json::is_plain;
///
/// assert!(is_plain(b"application/problem+json; charset=utf-8", b""));
/// assert!(!is_plain(b"application/json", b"gzip") && !is_plain(b"text/plain", b""));
/// ```
pub fn is_plain(content_type: &[u8], content_encoding: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let known = essence.is_empty() || essence == b"application/json" || essence.ends_with(b"+json");
    known && (content_encoding.is_empty() || content_encoding.eq_ignore_ascii_case(b"identity"))
}
