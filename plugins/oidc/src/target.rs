//! Where a browser may be sent back to, and which requests come from one that can follow a redirect to a login.

use plugin_sdk::Request;

/// Longer targets are not remembered: the cookie of a login has to fit into 4 KiB.
const MAX_TARGET: usize = 2048;

/// Whether a target leads to the same origin wherever it is resolved: a path from the root. Browsers read `\` as `/` and skip control
/// characters (WHATWG URL §4.4), so that `/\example.com` is another host. No URL has `"` (RFC 3986 §2), which takes two bytes in the
/// cookie of a login.
pub(crate) fn is_local(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= MAX_TARGET
        && target.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"'))
}

/// The target to return to: the one that is asked for, its path alone if the query is too long, or else the root. Never one of the
/// plugin's own, which would begin a login or a logout again.
pub(crate) fn to_return_to(target: &str, own: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // As the browser and the gateway read it.
    let plain = decode_unreserved(path);
    let is_own = plain.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let has_dots = plain.split('/').any(|segment| matches!(segment, "." | ".."));
    let target = if target.len() > MAX_TARGET { path } else { target };
    if is_local(target) && !is_own && !has_dots { target.to_owned() } else { "/".to_owned() }
}

/// A path with its unreserved characters decoded: with and without percent-encoding they are the same (RFC 3986 §6.2.2.2), also in
/// the dot segments that browsers resolve (WHATWG URL §4.1).
fn decode_unreserved(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &after[2..];
            }
            None => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain + rest
}

/// Whether the request is a navigation of a browser. Browsers say so in `sec-fetch-mode` (W3C Fetch Metadata); others by `accept`.
pub(crate) fn is_navigation(request: &Request) -> bool {
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        return false;
    }
    if let Some(mode) = request.header("sec-fetch-mode") {
        return mode == "navigate";
    }
    let accepts_pages = |accept: String| {
        let ranges = accept.split(',').filter_map(|range| range.split(';').next());
        ranges
            .map(str::trim)
            .any(|range| range.eq_ignore_ascii_case("text/html") || range.eq_ignore_ascii_case("application/xhtml+xml"))
    };
    request.header("x-requested-with").is_none() && request.header("accept").is_some_and(accepts_pages)
}

#[cfg(test)]
mod tests {
    use super::{is_local, to_return_to};

    #[test]
    fn only_paths_of_the_same_origin_are_targets() {
        for local in ["/", "/a?b=//c", "/a//b", "/a%0d%0ab"] {
            assert!(is_local(local), "{local}");
            assert_eq!(to_return_to(local, "/oidc"), local);
        }
        for elsewhere in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/\t/evil.example",
            "\\\\evil.example",
            "/a\r\nset-cookie: b=1",
            "/\u{e9}",
            "javascript:alert(1)",
            "/a b",
            "/a\"b",
        ] {
            assert!(!is_local(elsewhere), "{elsewhere:?}");
            assert_eq!(to_return_to(elsewhere, "/oidc"), "/", "{elsewhere:?}");
        }
    }

    #[test]
    fn long_queries_are_left_out_and_own_paths_are_no_targets() {
        let long = "x".repeat(3000);
        assert_eq!(to_return_to(&format!("/a?{long}"), "/oidc"), "/a");
        assert_eq!(to_return_to(&format!("/{long}"), "/oidc"), "/");
        for own in ["/oidc", "/oidc/login?provider=a", "/oidc?x", "/%6fidc/logout", "/oi%64%63#x"] {
            assert_eq!(to_return_to(own, "/oidc"), "/", "{own}");
        }
        assert_eq!(to_return_to("/oidcs", "/oidc"), "/oidcs");
    }

    #[test]
    fn targets_with_dot_segments_are_refused() {
        for dots in ["/a/../oidc/logout", "/.", "/./oidc/logout", "/a/%2e%2E/oidc/logout", "/.%2e/oidc", "/%2e/oidc?x"]
        {
            assert_eq!(to_return_to(dots, "/oidc"), "/", "{dots}");
        }
        for other in ["/...", "/a.b/..c", "/a?b=/../c", "/%25%2", "/%zz%", "/a%2Fb"] {
            assert_eq!(to_return_to(other, "/oidc"), other);
        }
    }
}
