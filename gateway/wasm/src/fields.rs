//! Fields as guests read and write them.

use gateway_core::model::Data;
use gateway_rules::{fields::FieldsError, reply};
use http::{HeaderMap, HeaderValue};

use super::{bindings::Fields, instance::plugin_identity::Identity};

/// One entry for each field line that the plugin may read.
pub(super) fn readable(headers: &HeaderMap, identity: &Identity, data: Data) -> Fields {
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value));
    lines.filter(|(name, _)| identity.may_list(data, name)).map(owned).collect()
}

/// A field, for a guest.
pub(super) fn owned((name, value): (&str, &HeaderValue)) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

/// A guest's trailers, or what is wrong with them.
pub(super) fn trailers(fields: Fields) -> Result<HeaderMap, FieldsError> {
    reply::trailers(fields.into_iter())
}
