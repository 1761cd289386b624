//! Fields of a head or of trailers, which share the bytes that they were read from.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, Status};

use crate::connections::broken::Malformed;

/// Number of fields of a head or of trailers that fit without an allocation. Nearly all messages have fewer.
pub(super) const FIELDS_INLINE: usize = 100;
/// The most fields of a head or of trailers. What they take together is bounded by their bytes.
pub(super) const MAX_FIELDS: usize = 4096;

/// Trailers with the empty line that ends them.
pub(super) fn trailers(section: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut space = [httparse::EMPTY_HEADER; FIELDS_INLINE];
    let mut more;
    let mut parsed = httparse::parse_headers(section, &mut space);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        more = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
        parsed = httparse::parse_headers(section, &mut more);
    }
    let Ok(Status::Complete((_, fields))) = parsed else { return Err("the trailers are malformed") };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        append(&mut headers, section, field).map_err(|_| "the trailers are malformed")?;
    }
    Ok(headers)
}

/// Adds a field, whose value shares the memory of the section.
pub(super) fn append(headers: &mut HeaderMap, section: &Bytes, field: &Header<'_>) -> Result<(), Malformed> {
    let name = HeaderName::from_bytes(field.name.as_bytes())?;
    let value = HeaderValue::from_maybe_shared(section.slice_ref(field.value))?;
    headers.try_append(name, value)?;
    Ok(())
}
