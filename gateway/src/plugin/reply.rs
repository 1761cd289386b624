//! A guest's whole response, made sound before it meets a client.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::bindings;
use crate::pipeline::{Bounds, Reply, is_owned_by_the_gateway};

/// Takes over a reply, or says what is illegal about it. `content-length` is the gateway's and left out.
pub(super) fn checked(reply: bindings::Reply, bounds: &Bounds) -> Result<Reply, String> {
    let status = StatusCode::from_u16(reply.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    let status = status.ok_or_else(|| format!("status {} is not within 200 to 599", reply.status))?;
    if reply.headers.len() > bounds.added_fields {
        return Err(format!("{} headers are more than {}", reply.headers.len(), bounds.added_fields));
    }
    let mut bytes = 0;
    let mut headers = HeaderMap::with_capacity(reply.headers.len());
    for (name, value) in reply.headers {
        let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header name"))?;
        if lower == header::CONTENT_LENGTH {
            continue;
        }
        if is_owned_by_the_gateway(&lower) {
            return Err(format!("header {lower} is the gateway's"));
        }
        let value = HeaderValue::from_bytes(&value).map_err(|_| format!("header {lower} has an invalid value"))?;
        bytes += lower.as_str().len() + value.len() + 4;
        if bytes > bounds.added_bytes {
            return Err(format!("the headers are over {} bytes", bounds.added_bytes));
        }
        headers.append(lower, value);
    }
    Ok(Reply { status, headers, body: reply.body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { added_bytes: 100, added_fields: 3, added_uri_bytes: 100, buffer_bytes: 100 };

    fn reply(status: u16, headers: &[(&str, &str)]) -> Result<Reply, String> {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        checked(bindings::Reply { status, headers, body: b"hello".to_vec() }, &BOUNDS)
    }

    #[test]
    fn repeated_headers_keep_their_order() {
        let reply = reply(401, &[("Set-Cookie", "a"), ("set-cookie", "b")]).unwrap();
        assert_eq!(reply.status, 401);
        assert_eq!(reply.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(reply.body, "hello");
    }

    #[test]
    fn a_content_length_is_left_to_the_gateway() {
        assert!(reply(200, &[("content-length", "99")]).unwrap().headers.is_empty());
    }

    #[test]
    fn illegal_replies_are_named() {
        assert!(reply(101, &[]).unwrap_err().contains("101"));
        assert!(reply(600, &[]).unwrap_err().contains("600"));
        assert!(reply(200, &[("transfer-encoding", "chunked")]).unwrap_err().contains("transfer-encoding"));
        assert!(reply(200, &[("a b", "c")]).unwrap_err().contains("a b"));
        assert!(reply(200, &[("a", "b\r\nc: d")]).unwrap_err().contains("header a"));
        assert!(reply(200, &[("a", &"b".repeat(200))]).unwrap_err().contains("100 bytes"));
        assert!(reply(200, &[("a", ""); 4]).unwrap_err().contains("more than 3"));
    }
}
