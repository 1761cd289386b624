//! Authentication schemes that authenticate a connection instead of a request. RFC 9110 §16.4.2 calls them
//! inherently flawed, unless only the authenticated user can use the connection.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether credentials or a challenge belong to such a scheme: NTLM, Negotiate (SPNEGO, which may be either NTLM or
/// Kerberos), and Kerberos under its older names. Nothing is lost if one too many matches: its connection is not shared.
pub fn is_of_connection(value: &HeaderValue) -> bool {
    // A field may list several challenges (RFC 9110 §11.6.1), each of which begins after a comma. Tokens are long and seldom
    // have one, and every request with credentials comes through here.
    let value = value.as_bytes();
    begins_with_scheme(value) || memchr::memchr_iter(b',', value).any(|comma| begins_with_scheme(&value[comma + 1..]))
}

fn begins_with_scheme(challenge: &[u8]) -> bool {
    let scheme = challenge.trim_ascii_start();
    SCHEMES.iter().any(|name| scheme.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

const SCHEMES: [&[u8]; 3] = [b"ntlm", b"nego", b"kerberos"];

/// Whether a request has credentials of such a scheme.
pub fn has_credentials_of_connection(headers: &HeaderMap) -> bool {
    any(headers, &[header::AUTHORIZATION, header::PROXY_AUTHORIZATION])
}

/// Whether a response asks for such credentials, or goes on with a handshake of such a scheme.
pub fn challenges_connection(headers: &HeaderMap) -> bool {
    any(headers, &[header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE])
}

fn any(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    names.iter().any(|name| headers.get_all(name).iter().any(is_of_connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_that_authenticate_connections_are_told_from_others() {
        for value in [
            "NTLM",
            "ntlm TlRMTVNTUAAB",
            "Negotiate",
            "NEGOTIATE YII=",
            "Nego2",
            "Kerberos",
            "Basic realm=\"x\", NTLM",
            "Digest realm=\"a, b\",negotiate",
        ] {
            assert!(is_of_connection(&HeaderValue::from_static(value)), "{value}");
        }
        for value in ["", "Basic bnRsbTpudGxt", "Bearer ntlm", "Digest username=\"ntlm\"", "nt"] {
            assert!(!is_of_connection(&HeaderValue::from_static(value)), "{value}");
        }
    }
}
