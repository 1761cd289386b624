//! What a gateway has to know of gRPC (gRPC over HTTP/2, github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): a
//! client looks for `grpc-status` and for nothing else, so what the gateway itself answers has to say it that way; and
//! it says how long it will wait.

use std::time::Duration;

use gateway_core::error::Failure;
use http::{HeaderMap, HeaderValue, StatusCode, header};

const GRPC: &[u8] = b"application/grpc";

/// Whether a request is a call of gRPC: `application/grpc`, alone or with `+` or `;` behind it. gRPC-Web is another
/// protocol, whose clients read HTTP statuses.
pub fn is_call(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let Some((kind, rest)) = value.as_bytes().split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// How long the client waits: at most eight digits and a unit.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get("grpc-timeout")?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// An answer of the gateway's or of a plugin's as a response without messages ("Trailers-Only"). Fields stay, but for
/// those that were about the body.
pub fn translate(status: StatusCode, headers: &mut HeaderMap, failure: Option<Failure>) {
    if headers.contains_key("grpc-status") {
        return;
    }
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
        headers.remove(name);
    }
    let message = failure.map_or_else(|| status.canonical_reason().unwrap_or_default(), Failure::detail);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code(status, failure)));
    // They are plain ASCII, without what would have to be percent-encoded.
    headers.insert("grpc-message", HeaderValue::from_static(message));
}

/// As in grpc/doc/http-grpc-status-mapping.md, and where the gateway knows better than that, what it knows.
fn code(status: StatusCode, failure: Option<Failure>) -> u16 {
    match failure {
        Some(Failure::UpstreamTimeout | Failure::TotalTimeout | Failure::BodyTimeout | Failure::HeadTimeout) => {
            return DEADLINE_EXCEEDED;
        }
        Some(Failure::BodyTooLarge | Failure::HeadTooLarge | Failure::UriTooLong) => return RESOURCE_EXHAUSTED,
        _ => {}
    }
    match status.as_u16() {
        200..=299 => 0,
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        413 | 431 => RESOURCE_EXHAUSTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

// grpc/doc/statuscodes.md
const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; x=y"] {
            assert!(is_call(&headers("content-type", kind)), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp", ""] {
            assert!(!is_call(&headers("content-type", kind)), "{kind}");
        }
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
        ] {
            assert_eq!(timeout(&headers("grpc-timeout", text)), expected, "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S"] {
            assert_eq!(timeout(&headers("grpc-timeout", text)), None, "{text}");
        }
    }

    #[test]
    fn answers_say_their_status_as_grpc_does() {
        for (status, expected) in [(401, "16"), (403, "7"), (404, "12"), (429, "14"), (503, "14"), (500, "2")] {
            let mut fields = headers("content-length", "5");
            translate(StatusCode::from_u16(status).unwrap(), &mut fields, None);
            assert_eq!(fields["grpc-status"], expected);
            assert!(!fields.contains_key("content-length"));
        }
        let mut fields = HeaderMap::new();
        translate(StatusCode::GATEWAY_TIMEOUT, &mut fields, Some(Failure::UpstreamTimeout));
        assert_eq!(fields["grpc-status"], "4");
        let mut said = headers("grpc-status", "9");
        translate(StatusCode::OK, &mut said, None);
        assert_eq!(said["grpc-status"], "9");
    }
}
