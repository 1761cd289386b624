//! What may be done to fields, whoever asks: names and values that are valid, none of the gateway's own, none
//! over the bounds.

use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

use super::{exchange::EditError, room::Room};

pub(super) fn field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), EditError> {
    let value = HeaderValue::from_bytes(value).map_err(|_| EditError::InvalidSyntax)?;
    Ok((field_name(name)?, value))
}

pub(super) fn field_name(name: &str) -> Result<HeaderName, EditError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| EditError::InvalidSyntax)
}

/// Connection management and framing are the gateway's (RFC 9110 §7.6.1, RFC 9112 §6).
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

pub(super) fn refuse_owned(name: &HeaderName) -> Result<(), EditError> {
    if is_owned_by_the_gateway(name) { Err(EditError::Forbidden) } else { Ok(()) }
}

pub(super) fn insert(
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

pub(super) fn append(
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

/// The size of a header section as HTTP/1.1 writes it: `name: value` and a line end for each field.
pub fn section_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| line_bytes(name, value)).sum()
}

pub(super) fn line_bytes(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}

pub(super) fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// `host` or `host:port`, without user information (RFC 9110 §7.2).
pub(super) fn is_authority(value: &HeaderValue) -> bool {
    value
        .to_str()
        .is_ok_and(|text| !text.is_empty() && !text.contains('@') && text.parse::<http::uri::Authority>().is_ok())
}
