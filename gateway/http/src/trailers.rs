//! Which fields may come after a body. RFC 9110 §6.5.1: none that frames, routes or modifies a message,
//! authenticates, or says how its content is to be processed. Services that merge trailers into the headers,
//! as some servers do, must not get to see from a client what the gateway alone may say. What the plugins of
//! a route say is known to the exchange, which removes trailers of the same names (`pipeline/touched.rs`).

use http::{HeaderMap, HeaderName};

use super::{field_name::is_token, known_headers::is_claim};

/// Removes what may not be a trailer.
pub fn clean(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| is_forbidden(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    let name = name.as_str();
    is_claim(name)
        || !is_token(name)
        || name.starts_with("proxy-")
        || name.starts_with("if-")
        || name.starts_with("access-control-")
        || matches!(
            name,
            "age"
                | "authorization"
                | "cache-control"
                | "connection"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-type"
                | "cookie"
                | "expect"
                | "expires"
                | "host"
                | "keep-alive"
                | "location"
                | "max-forwards"
                | "pragma"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "te"
                | "traceparent"
                | "tracestate"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "vary"
                | "www-authenticate"
                | "x-request-id"
        )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn left(names: &[&'static str]) -> Vec<String> {
        let mut trailers = HeaderMap::new();
        for name in names {
            trailers.append(*name, HeaderValue::from_static("1"));
        }
        clean(&mut trailers);
        trailers.keys().map(HeaderName::to_string).collect()
    }

    #[test]
    fn what_tells_about_the_body_may_follow_it() {
        let names = ["etag", "content-digest", "server-timing", "grpc-status", "x-checksum"];
        assert_eq!(left(&names), names);
    }

    #[test]
    fn what_belongs_into_the_head_may_not() {
        let names =
            ["content-length", "host", "connection", "authorization", "cookie", "x-forwarded-for", "x-request-id"];
        assert!(left(&names).is_empty());
        assert_eq!(left(&["te", "x-a", "x-a", "if-match"]), ["x-a"]);
    }
}
