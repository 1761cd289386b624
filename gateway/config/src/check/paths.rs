//! Path patterns and host patterns.

use std::net::IpAddr;

use gateway_core::model::{EncodedSlashes, HostPattern, MatrixParameters, PathPattern, PathRule, Segment};
use gateway_http::path::{Normal, name_of, normalise};
use http::{Method, uri::PathAndQuery};
use thiserror::Error;

/// Why a text is no pattern of a path or of a host, with the cure.
#[derive(Debug, PartialEq, Error)]
pub(super) enum PatternError {
    #[error("a path has no query; use `query` beside it")]
    Query,
    #[error("a path begins with `/`: `/{0}`")]
    NoSlash(String),
    #[error("parameter `{0}` is there twice")]
    Twice(String),
    #[error("`{0}`: a parameter is a whole segment between slashes, such as `{{id}}`")]
    PartOfSegment(String),
    #[error("`{0}`: the name of a parameter is a letter or `_`, then up to 63 letters, digits, `_` or `-`")]
    ParameterName(String),
    #[error("`{0}` takes all that is left of a path and can only be its last segment")]
    RestNotLast(String),
    #[error("`{0}` is no wildcard; write `{{name}}` for one segment, `{{*rest}}` for all that is left")]
    Wildcard(String),
    #[error("`{0}` never matches: dot segments are resolved before routing")]
    DotSegment(String),
    #[error("`//` never matches: slashes are merged before routing (`paths.merge-slashes`)")]
    EmptySegment,
    #[error("`{segment}` never matches: paths are normalised before routing; write `{normal}`")]
    NotNormal { segment: String, normal: String },
    #[error("`{0}` never matches; `paths: {{ encoded-slashes: keep }}` lets it")]
    EncodedSlash(String),
    #[error("`{0}` never matches; `paths: {{ matrix-parameters: keep }}` lets it")]
    MatrixParameters(String),
    #[error("`{0}` never matches: requests for such a path are rejected")]
    Rejected(String),
    #[error("`{0}`: `%` is followed by two hexadecimal digits; itself it is `%25`")]
    Percent(String),
    #[error("`{0}` is no host; leave out scheme and path")]
    HostOfUrl(String),
    #[error("every host is matched if `host` is left out")]
    EveryHost,
    #[error("hosts are matched without port; write `{0}`")]
    Port(String),
    #[error("`{0}`: `*` can only stand before the first dot, as in `*.example.com`")]
    Asterisk(String),
    #[error("`{0}`: names with other than ASCII characters are written in their `xn--` form")]
    NotAscii(String),
    #[error("`{0}` is no host name")]
    HostName(String),
}

/// Reads a path pattern. Literals must be as the gateway's normalisation leaves paths: everything else would
/// never match, silently.
pub(super) fn path(text: &str, rule: PathRule) -> Result<PathPattern, PatternError> {
    if text.contains(['?', '#']) {
        return Err(PatternError::Query);
    }
    let rest = text.strip_prefix('/').ok_or_else(|| PatternError::NoSlash(text.to_owned()))?;
    let typed: Vec<&str> = rest.split('/').collect();
    let mut segments = Vec::with_capacity(typed.len());
    for (i, segment) in typed.iter().enumerate() {
        let last = i + 1 == typed.len();
        let parsed = if segment.contains(['{', '}']) { capture(segment, last)? } else { literal(segment, last, rule)? };
        if let Segment::Parameter(name) | Segment::Rest(name) = &parsed {
            let twice = segments.iter().any(|s| matches!(s, Segment::Parameter(n) | Segment::Rest(n) if n == name));
            if twice {
                return Err(PatternError::Twice(name.clone()));
            }
        }
        segments.push(parsed);
    }
    Ok(PathPattern { text: text.to_owned(), segments })
}

fn capture(segment: &str, last: bool) -> Result<Segment, PatternError> {
    let inner = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')).filter(|s| !s.contains(['{', '}']));
    let inner = inner.ok_or_else(|| PatternError::PartOfSegment(segment.to_owned()))?;
    let (rest, name) = inner.strip_prefix('*').map_or((false, inner), |name| (true, name));
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') || name.len() > 64 {
        return Err(PatternError::ParameterName(segment.to_owned()));
    }
    match (rest, last) {
        (true, false) => Err(PatternError::RestNotLast(segment.to_owned())),
        (true, true) => Ok(Segment::Rest(name.to_owned())),
        (false, _) => Ok(Segment::Parameter(name.to_owned())),
    }
}

fn literal(segment: &str, last: bool, rule: PathRule) -> Result<Segment, PatternError> {
    if matches!(segment, "*" | "**") {
        return Err(PatternError::Wildcard(segment.to_owned()));
    }
    let normal = normal_form(segment)?;
    if matches!(&*normal, "." | "..") {
        return Err(PatternError::DotSegment(segment.to_owned()));
    }
    if segment.is_empty() && !last && rule.merge_slashes {
        return Err(PatternError::EmptySegment);
    }
    if normal != segment {
        return Err(PatternError::NotNormal { segment: segment.to_owned(), normal });
    }
    let encoded_slash = normal.contains("%2F") || normal.contains("%5C");
    if encoded_slash && rule.encoded_slashes != EncodedSlashes::Keep {
        return Err(PatternError::EncodedSlash(segment.to_owned()));
    }
    if name_of(&normal) != normal && rule.matrix_parameters != MatrixParameters::Keep {
        return Err(PatternError::MatrixParameters(segment.to_owned()));
    }
    match PathAndQuery::try_from(format!("/{normal}/")).map(|target| normalise(&target, &Method::GET)) {
        Ok(Ok(Normal::Clear(_))) => {}
        Ok(Ok(Normal::Ambiguous(path))) if path.under(rule).is_ok() => {}
        _ => return Err(PatternError::Rejected(segment.to_owned())),
    }
    Ok(Segment::Literal(normal))
}

/// RFC 3986 §6.2.2: unreserved characters plain, all that is not allowed in a segment (§3.3) percent-encoded,
/// hexadecimal digits in upper case.
fn normal_form(segment: &str) -> Result<String, PatternError> {
    let mut normal = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, encoded) = if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(|b| b.and_then(|b| char::from(b).to_digit(16)));
            match digits {
                [Some(high), Some(low)] => ((high * 16 + low) as u8, true),
                _ => return Err(PatternError::Percent(segment.to_owned())),
            }
        } else {
            (byte, false)
        };
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || (!encoded && b"!$&'()*+,;=:@".contains(&byte)) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(normal)
}

/// Reads a host pattern: a name, an address, or `*.` and a name.
pub(super) fn host(text: &str) -> Result<HostPattern, PatternError> {
    if text.contains("://") || text.contains('/') {
        return Err(PatternError::HostOfUrl(text.to_owned()));
    }
    if text == "*" {
        return Err(PatternError::EveryHost);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(HostPattern::Exact(match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }));
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(PatternError::Port(name.to_owned()));
    }
    let lower = text.to_ascii_lowercase();
    let (suffix, name) = lower.strip_prefix("*.").map_or((false, lower.as_str()), |name| (true, name));
    if name.contains('*') {
        return Err(PatternError::Asterisk(text.to_owned()));
    }
    if !name.is_ascii() {
        return Err(PatternError::NotAscii(text.to_owned()));
    }
    if !is_name(name) {
        return Err(PatternError::HostName(text.to_owned()));
    }
    Ok(if suffix { HostPattern::Suffix(name.to_owned()) } else { HostPattern::Exact(name.to_owned()) })
}

/// RFC 1123 §2.1, and underscores, which internal names often have.
fn is_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: PathRule = PathRule {
        encoded_slashes: EncodedSlashes::Keep,
        merge_slashes: true,
        matrix_parameters: MatrixParameters::Keep,
    };

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn a_pattern_is_its_segments() {
        assert_eq!(path("/", RULE).unwrap().segments, [literal("")]);
        assert_eq!(path("/a/", RULE).unwrap().segments, [literal("a"), literal("")]);
        let segments = path("/a/{id}/{*rest}", RULE).unwrap().segments;
        assert_eq!(segments, [literal("a"), Segment::Parameter("id".into()), Segment::Rest("rest".into())]);
        assert_eq!(path("/caf%C3%A9/a:b@c%2Fd", RULE).unwrap().segments[0], literal("caf%C3%A9"));
    }

    #[test]
    fn what_would_never_match_is_refused_with_the_cure() {
        for (text, word) in [
            ("users", "`/users`"),
            ("", "begins with `/`"),
            ("/a?b", "query"),
            ("/a//b", "merge"),
            ("/a/../b", "dot segments"),
            ("/a/%2e%2E/b", "dot segments"),
            ("/café", "`caf%C3%A9`"),
            ("/%7euser", "`~user`"),
            ("/a%2fb", "`a%2Fb`"),
            ("/a%2", "hexadecimal"),
            ("/a b", "`a%20b`"),
            ("/a%00b", "rejected"),
            ("/a%7fb", "`a%7Fb`"),
            ("/..;a/b", "rejected"),
            ("/a%2F../b", "rejected"),
            ("/static/*", "{*rest}"),
            ("/a{id}", "whole segment"),
            ("/{id", "whole segment"),
            ("/{}", "name of a parameter"),
            ("/{*}", "name of a parameter"),
            ("/{1}", "name of a parameter"),
            ("/{*rest}/a", "last segment"),
            ("/{id}/{id}", "twice"),
        ] {
            let message = path(text, RULE).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }

    #[test]
    fn the_rule_for_paths_decides_what_can_match() {
        let reject = PathRule { merge_slashes: false, ..PathRule::default() };
        assert!(path("/a%2Fb", reject).unwrap_err().to_string().contains("encoded-slashes: keep"));
        assert!(path("/a%5Cb", reject).is_err());
        assert!(path("/a;b", reject).unwrap_err().to_string().contains("matrix-parameters: keep"));
        assert!(path("/a//b", reject).is_ok());
        let decode = PathRule { encoded_slashes: EncodedSlashes::Decode, ..PathRule::default() };
        assert!(path("/a%2Fb", decode).is_err());
        assert!(path("/a%5Cb", decode).is_err());
    }

    #[test]
    fn the_gateway_leaves_literals_as_they_are() {
        // Every byte in every spelling: what is accepted here must survive the normalisation of requests.
        let bytes = (0..=255u8).flat_map(|b| [format!("a%{b:02X}b"), format!("a%{b:02x}b"), char::from(b).to_string()]);
        let dots = ["..", ".", "...", ".a", "a..", "..;x", ".;x", "a;..", "..%2F", "a%2F..", ".%5C.", "a%2F.%2Fb"];
        for segment in bytes.chain(dots.map(str::to_owned)) {
            for encoded_slashes in [EncodedSlashes::Keep, EncodedSlashes::Reject, EncodedSlashes::Decode] {
                let rule = PathRule { encoded_slashes, ..RULE };
                let text = format!("/{segment}/end");
                let Ok(target) = text.parse() else { continue };
                let normal = normalise(&target, &Method::GET).and_then(|normal| match normal {
                    Normal::Clear(target) => Ok(target),
                    Normal::Ambiguous(path) => path.under(rule),
                });
                let arrives = normal.is_ok_and(|normal| normal.as_str() == text);
                let accepted = path(&text, rule).is_ok();
                if !text.contains(['{', '}', '*', '?']) {
                    assert_eq!(accepted, arrives, "{text} {rule:?}");
                }
            }
        }
    }

    #[test]
    fn hosts_are_names_addresses_or_suffixes() {
        assert_eq!(host("API.Example.com"), Ok(HostPattern::Exact("api.example.com".into())));
        assert_eq!(host("*.example.com"), Ok(HostPattern::Suffix("example.com".into())));
        assert_eq!(host("127.0.0.1"), Ok(HostPattern::Exact("127.0.0.1".into())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        assert_eq!(host("::1"), Ok(HostPattern::Exact("[::1]".into())));
        assert_eq!(host("my_service"), Ok(HostPattern::Exact("my_service".into())));
    }

    #[test]
    fn other_hosts_are_refused_with_the_cure() {
        for (text, word) in [
            ("https://a.b", "scheme"),
            ("*", "left out"),
            ("a.b:80", "`a.b`"),
            ("a.*.b", "before the first dot"),
            ("*a.b", "before the first dot"),
            ("bücher.de", "xn--"),
            ("a..b", "no host name"),
            ("a b", "no host name"),
            ("", "no host name"),
            ("-a.b", "no host name"),
            ("a.b.", "no host name"),
        ] {
            let message = host(text).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
