//! Requests that plugins send to upstreams.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use crate::fields::is_owned_by_the_gateway;

/// The longest a call may wait, whatever the plugin asks for.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_TARGET_BYTES: usize = 16 * 1024;

/// The head of a request that can be sent.
#[derive(Debug)]
pub struct CallHead {
    /// Any but `CONNECT`.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// Without those that the gateway sets.
    pub headers: HeaderMap,
}

/// Checks what could make another request than the one meant, or several. The error says which part is not valid.
///
/// # Errors
///
/// The method, the target or a header is not valid, or there are more headers than `max_headers`.
pub fn checked<'a>(
    method: &str,
    target_text: &str,
    headers: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>,
    max_headers: usize,
) -> Result<CallHead, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| "method".to_owned())?;
    if method == Method::CONNECT {
        return Err("method CONNECT".to_owned());
    }
    let target = target(target_text)?;
    if headers.len() > max_headers {
        return Err(format!("more than {max_headers} headers"));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("header name {name:?}"))?;
        if lower == header::HOST || is_owned_by_the_gateway(&lower) {
            return Err(format!("header {lower}: the gateway sets it"));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| format!("value of header {lower}"))?;
        map.append(lower, value);
    }
    Ok(CallHead { method, target, headers: map })
}

/// A path with query as plugins give it.
///
/// # Errors
///
/// It is not in origin-form, or longer than 16 KiB.
pub fn target(text: &str) -> Result<PathAndQuery, String> {
    let is_target = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !is_target || text.len() > MAX_TARGET_BYTES {
        return Err("path-with-query: it begins with a slash and is plain ASCII".to_owned());
    }
    PathAndQuery::try_from(text).map_err(|error| format!("path-with-query: {error}"))
}

/// How long a call may take that asks for this; for the longest time if that is 0.
pub fn timeout(asked: Duration) -> Duration {
    if asked.is_zero() { MAX_TIMEOUT } else { asked.min(MAX_TIMEOUT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, target: &str, header: (&str, &[u8])) -> Result<CallHead, String> {
        checked(method, target, [header].into_iter(), 1)
    }

    #[test]
    fn a_valid_call_is_taken_over() {
        let head = check("GET", "/jwks?x=1", ("Accept", b"*/*")).unwrap();
        assert_eq!((head.method, head.target.as_str()), (Method::GET, "/jwks?x=1"));
        assert_eq!(head.headers["accept"], "*/*");
    }

    #[test]
    fn a_timeout_is_bounded() {
        assert_eq!(timeout(Duration::ZERO), MAX_TIMEOUT);
        assert_eq!(timeout(Duration::MAX), MAX_TIMEOUT);
        assert_eq!(timeout(Duration::from_millis(250)), Duration::from_millis(250));
    }

    #[test]
    fn what_could_smuggle_is_refused_and_named() {
        let refused = |name: &str, value: &[u8]| check("GET", "/", (name, value)).unwrap_err();
        assert!(refused("Transfer-Encoding", b"chunked").contains("transfer-encoding"));
        assert!(refused("content-length", b"3").contains("content-length"));
        assert!(refused("host", b"elsewhere").contains("host"));
        assert!(refused("x", b"a\r\nb: c").contains('x'));
        let refused = |method: &str, target: &str| check(method, target, ("a", b"b")).unwrap_err();
        assert!(refused("GET", "http://elsewhere/").contains("path"));
        assert!(refused("GET", "/a b").contains("path"));
        assert!(refused("GET /", "/").contains("method"));
        assert!(refused("CONNECT", "/").contains("CONNECT"));
        let two: [(&str, &[u8]); 2] = [("a", b"b"), ("c", b"d")];
        assert!(checked("GET", "/", two.into_iter(), 1).unwrap_err().contains("more than 1 headers"));
    }
}
