//! Whether a request's head means the same to everyone: judged after hyper's parser, before anything else.
//!
//! What hyper 1.12 (`proto/h1/role.rs`, with httparse 1.10) and h2 0.4 already see to, so that it is not
//! judged again here:
//!
//! - HTTP/1: refused are a control character, NUL, bare CR or obs-fold in a field, white space before the colon,
//!   an unreadable or a differing `Content-Length`, a `Transfer-Encoding` in HTTP/1.0 or one whose last coding is
//!   not `chunked`.
//! - HTTP/1: repaired are a bare LF at a line's end (RFC 9112 §2.2 allows it), repeated equal `Content-Length`
//!   fields (one stays), and `Content-Length` beside `Transfer-Encoding`: the former is dropped, as RFC 9112
//!   §6.3 has it, and the connection is closed after the reply. The message goes on with framing of our own, so
//!   the upstream never sees the ambiguity; it cannot be seen here either.
//! - HTTP/1: a fragment in the target is cut off.
//! - HTTP/2: refused are connection-specific fields, `TE` other than `trailers`, repeated or missing
//!   pseudo-header fields, and a `Content-Length` that is not a number or not the body's.
//!
//! Left to be judged: transfer codings before `chunked`, which hyper would lose; names of fields on HTTP/2;
//! `Host`; and limits.

use gateway_core::{error::Failure, model::Limits};
use gateway_rules::authority::is_authority;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request, uri::PathAndQuery};

use super::{
    field_name::are_tokens,
    known_headers::{CONTENT_LENGTH, EXPECT, KnownHeaders, TRANSFER_ENCODING},
};

/// What a request addresses, once its head is found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and perhaps port, never with user information; empty only for HTTP/1.0 without `Host`.
    pub authority: HeaderValue,
    /// As it came, not yet normalised.
    pub target: PathAndQuery,
}

/// Judges a head and takes `Host` out of it: from here on the authority says what is asked for.
pub fn admit(head: &mut request::Parts, known_headers: KnownHeaders, limits: &Limits) -> Result<Address, Failure> {
    check_limits(head, known_headers, limits)?;
    // HTTP/1's parser has seen to it.
    if head.version >= Version::HTTP_2 && !are_tokens(&head.headers) {
        return Err(Failure::MalformedRequest);
    }
    if !is_carried(&head.method) {
        return Err(Failure::MethodNotImplemented);
    }
    if known_headers.has(CONTENT_LENGTH | TRANSFER_ENCODING) {
        check_framing(&head.headers, head.version)?;
    }
    if known_headers.has(EXPECT) {
        check_expectation(&head.headers)?;
    }
    let target = target(&head.uri)?;
    let authority = authority(&head.uri, &head.headers, head.version)?;
    head.headers.remove(header::HOST);
    Ok(Address { authority, target })
}

/// Whether requests with this method are forwarded at all. TRACE would send back what plugins add for the
/// upstream, credentials perhaps (RFC 9110 §9.3.8).
pub fn is_carried(method: &Method) -> bool {
    *method != Method::CONNECT && *method != Method::TRACE
}

fn check_limits(head: &request::Parts, known_headers: KnownHeaders, limits: &Limits) -> Result<(), Failure> {
    let uri_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if uri_bytes > limits.uri_bytes {
        return Err(Failure::UriTooLong);
    }
    let line = head.method.as_str().len() + uri_bytes + head.uri.authority().map_or(0, |a| a.as_str().len());
    if head.headers.len() > limits.header_count || line + known_headers.bytes > limits.header_bytes {
        return Err(Failure::HeadTooLarge);
    }
    Ok(())
}

/// RFC 9112 §6.3, RFC 9113 §8.2.2.
fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), Failure> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    // Two equal ones could be made one (RFC 9110 §8.6), but only HTTP/2 gets here with them, and never by accident.
    if length.is_some_and(|length| !is_number(length)) || lengths.next().is_some() {
        return Err(Failure::MalformedRequest);
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    // hyper undoes the last coding only. `gzip, chunked` would be forwarded as a body that is not marked as
    // compressed; several lines are the classic way to have two parsers disagree.
    let only_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if only_chunked && length.is_none() && version == Version::HTTP_11 {
        Ok(())
    } else {
        Err(Failure::MalformedRequest)
    }
}

fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

/// RFC 9110 §10.1.1.
fn check_expectation(headers: &HeaderMap) -> Result<(), Failure> {
    let met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).iter().all(met) { Ok(()) } else { Err(Failure::ExpectationFailed) }
}

/// The path and query of an origin-form, absolute-form or asterisk-form target (RFC 9112 §3.2).
fn target(uri: &Uri) -> Result<PathAndQuery, Failure> {
    match uri.scheme_str() {
        None if uri.authority().is_some() => {
            // `host:port`, which only CONNECT may send.
            return Err(Failure::MalformedRequest);
        }
        None | Some("http" | "https") => {}
        Some(_) => return Err(Failure::MalformedRequest),
    }
    uri.path_and_query().cloned().ok_or(Failure::MalformedRequest)
}

/// What is asked for, where target and `Host` may both say it.
fn authority(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<HeaderValue, Failure> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    // RFC 9112 §3.2: more than one, or an invalid one, is answered with 400.
    if hosts.next().is_some() || host.is_some_and(|host| !is_authority(host.as_bytes())) {
        return Err(Failure::MalformedRequest);
    }
    let Some(named) = uri.authority() else {
        return match host {
            Some(host) => Ok(host.clone()),
            None if version <= Version::HTTP_10 => Ok(HeaderValue::from_static("")),
            None => Err(Failure::MalformedRequest),
        };
    };
    if !is_authority(named.as_str().as_bytes()) {
        return Err(Failure::MalformedRequest);
    }
    match host {
        // RFC 9113 §8.3.1: a Host that differs from `:authority` makes the request malformed.
        Some(host) if version >= Version::HTTP_2 => {
            let host = std::str::from_utf8(host.as_bytes()).map_err(|_| Failure::MalformedRequest)?;
            if !same_authority(named.as_str(), host, uri.scheme_str()) {
                return Err(Failure::MalformedRequest);
            }
        }
        // RFC 9112 §3.2: Host is required also beside an absolute-form target …
        None if version == Version::HTTP_11 => return Err(Failure::MalformedRequest),
        // … and §3.2.2: an origin server, which a gateway is to its clients, ignores it then.
        _ => {}
    }
    HeaderValue::from_str(named.as_str()).map_err(|_| Failure::MalformedRequest)
}

/// Whether two authorities are the same but for case and the scheme's default port.
fn same_authority(a: &str, b: &str, scheme: Option<&str>) -> bool {
    let default = if scheme == Some("https") { ":443" } else { ":80" };
    let bare = |text: &str| text.strip_suffix(default).or(text.strip_suffix(':')).unwrap_or(text).len();
    a[..bare(a)].eq_ignore_ascii_case(&b[..bare(b)])
}

/// The host of an authority, and its port if it has one that is not empty.
pub fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let colon = authority.iter().rposition(|&byte| byte == b':');
    // A colon within the brackets of an IPv6 address is none.
    match colon.filter(|&colon| !authority[colon..].contains(&b']')) {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..]).filter(|port| !port.is_empty())),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header_bytes: 1000,
        header_count: 10,
        uri_bytes: 100,
        body_bytes: 0,
        buffer_bytes: 0,
        cache_bytes: 0,
        store_bytes: 0,
        plugin_instances: None,
        plugin_memory: None,
        connections: 1,
        max_concurrent_streams: 1,
    };

    fn head(method: &str, uri: &str, version: Version, fields: &[(&'static str, &str)]) -> request::Parts {
        let mut request = http::Request::builder().method(method).uri(uri).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn judge(version: Version, uri: &str, fields: &[(&'static str, &str)]) -> Result<(String, String), Failure> {
        let mut head = head("GET", uri, version, fields);
        let known_headers = KnownHeaders::of(&head.headers);
        let address = admit(&mut head, known_headers, &LIMITS)?;
        assert!(!head.headers.contains_key(header::HOST));
        let authority = address.authority.to_str().expect("ascii").to_owned();
        Ok((authority, address.target.as_str().to_owned()))
    }

    fn v1(uri: &str, fields: &[(&'static str, &str)]) -> Result<(String, String), Failure> {
        judge(Version::HTTP_11, uri, fields)
    }

    fn v2(uri: &str, fields: &[(&'static str, &str)]) -> Result<(String, String), Failure> {
        judge(Version::HTTP_2, uri, fields)
    }

    const HOST: (&str, &str) = ("host", "a.example");

    fn address(authority: &str, target: &str) -> Result<(String, String), Failure> {
        Ok((authority.to_owned(), target.to_owned()))
    }

    const MALFORMED: Result<(String, String), Failure> = Err(Failure::MalformedRequest);

    #[test]
    fn an_ordinary_request_is_admitted() {
        assert_eq!(v1("/a?b", &[HOST]), address("a.example", "/a?b"));
        assert_eq!(v2("https://a.example:8443/a?b", &[]), address("a.example:8443", "/a?b"));
        assert_eq!(v2("/a", &[HOST]), address("a.example", "/a"));
        assert_eq!(v1("*", &[HOST]), address("a.example", "*"));
    }

    #[test]
    fn http_1_1_needs_one_valid_host() {
        assert_eq!(v1("/", &[]), MALFORMED);
        assert_eq!(v1("/", &[HOST, HOST]), MALFORMED);
        for host in [
            "", ":80", "a b", "a/b", "u@a", "a,b", "a:b", "a:99999", "a:+1", "a:80:80", "a\"", "[::1", "[x]", "[::1]x",
            "a%2eb", "é",
        ] {
            assert_eq!(v1("/", &[("host", host)]), MALFORMED, "{host:?}");
        }
        for host in ["a", "a.b:8080", "a.b:", "127.0.0.1", "[::1]", "[2001:db8::1]:443", "under_score.x", "x."] {
            assert_eq!(v1("/", &[("host", host)]), address(host, "/"));
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        assert_eq!(judge(Version::HTTP_10, "/", &[]), address("", "/"));
        assert_eq!(judge(Version::HTTP_10, "/", &[HOST]), address("a.example", "/"));
        assert_eq!(judge(Version::HTTP_10, "/", &[HOST, HOST]), MALFORMED);
    }

    #[test]
    fn an_absolute_target_outdoes_host() {
        assert_eq!(v1("http://b.example:81/x", &[HOST]), address("b.example:81", "/x"));
        assert_eq!(v1("http://b.example", &[HOST]), address("b.example", "/"));
        assert_eq!(v1("http://b.example/x", &[]), MALFORMED);
        assert_eq!(v1("http://u:p@b.example/x", &[HOST]), MALFORMED);
        assert_eq!(v1("ftp://b.example/x", &[HOST]), MALFORMED);
    }

    #[test]
    fn an_authority_alone_is_no_target() {
        assert_eq!(v1("b.example:80", &[HOST]), MALFORMED);
    }

    #[test]
    fn in_http_2_host_may_not_contradict_the_authority() {
        assert_eq!(v2("https://a.example/", &[("host", "A.example:443")]), address("a.example", "/"));
        assert_eq!(v2("http://a.example:80/", &[HOST]), address("a.example:80", "/"));
        assert_eq!(v2("https://a.example/", &[("host", "b.example")]), MALFORMED);
        assert_eq!(v2("https://a.example/", &[("host", "a.example:80")]), MALFORMED);
        assert_eq!(v2("https://u@a.example/", &[]), MALFORMED);
        assert_eq!(v2("/", &[]), MALFORMED);
    }

    #[test]
    fn in_http_2_a_name_is_a_token() {
        let named = |name: &'static [u8]| {
            let mut head = head("GET", "/", Version::HTTP_2, &[HOST]);
            let name = http::HeaderName::from_lowercase(name).expect("a name, for the library");
            head.headers.insert(name, HeaderValue::from_static("1"));
            let known_headers = KnownHeaders::of(&head.headers);
            admit(&mut head, known_headers, &LIMITS).map(drop)
        };
        assert_eq!(named(b"x\"y"), Err(Failure::MalformedRequest));
        assert_eq!(named(b"x'y"), Ok(()));
    }

    #[test]
    fn only_chunked_may_frame_and_only_alone() {
        assert!(v1("/", &[HOST, ("transfer-encoding", "chunked")]).is_ok());
        assert!(v1("/", &[HOST, ("transfer-encoding", "Chunked")]).is_ok());
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", ""] {
            assert_eq!(v1("/", &[HOST, ("transfer-encoding", coding)]), MALFORMED, "{coding}");
        }
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(v1("/", &[HOST, ("transfer-encoding", "identity"), chunked]), MALFORMED);
        assert_eq!(v1("/", &[HOST, chunked, chunked]), MALFORMED);
        assert_eq!(v1("/", &[HOST, chunked, ("content-length", "3")]), MALFORMED);
        assert_eq!(judge(Version::HTTP_10, "/", &[HOST, chunked]), MALFORMED);
        assert_eq!(v2("/", &[HOST, chunked]), MALFORMED);
    }

    #[test]
    fn a_length_is_one_number() {
        assert!(v2("/", &[HOST, ("content-length", "3")]).is_ok());
        assert_eq!(v2("/", &[HOST, ("content-length", "3"), ("content-length", "3")]), MALFORMED);
        assert_eq!(v2("/", &[HOST, ("content-length", "3"), ("content-length", "4")]), MALFORMED);
        for length in ["", "+3", "-1", "3, 3", "0x3", "3 "] {
            assert_eq!(v2("/", &[HOST, ("content-length", length)]), MALFORMED, "{length:?}");
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert!(v1("/", &[HOST, ("expect", "100-Continue")]).is_ok());
        assert_eq!(v1("/", &[HOST, ("expect", "a-miracle")]), Err(Failure::ExpectationFailed));
        assert_eq!(v1("/", &[HOST, ("expect", "100-continue"), ("expect", "x")]), Err(Failure::ExpectationFailed));
    }

    #[test]
    fn connect_and_trace_are_not_carried() {
        for (method, uri) in [("CONNECT", "a.example:443"), ("TRACE", "/")] {
            let mut head = head(method, uri, Version::HTTP_11, &[HOST]);
            let known_headers = KnownHeaders::of(&head.headers);
            assert_eq!(admit(&mut head, known_headers, &LIMITS), Err(Failure::MethodNotImplemented));
        }
    }

    #[test]
    fn what_is_over_a_limit_has_its_own_answer() {
        let long = "x".repeat(99);
        assert!(v1(&format!("/{long}"), &[HOST]).is_ok());
        assert_eq!(v1(&format!("/{long}x"), &[HOST]), Err(Failure::UriTooLong));
        let field = ("x-a", "1");
        assert!(v1("/", &[HOST, field, field, field, field, field, field, field, field, field]).is_ok());
        assert_eq!(
            v1("/", &[HOST, field, field, field, field, field, field, field, field, field, field]),
            Err(Failure::HeadTooLarge)
        );
        assert_eq!(v1("/", &[HOST, ("x-a", &"x".repeat(980))]), Err(Failure::HeadTooLarge));
    }
}
