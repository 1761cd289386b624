//! Where the credential of a request is, such as a token or a key, and taking it away from there.
//!
//! ```
//! use plugin_sdk::{Pointer, Problems, credentials::{SourceConfig, Sources}};
//!
//! let mut problems = Problems::default();
//! let config = vec![SourceConfig { header: Some("x-api-key".into()), ..SourceConfig::default() }];
//! let sources = Sources::read(config, &Pointer::from("/from"), &mut problems);
//! assert!(problems.is_empty() && sources.has_header("X-API-Key"));
//! ```

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{EditError, Pointer, Problems, Request, cookies, given, names};

/// A place of the credential, as it is configured: exactly one of `header`, `cookie` and `query`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceConfig {
    /// A request header.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub header: Option<String>,
    /// The word before the credential in the header, in upper or lower case: `Bearer` for `authorization`, none for
    /// others, if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub scheme: Option<String>,
    /// A cookie.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub cookie: Option<String>,
    /// A query parameter, whose value is percent-decoded. Whoever logs the target then logs the credential.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub query: Option<String>,
}

/// The request carries several credentials, and which of them the upstream would take is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

/// A place that may hold a credential.
enum Source {
    /// With the scheme before the credential, if there must be one.
    Header {
        name: String,
        scheme: Option<String>,
    },
    Cookie(String),
    Query(String),
}

/// The text that a request carries as its credential.
pub struct Found {
    bytes: Vec<u8>,
    /// Where it begins in `bytes`.
    start: usize,
    /// Position of its source.
    source: usize,
}

impl Found {
    /// The credential itself.
    pub fn credential(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// All places that are looked at.
pub struct Sources(Vec<Source>);

impl Sources {
    /// Checks what was configured; `at` is where.
    pub fn read(config: Vec<SourceConfig>, at: &Pointer, problems: &mut Problems) -> Self {
        if config.is_empty() {
            problems.add(at, "must not be empty, leave it out for its default");
        }
        let sources = config.into_iter().enumerate();
        Self(sources.filter_map(|(i, source)| Source::read(source, &at.then(i), problems)).collect())
    }

    /// The first scheme that a credential must have before it, as in a challenge (RFC 9110 §11.3).
    pub fn scheme(&self) -> Option<&str> {
        self.0.iter().find_map(|source| match source {
            Source::Header { scheme, .. } => scheme.as_deref(),
            Source::Cookie(_) | Source::Query(_) => None,
        })
    }

    /// Whether a credential may be in this header.
    pub fn has_header(&self, name: &str) -> bool {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        self.0.iter().any(|source| match source {
            Source::Header { name, .. } => is(name),
            Source::Cookie(_) => is("cookie"),
            Source::Query(_) => false,
        })
    }

    /// Looks in all places: of two credentials the upstream might take the one that was not verified (RFC 6750 §2).
    ///
    /// # Errors
    ///
    /// See [`Ambiguous`].
    pub fn find(&self, request: &Request) -> Result<Option<Found>, Ambiguous> {
        let mut found = None;
        for (i, source) in self.0.iter().enumerate() {
            let Some((bytes, start)) = source.find(request)? else { continue };
            if found.is_some() {
                return Err(Ambiguous);
            }
            found = Some(Found { bytes, start, source: i });
        }
        Ok(found)
    }

    /// Takes the credential away from the request.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn remove(&self, found: &Found, request: &Request) -> Result<(), EditError> {
        self.0.get(found.source).map_or(Ok(()), |source| source.remove(request))
    }
}

impl Source {
    fn read(config: SourceConfig, at: &Pointer, problems: &mut Problems) -> Option<Self> {
        let SourceConfig { header, scheme, cookie, query } = config;
        let (place, name, source) = match (header, cookie, query) {
            (Some(name), None, None) => {
                let bearer = name.eq_ignore_ascii_case("authorization").then(|| "Bearer".to_owned());
                if let Some(scheme) = &scheme {
                    problems.note(at.then("scheme"), names::check_token(scheme));
                }
                ("header", name.clone(), Self::Header { name, scheme: scheme.or(bearer) })
            }
            (None, Some(name), None) if scheme.is_none() => ("cookie", name.clone(), Self::Cookie(name)),
            (None, None, Some(name)) if scheme.is_none() => ("query", name.clone(), Self::Query(name)),
            _ => {
                problems
                    .add(at, "needs exactly one of `header`, `cookie` and `query`; `scheme` goes with `header` only");
                return None;
            }
        };
        let legal = match &source {
            Self::Query(name) if name.is_empty() => Err("must not be empty"),
            Self::Query(_) => Ok(()),
            Self::Header { .. } if name.eq_ignore_ascii_case("cookie") => Err("is written `cookie: NAME`"),
            Self::Header { .. } => names::check_settable_header(&name),
            Self::Cookie(name) => names::check_token(name),
        };
        problems.note(at.then(place), legal).map(|()| source)
    }

    /// The bytes in which the credential is, and where it begins in them.
    fn find(&self, request: &Request) -> Result<Option<(Vec<u8>, usize)>, Ambiguous> {
        match self {
            Self::Header { name, scheme } => {
                let values = request.header_values(name).into_iter();
                only(values.filter_map(|value| {
                    let start = scheme.as_ref().map_or(Some(0), |scheme| after_scheme(&value, scheme))?;
                    Some((value, start))
                }))
            }
            Self::Cookie(name) => {
                let lines = request.header_values("cookie");
                let found =
                    lines.iter().flat_map(|line| cookies::pairs(line)).filter(|(other, _)| *other == name.as_bytes());
                only(found.map(|(_, value)| (value.to_vec(), 0)))
            }
            Self::Query(name) => {
                let query = request.query().unwrap_or_default();
                let pairs = query.split('&').map(key_and_value).filter(|(key, _)| is_encoded(key, name));
                only(pairs.map(|(_, value)| (percent_decoded(value), 0)))
            }
        }
    }

    fn remove(&self, request: &Request) -> Result<(), EditError> {
        match self {
            Self::Header { name, .. } => request.remove_header(name),
            Self::Cookie(name) => {
                let lines = request.header_values("cookie");
                match cookies::without(&lines, |other| other == name.as_bytes()) {
                    Some(others) => request.set_header("cookie", others),
                    None => request.remove_header("cookie"),
                }
            }
            Self::Query(name) => {
                let query = request.query().unwrap_or_default();
                let others: Vec<_> = query.split('&').filter(|pair| !is_encoded(key_and_value(pair).0, name)).collect();
                let question_mark = if others.is_empty() { "" } else { "?" };
                request.set_path_with_query(&format!("{}{question_mark}{}", request.path(), others.join("&")))
            }
        }
    }
}

/// The one item that there may be.
fn only<T>(mut items: impl Iterator<Item = T>) -> Result<Option<T>, Ambiguous> {
    let first = items.next();
    if items.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

/// Where credentials of this scheme begin (RFC 9110 §11.4); `None` for another scheme.
fn after_scheme(value: &[u8], scheme: &str) -> Option<usize> {
    let (found, rest) = value.split_at_checked(scheme.len())?;
    if !found.eq_ignore_ascii_case(scheme.as_bytes()) || rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Some(scheme.len() + spaces)
}

fn key_and_value(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

/// Whether a percent-encoded key is this name: an upstream would decode it, so the gateway must.
fn is_encoded(key: &str, name: &str) -> bool {
    let mut rest = key.as_bytes();
    let matched = name.bytes().all(|expected| {
        let (octet, length) = match rest {
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [b'+', ..] => (b' ', 1),
            [octet, ..] => (*octet, 1),
            [] => return false,
        };
        rest = &rest[length..];
        octet == expected
    });
    matched && rest.is_empty()
}

/// A value as the client meant it. `+` stays: it is a character of base64, as keys often are, and many clients do not encode it
/// (in forms it is a space, which no credential has).
fn percent_decoded(value: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octet = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        decoded.push(octet.unwrap_or(first));
        rest = if octet.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{after_scheme, is_encoded, percent_decoded};

    #[test]
    fn the_scheme_is_read_in_any_case_and_ends_at_a_space() {
        assert_eq!(after_scheme(b"Bearer x", "Bearer"), Some(7));
        assert_eq!(after_scheme(b"bEARER   x", "Bearer"), Some(9));
        assert_eq!(after_scheme(b"Bearer", "Bearer"), Some(6));
        assert_eq!(after_scheme(b"Basic x", "Bearer"), None);
        assert_eq!(after_scheme(b"Bearerx", "Bearer"), None);
        assert_eq!(after_scheme(b"", "Bearer"), None);
    }

    #[test]
    fn a_value_of_the_query_is_decoded_and_a_plus_sign_stays() {
        assert_eq!(percent_decoded("a%2Bb%2f%3D"), b"a+b/=");
        assert_eq!(percent_decoded("a+b/="), b"a+b/=");
        assert_eq!(percent_decoded("%ff%4%zz%"), b"\xff%4%zz%");
    }

    #[test]
    fn a_key_of_the_query_is_the_same_however_it_is_encoded() {
        for key in ["a_b", "%61_b", "a%5fb", "a%5F%62"] {
            assert!(is_encoded(key, "a_b"), "{key}");
        }
        for key in ["", "a_", "a_bc", "a%5", "A_b", "a%5gb"] {
            assert!(!is_encoded(key, "a_b"), "{key}");
        }
        assert!(is_encoded("a+b", "a b") && is_encoded("a%", "a%"));
    }
}
