//! Fields as guests read and write them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::bindings::Fields;

/// What a guest may put behind a body.
const TRAILERS: usize = 64;
const TRAILER_BYTES: usize = 16 * 1024;

/// One entry for each field line.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
}

/// A guest's trailers, or what is wrong with them. Which of them may be trailers is decided where bodies leave.
pub(super) fn trailers(fields: Fields) -> Result<HeaderMap, String> {
    if fields.len() > TRAILERS {
        return Err(format!("{} trailers are more than {TRAILERS}", fields.len()));
    }
    let mut bytes = 0;
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no field name"))?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| format!("trailer {lower} has an invalid value"))?;
        bytes += lower.as_str().len() + value.len() + 4;
        if bytes > TRAILER_BYTES {
            return Err(format!("the trailers are over {TRAILER_BYTES} bytes"));
        }
        trailers.append(lower, value);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_bounded_and_valid() {
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        assert_eq!(trailers(vec![field("Grpc-Status", "0")]).unwrap()["grpc-status"], "0");
        assert!(trailers(vec![field("a b", "0")]).unwrap_err().contains("a b"));
        assert!(trailers(vec![field("a", "b\r\nc: d")]).unwrap_err().contains("trailer a"));
        assert!(trailers(vec![field("a", ""); 65]).unwrap_err().contains("more than 64"));
        assert!(trailers(vec![field("a", &"b".repeat(20_000))]).unwrap_err().contains("16384"));
    }
}
