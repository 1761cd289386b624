//! Names of fields on HTTP/2. Its library takes a quotation mark in a name, which is no token character (RFC 9110 §5.1,
//! §5.6.2) and makes the message malformed (RFC 9113 §8.2.1). All other names come from parsers that refuse it.

use http::HeaderMap;
use memchr::memchr;

/// Whether what `HeaderName` took is a name.
pub fn is_token(name: &str) -> bool {
    memchr(b'"', name.as_bytes()).is_none()
}

/// Whether all fields of a head have a name.
pub fn are_tokens(headers: &HeaderMap) -> bool {
    headers.keys().all(|name| is_token(name.as_str()))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_name_is_a_token() {
        for byte in 0..=255_u8 {
            let token = byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let taken = HeaderName::from_lowercase(&[b'x', byte]).is_ok_and(|name| is_token(name.as_str()));
            assert_eq!(taken, token, "{byte:#x}");
        }
    }
}
