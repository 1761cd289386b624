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
        let name = name(field).map_err(|_| "the trailers are malformed")?;
        append(&mut headers, section, name, field).map_err(|_| "the trailers are malformed")?;
    }
    Ok(headers)
}

/// The name of a field.
pub(super) fn name(field: &Header<'_>) -> Result<HeaderName, Malformed> {
    Ok(HeaderName::from_bytes(field.name.as_bytes())?)
}

/// Adds a field that httparse has read, whose value shares the memory of the section.
pub(super) fn append(
    headers: &mut HeaderMap,
    section: &Bytes,
    name: HeaderName,
    field: &Header<'_>,
) -> Result<(), Malformed> {
    // SAFETY: httparse ends a value at the first byte that is neither HTAB nor at least 0x20, or is DEL, and takes nothing but a line
    // end there: the bytes before are those that a value may have. Hyper relies on it in the same way. A test compares the two.
    let value = unsafe { HeaderValue::from_maybe_shared_unchecked(section.slice_ref(field.value)) };
    headers.try_append(name, value)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_takes_the_bytes_that_a_value_may_have_and_no_others() {
        for byte in 0..=u8::MAX {
            // Long enough for the parser's vectors, with the byte at each place in them.
            for place in 1..71 {
                let mut value = [b'v'; 72];
                value[place] = byte;
                let section = Bytes::from([b"a: ", &value[..], b"\r\n\r\n"].concat());
                let is_value = HeaderValue::from_bytes(&value).is_ok();
                assert_eq!(trailers(&section).is_ok(), is_value, "{byte} at {place}");
            }
        }
    }
}
