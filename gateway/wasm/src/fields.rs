//! Fields as guests read and write them.

use gateway_rules::{fields::FieldsError, reply};
use http::{HeaderMap, HeaderValue};

use super::bindings::Fields;

/// One entry for each field line.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    headers.iter().map(|(name, value)| owned((name.as_str(), value)))
}

/// A field, for a guest.
pub(super) fn owned((name, value): (&str, &HeaderValue)) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

/// A guest's trailers, or what is wrong with them.
pub(super) fn trailers(fields: Fields) -> Result<HeaderMap, FieldsError> {
    reply::trailers(fields.into_iter())
}
