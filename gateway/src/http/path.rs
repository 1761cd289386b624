//! The one form of a path, in which it is matched, shown to plugins and sent upstream.
//!
//! The rule (RFC 3986 §6.2.2, WHATWG URL for octets that no URI may hold):
//!
//! 1. A percent-encoded unreserved character is decoded; other escapes stay, in upper case. What a URI path
//!    may not hold raw (`"`, `{`, `[`, `ü`, …) is encoded.
//! 2. Rejected: a backslash, an escape without two hexadecimal digits, an encoded control character.
//! 3. `%2F` and `%5C` follow [`EncodedSlashes`]. Decoded, `%2F` separates segments and `%5C` is a backslash and
//!    so rejected. Kept, they separate nothing; but `..` between them is rejected, because an upstream that
//!    does decode them would serve another path than the one that was routed.
//! 4. Where configured, slashes in a row become one.
//! 5. Dot segments are resolved (RFC 3986 §5.2.4); `..` above the root is rejected. So is a dot segment with a
//!    parameter (`..;x`), which servlet containers resolve and others do not.
//! 6. The query stays as it is. `*` is for `OPTIONS` only (RFC 9112 §3.2.4).
//!
//! A path in this form is its own normal form.

use std::fmt;

use http::{Method, uri::PathAndQuery};

use crate::{
    config::model::{EncodedSlashes, PathRule},
    error::Failure,
};

/// Which part of the rule a path breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    Backslash,
    BrokenEscape,
    ControlCharacter,
    EncodedSlash,
    /// `..` between encoded slashes, or a dot segment with parameters.
    HiddenDotSegment,
    AboveRoot,
    /// `*` with another method than `OPTIONS`.
    Asterisk,
    /// Longer in its normal form than a target can be.
    TooLong,
}

/// The normal form of a request's path, with its query. Allocates nothing where the path already has it.
pub fn normalise(target: &PathAndQuery, method: &Method, rule: PathRule) -> Result<PathAndQuery, Rejected> {
    let path = target.path();
    if path == "*" {
        return if method == Method::OPTIONS { Ok(target.clone()) } else { Err(Rejected::Asterisk) };
    }
    // An absolute-form target may begin with its query: `http://host?query`.
    let rooted = target.as_str().starts_with('/');
    if rooted && is_normal(path, rule) {
        return Ok(target.clone());
    }
    let mut normal = resolve(&escape(path, rule)?, rule.merge_slashes)?;
    if rooted && normal == path {
        return Ok(target.clone());
    }
    if let Some(query) = target.query() {
        normal.push('?');
        normal.push_str(query);
    }
    PathAndQuery::try_from(normal).map_err(|_| Rejected::TooLong)
}

/// Whether a path surely has its normal form; `false` means that it takes a closer look.
fn is_normal(path: &str, rule: PathRule) -> bool {
    let bytes = path.as_bytes();
    let mut previous = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'/' if previous == b'/' && rule.merge_slashes => return false,
            b'.' if previous == b'/' => return false,
            b'%' => {
                let Some(Ok(value)) = bytes.get(at + 1..at + 3).map(escaped) else { return false };
                let upper = !bytes[at + 1..at + 3].iter().any(u8::is_ascii_lowercase);
                if !upper || is_unreserved(value) || value.is_ascii_control() || matches!(value, b'/' | b'\\') {
                    return false;
                }
                at += 2;
            }
            _ if !IN_PATH[usize::from(byte)] => return false,
            _ => {}
        }
        previous = byte;
        at += 1;
    }
    true
}

/// Steps 1 to 3: every octet in its one spelling.
fn escape(path: &str, rule: PathRule) -> Result<String, Rejected> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(bytes.len() + 16);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let value = escaped(bytes.get(at..at + 2).ok_or(Rejected::BrokenEscape)?)?;
                at += 2;
                match (value, rule.encoded_slashes) {
                    (b'/' | b'\\', EncodedSlashes::Reject) => return Err(Rejected::EncodedSlash),
                    (b'/', EncodedSlashes::Decode) => out.push('/'),
                    (b'\\', EncodedSlashes::Decode) => return Err(Rejected::Backslash),
                    (value, _) if value.is_ascii_control() => return Err(Rejected::ControlCharacter),
                    (value, _) if is_unreserved(value) => out.push(char::from(value)),
                    (value, _) => push_escape(&mut out, value),
                }
            }
            b'\\' => return Err(Rejected::Backslash),
            _ if byte.is_ascii_control() => return Err(Rejected::ControlCharacter),
            _ if byte == b'/' || is_pchar(byte) => out.push(char::from(byte)),
            _ => push_escape(&mut out, byte),
        }
    }
    Ok(out)
}

/// Steps 4 and 5.
fn resolve(path: &str, merge: bool) -> Result<String, Rejected> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" if merge && !last => continue,
            "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(Rejected::AboveRoot)?;
                out.truncate(parent);
            }
            _ if hides_dots(segment) => return Err(Rejected::HiddenDotSegment),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if last {
            // What a dot segment at the end names is a directory.
            out.push('/');
        }
    }
    Ok(out)
}

/// Whether some upstream would find a dot segment in a segment that is none.
fn hides_dots(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    let is_dots = |part: &str| matches!(part, "." | "..");
    let parameter = segment.split_once(';').is_some_and(|(name, _)| is_dots(name));
    let between_slashes = || segment.split("%2F").flat_map(|part| part.split("%5C")).any(|part| part == "..");
    parameter || between_slashes()
}

fn push_escape(out: &mut String, value: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(value >> 4)]));
    out.push(char::from(HEX[usize::from(value & 15)]));
}

fn escaped(digits: &[u8]) -> Result<u8, Rejected> {
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Rejected::BrokenEscape);
    match digits {
        &[high, low] => Ok((digit(high)? << 4 | digit(low)?) as u8),
        _ => Err(Rejected::BrokenEscape),
    }
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a path is made of besides escapes.
static IN_PATH: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = byte as u8 == b'/' || is_pchar(byte as u8);
        byte += 1;
    }
    table
};

/// RFC 3986 §3.3, less the percent sign.
const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backslash => "the path has a backslash",
            Self::BrokenEscape => "the path has a percent sign without two hexadecimal digits",
            Self::ControlCharacter => "the path has a control character",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::HiddenDotSegment => "the path has a disguised dot segment",
            Self::AboveRoot => "the path leads above the root",
            Self::Asterisk => "the target * is for OPTIONS only",
            Self::TooLong => "the normalised path is too long",
        })
    }
}

impl std::error::Error for Rejected {}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::TooLong => Self::UriTooLong,
            _ => Self::PathRejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: PathRule = PathRule { encoded_slashes: EncodedSlashes::Keep, merge_slashes: true };
    const APART: PathRule = PathRule { merge_slashes: false, ..KEEP };
    const REJECT: PathRule = PathRule { encoded_slashes: EncodedSlashes::Reject, ..KEEP };
    const DECODE: PathRule = PathRule { encoded_slashes: EncodedSlashes::Decode, ..KEEP };

    fn normal(path: &str, rule: PathRule) -> Result<String, Rejected> {
        let target = PathAndQuery::try_from(path).expect("a target");
        normalise(&target, &Method::GET, rule).map(|target| target.as_str().to_owned())
    }

    #[track_caller]
    fn assert_normal(rule: PathRule, cases: &[(&str, &str)]) {
        for (path, expected) in cases {
            assert_eq!(normal(path, rule).as_deref(), Ok(*expected), "{path}");
        }
    }

    #[track_caller]
    fn assert_rejected(rule: PathRule, cases: &[(&str, Rejected)]) {
        for (path, expected) in cases {
            assert_eq!(normal(path, rule), Err(*expected), "{path}");
        }
    }

    #[test]
    fn a_normal_path_is_returned_as_it_is() {
        for path in ["/", "/a/b", "/a/", "/a.b/..c/d.", "/a%20b%C3%BC", "/a;v=1/(b)*,'!$&+=:@~-_", "/?a=..//%2f%zz"] {
            let target = PathAndQuery::try_from(path).expect("a target");
            let out = normalise(&target, &Method::GET, KEEP).expect("it is normal");
            assert_eq!(out.as_str().as_ptr(), target.as_str().as_ptr(), "{path} was copied");
        }
    }

    #[test]
    fn escapes_have_one_spelling() {
        assert_normal(
            KEEP,
            &[
                ("/%7Euser/%41%62%2D%5f%2e", "/~user/Ab-_."),
                ("/%c3%bc%3a%3B", "/%C3%BC%3A%3B"),
                ("/ü", "/%C3%BC"),
                ("/a[0]{b}|^\"", "/a%5B0%5D%7Bb%7D%7C%5E%22"),
                ("/%252e%252e/", "/%252e%252e/"),
            ],
        );
    }

    #[test]
    fn broken_escapes_backslashes_and_controls_are_rejected() {
        assert_rejected(
            KEEP,
            &[
                ("/%", Rejected::BrokenEscape),
                ("/%4", Rejected::BrokenEscape),
                ("/%zz", Rejected::BrokenEscape),
                ("/%+1", Rejected::BrokenEscape),
                ("/%4/1", Rejected::BrokenEscape),
                ("/%ü", Rejected::BrokenEscape),
                ("/a\\b", Rejected::Backslash),
                ("/%00", Rejected::ControlCharacter),
                ("/a%0d%0ab", Rejected::ControlCharacter),
                ("/%7f", Rejected::ControlCharacter),
            ],
        );
    }

    #[test]
    fn dot_segments_are_resolved_however_they_are_written() {
        assert_normal(
            KEEP,
            &[
                ("/a/./b", "/a/b"),
                ("/a/../b", "/b"),
                ("/a/b/..", "/a/"),
                ("/a/b/.", "/a/b/"),
                ("/a/..", "/"),
                ("/.", "/"),
                ("/a/%2e%2E/b", "/b"),
                ("/a/.%2e/b?x=/../", "/b?x=/../"),
                ("/a/b/c/../../d/", "/a/d/"),
                ("/.well-known/x", "/.well-known/x"),
                ("/...", "/..."),
                ("/a//../b", "/b"),
            ],
        );
    }

    #[test]
    fn nothing_is_above_the_root() {
        for path in ["/..", "/../", "/a/../..", "/%2e%2e/a", "/.//../x"] {
            assert_eq!(normal(path, KEEP), Err(Rejected::AboveRoot), "{path}");
        }
        assert_eq!(normal("/a//../../..", APART), Err(Rejected::AboveRoot));
    }

    #[test]
    fn slashes_in_a_row_become_one_where_configured() {
        assert_normal(KEEP, &[("//", "/"), ("//a///b//", "/a/b/"), ("/a//.", "/a/"), ("/a//b?c//d", "/a/b?c//d")]);
        assert_normal(APART, &[("//", "//"), ("//a///b//", "//a///b//"), ("/a//../b", "/a/b"), ("//..", "/")]);
    }

    #[test]
    fn encoded_slashes_are_kept_rejected_or_decoded() {
        assert_normal(KEEP, &[("/a%2fb%5cc", "/a%2Fb%5Cc"), ("/a%2F..b", "/a%2F..b")]);
        assert_normal(
            DECODE,
            &[("/a%2fb", "/a/b"), ("/a%2f%2e%2e%2Fb", "/b"), ("/a/%2F/b", "/a/b"), ("/%252F", "/%252F")],
        );
        assert_rejected(DECODE, &[("/a%5Cb", Rejected::Backslash), ("/a/..%2f..%2f..", Rejected::AboveRoot)]);
        assert_rejected(REJECT, &[("/a%2fb", Rejected::EncodedSlash), ("/a%5Cb", Rejected::EncodedSlash)]);
        assert_normal(REJECT, &[("/a?b=%2f", "/a?b=%2f")]);
    }

    #[test]
    fn a_dot_segment_in_disguise_is_rejected() {
        for path in ["/a/..%2Fb", "/a/x%2f..%2fb", "/a/..%5c", "/a/%2e%2e%5Cb", "/..;/a", "/.;x=1/a", "/a/%2e.;"] {
            assert_eq!(normal(path, KEEP), Err(Rejected::HiddenDotSegment), "{path}");
        }
    }

    #[test]
    fn the_asterisk_is_for_options() {
        let target = PathAndQuery::from_static("*");
        assert_eq!(normalise(&target, &Method::OPTIONS, KEEP).map(|t| t.as_str().to_owned()), Ok("*".to_owned()));
        assert_eq!(normalise(&target, &Method::GET, KEEP), Err(Rejected::Asterisk));
    }

    #[test]
    fn a_query_right_after_the_authority_belongs_to_the_root() {
        let uri: http::Uri = "http://host?a=1".parse().expect("a uri");
        let target = uri.path_and_query().expect("a target");
        assert_eq!(normalise(target, &Method::GET, KEEP).map(|t| t.as_str().to_owned()), Ok("/?a=1".to_owned()));
    }

    #[test]
    fn a_path_that_grows_too_long_is_rejected() {
        assert_eq!(normal(&format!("/{}", "[".repeat(40_000)), KEEP), Err(Rejected::TooLong));
    }

    #[test]
    fn the_normal_form_is_its_own_normal_form() {
        const PARTS: &[&str] = &[
            "/", "/", ".", "..", "%2e", "%2F", "%5C", "a", "%41", "ü", "%c3", "[", ";", "%25", "2e", "%", "//", "x%20",
        ];
        let mut state = 1_u64;
        let mut roll = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let mut normals = 0;
        for _ in 0..60_000 {
            let path: String = (0..roll(9)).map(|_| PARTS[roll(PARTS.len())]).collect();
            for rule in [KEEP, APART, REJECT, DECODE] {
                let Ok(once) = normal(&format!("/{path}"), rule) else { continue };
                normals += 1;
                assert_eq!(normal(&once, rule).as_deref(), Ok(&*once), "/{path}");
                assert!(once.starts_with('/') && once.bytes().all(|b| b == b'/' || b == b'%' || is_pchar(b)), "{once}");
                assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")), "/{path} became {once}");
                assert!(!rule.merge_slashes || !once.contains("//"), "/{path} became {once}");
            }
        }
        assert!(normals > 10_000, "too few paths were tried: {normals}");
    }
}
