//! What a plugin makes by itself: a whole response, and what comes behind a body.

use std::fmt;

use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};

use crate::{
    bounds::Bounds,
    edit,
    fields::{FieldsError, is_owned_by_the_gateway, own_fields},
};

/// What a plugin may put behind a body.
pub const MAX_TRAILERS: usize = 64;
/// Their bytes.
pub const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// What a plugin keeps with a body that it changes as it passes.
pub const MAX_STATE_BYTES: usize = 64 * 1024;

/// What is illegal about a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyError {
    /// Its status is none of a final response.
    Status(u16),
    /// Its fields.
    Fields(FieldsError),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status} is not within 200 to 599"),
            Self::Fields(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Status(_) => None,
            Self::Fields(error) => Some(error),
        }
    }
}

/// Status and headers of a reply. `content-length` is the gateway's and left out.
///
/// # Errors
///
/// What is illegal about it.
pub fn reply(
    status: u16,
    headers: impl ExactSizeIterator<Item = (String, Vec<u8>)>,
    bounds: &Bounds,
) -> Result<(StatusCode, HeaderMap), ReplyError> {
    let status = edit::status(status).map_err(|_| ReplyError::Status(status))?;
    let headers = own_fields(headers, (bounds.added_fields, bounds.added_bytes), |name| {
        if *name == CONTENT_LENGTH {
            return Ok(false);
        }
        if is_owned_by_the_gateway(name) { Err(FieldsError::OwnedByTheGateway(name.clone())) } else { Ok(true) }
    });
    Ok((status, headers.map_err(ReplyError::Fields)?))
}

/// Trailers. Which of them may be trailers is decided where bodies leave.
///
/// # Errors
///
/// What is wrong with them.
pub fn trailers(fields: impl ExactSizeIterator<Item = (String, Vec<u8>)>) -> Result<HeaderMap, FieldsError> {
    own_fields(fields, (MAX_TRAILERS, MAX_TRAILER_BYTES), |_| Ok(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { added_bytes: 100, added_fields: 3, added_uri_bytes: 100, buffer_bytes: 100 };

    fn fields(fields: &[(&str, &str)]) -> impl ExactSizeIterator<Item = (String, Vec<u8>)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
    }

    fn checked(status: u16, headers: &[(&str, &str)]) -> Result<(StatusCode, HeaderMap), String> {
        reply(status, fields(headers), &BOUNDS).map_err(|error| error.to_string())
    }

    #[test]
    fn repeated_headers_keep_their_order() {
        let (status, headers) = checked(401, &[("Set-Cookie", "a"), ("set-cookie", "b")]).unwrap();
        assert_eq!(status, 401);
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_content_length_is_left_to_the_gateway() {
        assert!(checked(200, &[("content-length", "99")]).unwrap().1.is_empty());
    }

    #[test]
    fn illegal_replies_are_named() {
        assert!(checked(101, &[]).unwrap_err().contains("101"));
        assert!(checked(600, &[]).unwrap_err().contains("600"));
        assert!(checked(200, &[("transfer-encoding", "chunked")]).unwrap_err().contains("transfer-encoding"));
        assert!(checked(200, &[("a b", "c")]).unwrap_err().contains("a b"));
        assert!(checked(200, &[("a", "b\r\nc: d")]).unwrap_err().contains("field a"));
        assert!(checked(200, &[("a", &"b".repeat(200))]).unwrap_err().contains("100 bytes"));
        assert!(checked(200, &[("a", ""); 4]).unwrap_err().contains("more than 3"));
    }

    #[test]
    fn trailers_are_bounded_and_valid() {
        let made = |list: &[(&str, &str)]| trailers(fields(list)).map_err(|error| error.to_string());
        assert_eq!(made(&[("Grpc-Status", "0")]).unwrap()["grpc-status"], "0");
        assert!(made(&[("a b", "0")]).unwrap_err().contains("a b"));
        assert!(made(&[("a", "b\r\nc: d")]).unwrap_err().contains("field a"));
        assert!(made(&[("a", ""); 65]).unwrap_err().contains("more than 64"));
        assert!(made(&[("a", &"b".repeat(20_000))]).unwrap_err().contains("16384"));
    }
}
