//! The normal form of a path, in which it is matched, shown to plugins and sent upstream, and what else a path
//! could mean.
//!
//! The rule (RFC 3986 §6.2.2, WHATWG URL for bytes that no URI may hold):
//!
//! 1. A percent-encoded unreserved character is decoded; other escapes stay, in upper case. What a URI path
//!    may not hold raw (`"`, `{`, `[`, `ü`, …) is encoded.
//! 2. Rejected: a backslash, an escape without two hexadecimal digits, and `%00`, at which C libraries cut a path
//!    short (nginx rejects it as well). Other encoded control characters pass, as in nginx, Envoy and HAProxy.
//! 3. Dot segments are resolved (RFC 3986 §5.2.4); `..` above the root is rejected. So is a dot segment with a
//!    matrix parameter (`..;x`), which servlet containers resolve and others do not, and `..` between encoded slashes
//!    that are kept.
//! 4. The query stays as it is. `*` is for `OPTIONS` only (RFC 9112 §3.2.4).
//!
//! Three things services disagree about: whether `%2F` and `%5C` separate segments, whether several slashes are
//! one, and whether `;x` belongs to a segment's name. Only the routes know what their services do ([`PathRule`]), and
//! the path decides the route. So a path with one of these is [`Ambiguous`] until the routing table has looked
//! at every way of reading it (`route/ambiguous.rs`). All other paths have one reading, and that is their normal form.
//!
//! Left alone, as in nginx, Envoy and HAProxy: `%25` followed by two digits (a service that decodes twice is
//! at fault), dots and spaces at the end of a segment, and upper and lower case.
//!
//! A path in normal form is its own normal form.

use std::{borrow::Cow, fmt};

use http::{Method, uri::PathAndQuery};

/// What a route's service makes of what services read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "kebab-case", default, deny_unknown_fields))]
pub struct PathRule {
    /// Handling of paths with `%2F` or `%5C`: `reject` responds with 400, `keep` forwards them unchanged,
    /// `decode` turns `%2F` into `/` before routing. If the path leads to different routes with and without
    /// decoding, all of them must have the same setting, otherwise the response is 400.
    pub encoded_slashes: EncodedSlashes,
    /// Merge consecutive slashes before routing.
    pub merge_slashes: bool,
    /// Handling of paths with `;name=value` in a segment: `same-route` forwards the path if it leads to the
    /// same route without the parameters, otherwise it responds with 400; `keep` always forwards it.
    pub matrix_parameters: MatrixParameters,
}

impl Default for PathRule {
    fn default() -> Self {
        Self { encoded_slashes: EncodedSlashes::Reject, merge_slashes: true, matrix_parameters: Default::default() }
    }
}

/// What becomes of `%2F` and `%5C` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "kebab-case"))]
pub enum EncodedSlashes {
    /// The request is answered with 400.
    #[default]
    Reject,
    /// They stay as they are and never separate segments.
    Keep,
    /// `%2F` becomes `/` before dot segments are resolved.
    Decode,
}

/// What becomes of a path with `;name=value` in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "kebab-case"))]
pub enum MatrixParameters {
    /// It is forwarded if the route is the same without the parameters, and else answered with 400.
    #[default]
    SameRoute,
    /// They are part of the segment.
    Keep,
}

/// Why a path is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// There is one in it.
    Backslash,
    /// A percent sign without two hexadecimal digits.
    BrokenEscape,
    /// One that is not encoded, or `%00`.
    ControlCharacter,
    /// A route that the path could mean rejects encoded slashes.
    EncodedSlash,
    /// The routes that the path could mean do not agree on how to read it.
    Ambiguous,
    /// `..` between encoded slashes, or a dot segment with parameters.
    HiddenDotSegment,
    /// `..` leads there.
    AboveRoot,
    /// `*` with another method than `OPTIONS`.
    Asterisk,
    /// Longer in its normal form than a target can be.
    TooLong,
}

/// A target whose path needs no further look, or one that can be read in several ways.
#[derive(Debug)]
pub enum Normal {
    /// In normal form.
    Clear(PathAndQuery),
    /// The routes decide.
    Ambiguous(Ambiguous),
}

/// A path that services read in several ways.
#[derive(Debug)]
pub struct Ambiguous {
    /// As it came, for the query.
    target: PathAndQuery,
    /// After steps 1 and 2.
    escaped: String,
    /// What can be read in several ways.
    pub doubts: Doubts,
}

/// Which of the three things a path has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    /// `%2F` or `%5C`.
    pub encoded_slash: bool,
    /// Several slashes in a row.
    pub double_slash: bool,
    /// `;`, raw or encoded.
    pub matrix_parameter: bool,
}

/// One way to read an ambiguous path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Encoded slashes and backslashes separate segments.
    pub decode_slashes: bool,
    /// Several slashes in a row are one.
    pub merge_slashes: bool,
    /// Segments end at the first `;`.
    pub strip_parameters: bool,
}

/// The normal form of a request's path, with its query. Allocates nothing where the path already has it.
///
/// # Errors
///
/// It is rejected.
pub fn normalise(target: &PathAndQuery, method: &Method) -> Result<Normal, Rejected> {
    let path = target.path();
    if path == "*" {
        return if method == Method::OPTIONS { Ok(Normal::Clear(target.clone())) } else { Err(Rejected::Asterisk) };
    }
    // An absolute-form target may begin with its query: `http://host?query`.
    let rooted = target.as_str().starts_with('/');
    if rooted && is_normal(path) {
        return Ok(Normal::Clear(target.clone()));
    }
    let escaped = escape(path)?;
    let doubts = Doubts::of(&escaped);
    if doubts != Doubts::default() {
        return Ok(Normal::Ambiguous(Ambiguous { target: target.clone(), escaped, doubts }));
    }
    let normal = resolve(&escaped, false)?;
    if rooted && normal == path {
        return Ok(Normal::Clear(target.clone()));
    }
    with_query(normal, target).map(Normal::Clear)
}

impl Doubts {
    fn of(escaped: &str) -> Self {
        let encoded_slash = escaped.contains("%2F") || escaped.contains("%5C");
        let matrix_parameter = escaped.contains(';') || escaped.contains("%3B");
        // `/a%2F/b` and `/a/;x/b` have an empty segment in one of their readings.
        let double_slash = if encoded_slash || matrix_parameter {
            let decoded = decode_slashes(escaped);
            decoded.contains("//") || strip_parameters(&decoded).contains("//")
        } else {
            escaped.contains("//")
        };
        Self { encoded_slash, double_slash, matrix_parameter }
    }
}

fn decode_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%5C", "/")
}

/// Every segment up to its first semicolon.
fn strip_parameters(path: &str) -> String {
    path.split('/').map(name_of).collect::<Vec<_>>().join("/")
}

/// A segment without its matrix parameters.
pub fn name_of(segment: &str) -> &str {
    let name = segment.split(';').next().unwrap_or_default();
    name.split("%3B").next().unwrap_or_default()
}

impl Ambiguous {
    /// Every way to read the path: at most eight.
    pub fn readings(&self) -> impl Iterator<Item = Reading> + use<> {
        let doubts = self.doubts;
        (0..8_u8).filter_map(move |bits| {
            let reading = Reading {
                decode_slashes: bits & 1 != 0,
                merge_slashes: bits & 2 != 0,
                strip_parameters: bits & 4 != 0,
            };
            let differs = (doubts.encoded_slash || !reading.decode_slashes)
                && (doubts.double_slash || !reading.merge_slashes)
                && (doubts.matrix_parameter || !reading.strip_parameters);
            differs.then_some(reading)
        })
    }

    /// What the path is in one reading.
    ///
    /// # Errors
    ///
    /// It is rejected.
    pub fn read(&self, reading: Reading) -> Result<PathAndQuery, Rejected> {
        let mut path = Cow::Borrowed(&*self.escaped);
        if reading.decode_slashes {
            path = decode_slashes(&path).into();
        }
        if reading.strip_parameters {
            path = strip_parameters(&path).into();
        }
        with_query(resolve(&path, reading.merge_slashes)?, &self.target)
    }

    /// What the path is under a rule, which is what goes upstream.
    ///
    /// # Errors
    ///
    /// It is rejected.
    pub fn under(&self, rule: PathRule) -> Result<PathAndQuery, Rejected> {
        if self.doubts.encoded_slash {
            match rule.encoded_slashes {
                EncodedSlashes::Reject => return Err(Rejected::EncodedSlash),
                EncodedSlashes::Decode if self.escaped.contains("%5C") => return Err(Rejected::Backslash),
                EncodedSlashes::Decode | EncodedSlashes::Keep => {}
            }
        }
        self.read(Reading {
            decode_slashes: rule.encoded_slashes == EncodedSlashes::Decode,
            merge_slashes: rule.merge_slashes,
            strip_parameters: false,
        })
    }
}

fn with_query(mut path: String, target: &PathAndQuery) -> Result<PathAndQuery, Rejected> {
    if let Some(query) = target.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map_err(|_| Rejected::TooLong)
}

/// Whether a path surely has its normal form; `false` means that it takes a closer look.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut previous = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'/' | b'.' if previous == b'/' => return false,
            b';' => return false,
            b'%' => {
                let Some(Ok(value)) = bytes.get(at + 1..at + 3).map(escaped) else { return false };
                let upper = !bytes[at + 1..at + 3].iter().any(u8::is_ascii_lowercase);
                if !upper || is_unreserved(value) || matches!(value, 0 | b'/' | b'\\' | b';') {
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

/// Steps 1 and 2: every byte in its one spelling.
fn escape(path: &str) -> Result<String, Rejected> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(bytes.len() + 16);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let value = escaped(bytes.get(at..at + 2).ok_or(Rejected::BrokenEscape)?)?;
                at += 2;
                match value {
                    0 => return Err(Rejected::ControlCharacter),
                    value if is_unreserved(value) => out.push(char::from(value)),
                    value => push_escape(&mut out, value),
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

/// Step 3, with slashes in a row merged or not.
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
    let name = name_of(segment);
    let parameter = name.len() < segment.len() && is_dots(name);
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
            Self::EncodedSlash => {
                "the path has an encoded slash or backslash, which a route that it could mean rejects (`paths.encoded-slashes`)"
            }
            Self::Ambiguous => {
                "the path can be read in several ways, and the routes that it could mean do not agree on one (`paths`)"
            }
            Self::HiddenDotSegment => {
                "the path has a dot segment with a parameter (`..;x`) or between encoded slashes, which some services resolve and \
                 others do not"
            }
            Self::AboveRoot => "the path leads above the root",
            Self::Asterisk => "the target * is for OPTIONS only",
            Self::TooLong => "the normalised path is too long",
        })
    }
}

impl std::error::Error for Rejected {}

#[cfg(test)]
mod tests;
