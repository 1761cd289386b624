//! Whether the head of an upstream's response means the same to everyone, after hyper has parsed it: what
//! follows it must end where the client expects it to end.
//!
//! Hyper sees to fields that are not valid, to lengths that differ, and skips interim responses.

use gateway_core::model::Upgrade;
use gateway_http::{
    field_name, hop,
    known_headers::{CONTENT_LENGTH, KnownHeaders, TRANSFER_ENCODING},
};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header, response::Parts};

/// Puts a head in order, without what was for the upstream's connection only, or says why it cannot go on.
/// `asked` is what the request wanted to switch to.
pub(crate) fn judge(head: &mut Parts, asked: Option<Upgrade>) -> Result<(), &'static str> {
    let known_headers = KnownHeaders::of(&head.headers);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // Hyper makes a tunnel of it.
        let asked = asked.ok_or("the upstream switched protocols unasked")?;
        let mut protocols = head.headers.get_all(header::UPGRADE).iter();
        let is_asked =
            protocols.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(asked.token().as_bytes()));
        if !is_asked || protocols.next().is_some() {
            return Err("the upstream switched to another protocol than was asked for");
        }
        // RFC 6455 §4.1: a client must fail the connection then, which the gateway is to the upstream.
        if !hop::lists_upgrade(&head.headers) {
            return Err("the upstream switched protocols without saying so in Connection");
        }
    }
    // HTTP/1's parser has seen to it.
    if head.version >= Version::HTTP_2 && !field_name::are_tokens(&head.headers) {
        return Err("the upstream sent a field with a name that is none");
    }
    if known_headers.has(TRANSFER_ENCODING) {
        let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
        // Hyper undoes the last coding only, and that one is not told to the client.
        if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
            || codings.next().is_some()
        {
            return Err("the upstream used another transfer coding than chunked");
        }
        // RFC 9112 §6.3: might be an attempt at response splitting, and ought to be an error.
        if known_headers.has(CONTENT_LENGTH) {
            return Err("the upstream sent Content-Length beside Transfer-Encoding");
        }
    }
    if known_headers.has(CONTENT_LENGTH) {
        settle_length(&mut head.headers);
    }
    hop::strip(&mut head.headers, known_headers);
    Ok(())
}

/// One length in one line, or none: RFC 9110 §8.6 lets equal ones be made one. Where the body counts, hyper has
/// refused what is no number; where there is none, as in a response to HEAD, it is not looked at.
fn settle_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return };
    if lengths.next().is_none() && is_number(first.as_bytes()) {
        return;
    }
    let length = first.as_bytes().split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    let same = |value: &HeaderValue| value.as_bytes().split(|&byte| byte == b',').all(|l| l.trim_ascii() == length);
    let agreed = is_number(length) && headers.get_all(header::CONTENT_LENGTH).iter().all(same);
    match HeaderValue::from_bytes(length) {
        Ok(length) if agreed => drop(headers.insert(header::CONTENT_LENGTH, length)),
        _ => drop(headers.remove(header::CONTENT_LENGTH)),
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths that are left.
    fn judged(status: u16, fields: &[(&'static str, &'static str)]) -> Result<Vec<String>, &'static str> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut head = response.body(()).expect("a response").into_parts().0;
        judge(&mut head, None)?;
        let lengths = head.headers.get_all("content-length").iter();
        Ok(lengths.map(|length| length.to_str().expect("ascii").to_owned()).collect())
    }

    #[test]
    fn one_length_stays_as_it_is() {
        assert_eq!(judged(200, &[("content-length", "5")]).unwrap(), ["5"]);
        assert!(judged(200, &[]).unwrap().is_empty());
    }

    #[test]
    fn equal_lengths_become_one() {
        assert_eq!(judged(200, &[("content-length", "5, 5")]).unwrap(), ["5"]);
        assert_eq!(judged(200, &[("content-length", "5"), ("content-length", "5")]).unwrap(), ["5"]);
    }

    #[test]
    fn lengths_without_a_body_that_say_nothing_go() {
        for length in ["5, 6", "", "five", "-5", "5,"] {
            assert!(judged(304, &[("content-length", length)]).unwrap().is_empty(), "{length}");
        }
        assert!(judged(304, &[("content-length", "5"), ("content-length", "6")]).unwrap().is_empty());
    }

    #[test]
    fn chunked_is_the_only_coding_and_comes_without_length() {
        assert!(judged(200, &[("transfer-encoding", "Chunked")]).is_ok());
        assert!(judged(200, &[("transfer-encoding", "gzip, chunked")]).is_err());
        assert!(judged(200, &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]).is_err());
        assert!(judged(200, &[("transfer-encoding", "chunked"), ("content-length", "5")]).is_err());
    }

    #[test]
    fn protocols_are_not_switched() {
        assert!(judged(101, &[]).is_err());
    }
}
