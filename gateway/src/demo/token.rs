//! A token that the example's `jwt` plugin accepts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// HS256 (RFC 7518 §3.2), valid for a day.
pub(super) fn for_demo(secret: &[u8]) -> String {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + LIFETIME;
    let claims = serde_json::json!({
        "iss": "https://id.example.com", "sub": "ada", "aud": "demo", "role": "engineer", "exp": expires.as_secs(),
    });
    let mut token = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    token.push_str(&base64url(claims.to_string().as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), token.as_bytes());
    token.push('.');
    token.push_str(&base64url(signature.as_ref()));
    token
}

/// Without padding (RFC 7515 §2).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from_be_bytes([0, chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)]);
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_that_of_the_rfc() {
        // RFC 4648 §10, and RFC 7515 appendix C.
        assert_eq!(base64url(b"foobar"), "Zm9vYmFy");
        assert_eq!(base64url(b"fooba"), "Zm9vYmE");
        assert_eq!(base64url(&[3, 236, 255, 224, 193]), "A-z_4ME");
    }
}
