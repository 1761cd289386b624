//! HTTP/2 clients send each cookie in a field of its own, for compression. Outside of HTTP/2 there is one field, so
//! they are put together before anyone sees them (RFC 9113 §8.2.3).

use http::{HeaderMap, HeaderValue, header};

/// Makes one field of all cookies; one alone stays as it is.
pub fn join(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // What joins valid values is valid.
    if let Ok(cookie) = HeaderValue::from_maybe_shared(bytes::Bytes::from(crumbs.join(&b"; "[..]))) {
        headers.insert(header::COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(cookies: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        join(&mut headers);
        headers.get_all(header::COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn crumbs_become_one_cookie_in_their_order() {
        assert_eq!(joined(&["a=1", "b=2; c=3", "d=4"]), ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn one_or_none_stays_as_it_is() {
        assert_eq!(joined(&["a=1; b=2"]), ["a=1; b=2"]);
        assert!(joined(&[]).is_empty());
    }
}
