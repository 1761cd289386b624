//! Requests that come back to the gateway, because it is its own upstream or two gateways are each other's. Each request to an
//! upstream carries the gateway's mark in `CDN-Loop` (RFC 8586), which is for this purpose and which others pass on.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A request may come back so often: a plugin may ask a service that the same gateway has a route for.
const MOST: usize = 4;

/// Of this process alone: two gateways in a row are no loop.
static MARK: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mark = format!("gateway-{:016x}", fastrand::u64(..));
    HeaderValue::try_from(mark).expect("letters, digits and a hyphen")
});

/// What a request to an upstream says.
pub fn mark() -> &'static HeaderValue {
    &MARK
}

/// Whether a request has passed this gateway so often that it would for ever.
pub fn is_loop(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CDN_LOOP).iter();
    let ids = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    // Parameters may follow (RFC 8586 §2).
    let own =
        ids.filter(|id| id.split(|&byte| byte == b';').next().is_some_and(|id| id.trim_ascii() == MARK.as_bytes()));
    own.take(MOST).count() == MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (CDN_LOOP, line.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_request_that_came_back_too_often_is_a_loop_however_that_is_written() {
        let mark = mark().to_str().expect("ascii");
        assert!(is_loop(&with(&[mark; MOST])));
        assert!(is_loop(&with(&[&[mark; MOST].join(",")])));
        assert!(is_loop(&with(&[&format!("{mark};v=1, other"), &format!("{mark} ,{mark}"), mark])));
        assert!(!is_loop(&with(&[mark; MOST - 1])));
        assert!(!is_loop(&with(&["gateway-0", "other", &mark[..mark.len() - 1], &format!("{mark}0"), ""])));
    }
}
