//! Where a browser may be sent back to, and which requests come from one that can follow a redirect to a login.

use plugin_sdk::Request;

/// Longer targets are not remembered: the cookie of a login has to fit into 4 KiB.
const MAX_TARGET: usize = 2048;

/// Whether a target leads to the same origin wherever it is resolved: a path from the root. Browsers read `\` as `/` and skip control
/// characters (WHATWG URL §4.4), so that `/\example.com` is another host.
pub(crate) fn is_local(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= MAX_TARGET
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// The target to return to: the one that is asked for, its path alone if the query is too long, or else the root. Never one of the
/// plugin's own, which would begin a login or a logout again.
pub(crate) fn to_return_to(target: &str, own: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let is_own = path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let target = if target.len() > MAX_TARGET { path } else { target };
    if is_local(target) && !is_own { target.to_owned() } else { "/".to_owned() }
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
        for own in ["/oidc", "/oidc/login?provider=a", "/oidc?x"] {
            assert_eq!(to_return_to(own, "/oidc"), "/", "{own}");
        }
        assert_eq!(to_return_to("/oidcs", "/oidc"), "/oidcs");
    }
}
