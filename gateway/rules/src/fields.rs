//! What may be done to fields: names and values that are valid, none of the gateway's own, none over the bounds.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

pub use crate::size::{line_bytes, section_bytes};
use crate::{bounds::Room, edit::EditError};

/// Name and value of a field.
///
/// # Errors
///
/// One of them is not valid.
pub fn field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), EditError> {
    let value = HeaderValue::from_bytes(value).map_err(|_| EditError::InvalidSyntax)?;
    Ok((field_name(name)?, value))
}

/// The name of a field.
///
/// # Errors
///
/// It is not valid.
pub fn field_name(name: &str) -> Result<HeaderName, EditError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| EditError::InvalidSyntax)
}

/// Connection management and framing are the gateway's (RFC 9110 §7.6.1, RFC 9112 §6).
#[inline]
pub fn is_owned_by_the_gateway(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
    )
}

/// Refuses the names of the gateway's own fields.
///
/// # Errors
///
/// It is one of them.
#[inline]
pub fn refuse_owned(name: &HeaderName) -> Result<(), EditError> {
    if is_owned_by_the_gateway(name) { Err(EditError::Forbidden) } else { Ok(()) }
}

pub(crate) fn insert(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
    room: Room,
) -> Result<(), EditError> {
    let new = line_bytes(&name, &value);
    let (section, count) = (section_bytes(headers), headers.len());
    // Hashed once: this is what most edits are.
    match headers.try_entry(name).map_err(|_| EditError::TooLarge)? {
        Entry::Occupied(mut there) => {
            let old: usize = there.iter().map(|value| line_bytes(there.key(), value)).sum();
            // Only an edit that adds is refused: a head may be at its limit and be trimmed.
            if new > old && section - old + new > room.bytes {
                return Err(EditError::TooLarge);
            }
            there.insert(value);
        }
        Entry::Vacant(place) => {
            if section + new > room.bytes || count >= room.fields {
                return Err(EditError::TooLarge);
            }
            place.try_insert(value).map_err(|_| EditError::TooLarge)?;
        }
    }
    Ok(())
}

pub(crate) fn append(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
    room: Room,
) -> Result<(), EditError> {
    let new = line_bytes(&name, &value);
    if section_bytes(headers) + new > room.bytes || headers.len() >= room.fields {
        return Err(EditError::TooLarge);
    }
    headers.try_append(name, value).map_err(|_| EditError::TooLarge)?;
    Ok(())
}

/// Whether two names differ, and only in `-` and `_`: CGI, WSGI and PHP merge them (RFC 3875 §4.1.18), so that a client could otherwise
/// say what only a plugin may.
pub fn is_other_spelling(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one != other
        && one.bytes().zip(other.bytes()).all(|(a, b)| a == b || matches!((a, b), (b'_', b'-') | (b'-', b'_')))
}

/// Whether a name has `_`. Names are short, and all of a head are looked at, so this takes eight bytes at a time, at the end some of
/// them once more: a byte of `word ^ UNDERSCORES` is zero where the name has `_`, and only below a zero byte does the subtraction
/// carry.
pub fn has_underscore(name: &str) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    const UNDERSCORES: u64 = ONES * b'_' as u64;
    let has = |word: &[u8; 8]| {
        let zero = u64::from_ne_bytes(*word) ^ UNDERSCORES;
        zero.wrapping_sub(ONES) & !zero & HIGH != 0
    };
    let name = name.as_bytes();
    match name.last_chunk() {
        Some(end) => name.as_chunks().0.iter().any(has) || has(end),
        None => name.contains(&b'_'),
    }
}

/// Removes the other spellings of a name.
pub fn remove_other_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    let is_other = |other: &&HeaderName| is_other_spelling(other.as_str(), name.as_str());
    // Nearly always there is none.
    while let Some(other) = headers.keys().find(is_other).cloned() {
        headers.remove(other);
    }
}

/// Headers that can be read, however they are kept.
pub trait Headers {
    /// The values of a header, in their order.
    fn values_of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a HeaderValue> + use<'a, Self>;

    /// One entry for each line.
    fn lines(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)>;
}

impl Headers for HeaderMap {
    fn values_of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
        self.get_all(name).into_iter()
    }

    fn lines(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.iter()
    }
}

/// The values of a request's header, in their order. `host` is the authority, which is not among the headers.
pub fn request_values<'a, H: Headers>(
    headers: &'a H,
    authority: &'a HeaderValue,
    name: &str,
) -> impl Iterator<Item = &'a HeaderValue> + use<'a, H> {
    let host = is_host(name);
    let others = (!host).then(|| headers.values_of(name));
    host.then_some(authority).into_iter().chain(others.into_iter().flatten())
}

/// All headers of a request, one entry for each line, `host` first.
pub fn request_lines<'a>(
    headers: &'a impl Headers,
    authority: &'a HeaderValue,
) -> impl Iterator<Item = (&'a str, &'a HeaderValue)> {
    std::iter::once(("host", authority)).chain(headers.lines().map(|(name, value)| (name.as_str(), value)))
}

/// Whether a plugin means the authority by the name of a header.
#[inline]
pub fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}

/// What is wrong with header fields that a plugin makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldsError {
    /// There are more lines than the limit.
    TooMany {
        /// How many there are.
        fields: usize,
        /// How many there may be.
        limit: usize,
    },
    /// This is no field name.
    InvalidName(String),
    /// The field has a value that no field can have.
    InvalidValue(HeaderName),
    /// Only the gateway sets this field.
    OwnedByTheGateway(HeaderName),
    /// Names and values are over the limit.
    TooLarge {
        /// In bytes.
        limit: usize,
    },
}

impl fmt::Display for FieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { fields, limit } => write!(f, "{fields} fields are more than {limit}"),
            Self::InvalidName(name) => write!(f, "{name:?} is no field name"),
            Self::InvalidValue(name) => write!(f, "field {name} has an invalid value"),
            Self::OwnedByTheGateway(name) => write!(f, "field {name} is the gateway's"),
            Self::TooLarge { limit } => write!(f, "the fields are over {limit} bytes"),
        }
    }
}

impl std::error::Error for FieldsError {}

/// Header fields that a plugin makes by itself: those of a reply, or trailers.
///
/// # Errors
///
/// What is wrong with one of them, or that there are too many.
pub fn own_fields(
    fields: impl ExactSizeIterator<Item = (String, Vec<u8>)>,
    (max_fields, max_bytes): (usize, usize),
    mut takes: impl FnMut(&HeaderName) -> Result<bool, FieldsError>,
) -> Result<HeaderMap, FieldsError> {
    if fields.len() > max_fields {
        return Err(FieldsError::TooMany { fields: fields.len(), limit: max_fields });
    }
    let mut bytes = 0;
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| FieldsError::InvalidName(name))?;
        if !takes(&lower)? {
            continue;
        }
        let value = HeaderValue::from_bytes(&value).map_err(|_| FieldsError::InvalidValue(lower.clone()))?;
        bytes += line_bytes(&lower, &value);
        if bytes > max_bytes {
            return Err(FieldsError::TooLarge { limit: max_bytes });
        }
        headers.append(lower, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_underscores_is_another_spelling() {
        let mut headers = HeaderMap::new();
        for name in ["x-user-id", "x_user_id", "x-user_id", "xuser-id", "x_user_ids"] {
            headers.insert(name, "1".parse().unwrap());
        }
        remove_other_spellings(&mut headers, &HeaderName::from_static("x-user-id"));
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-user-id", "x_user_ids", "xuser-id"]);
    }

    #[test]
    fn an_underscore_is_found_wherever_it_stands_and_nothing_else_is_taken_for_one() {
        for length in 0..40 {
            for other in *b"-^`ao\x7f~" {
                let mut name = vec![other; length];
                assert!(!has_underscore(std::str::from_utf8(&name).unwrap()), "{length}");
                for place in 0..length {
                    name[place] = b'_';
                    assert!(has_underscore(std::str::from_utf8(&name).unwrap()), "{place} of {length}");
                    name[place] = other;
                }
            }
        }
    }

    #[test]
    fn host_is_the_authority_and_comes_first() {
        let (mut headers, authority) = (HeaderMap::new(), HeaderValue::from_static("example.com"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        assert_eq!(request_values(&headers, &authority, "Host").collect::<Vec<_>>(), ["example.com"]);
        assert_eq!(request_values(&headers, &authority, "X-A").collect::<Vec<_>>(), ["1", "2"]);
        let names: Vec<_> = request_lines(&headers, &authority).map(|(name, _)| name).collect();
        assert_eq!(names, ["host", "x-a", "x-a"]);
    }
}
