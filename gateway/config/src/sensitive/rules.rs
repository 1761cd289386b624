//! What is a secret by how it looks: the one list for everything that shows a configuration. `names` has those by their names.

use std::ops::Range;

use super::{
    names::{is_secret_field, is_secret_in_text},
    placeholder::placeholder,
};

/// The private parameters of JSON Web Keys (RFC 7517 §4, RFC 7518 §6), beside `kty`.
const JWK: [&str; 8] = ["k", "d", "p", "q", "dp", "dq", "qi", "oth"];
/// How hashes of passwords begin (crypt(5)): they can be tried offline.
const HASHES: [&str; 8] = ["$argon2", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$apr1$"];
/// Schemes of `Authorization`: those of IANA's registry (RFC 9110 §16.4.1), and others that are in use.
const SCHEMES: [&str; 43] = [
    "basic",
    "bearer",
    "concealed",
    "digest",
    "dpop",
    "gnap",
    "hoba",
    "mutual",
    "negotiate",
    "oauth",
    "privatetoken",
    "scram-sha-1",
    "scram-sha-256",
    "vapid",
    "api-key",
    "api-token",
    "apikey",
    "apitoken",
    "aws",
    "aws3",
    "aws3-https",
    "aws4-ecdsa-p256-sha256",
    "aws4-hmac-sha256",
    "bot",
    "eg1-hmac-sha256",
    "geniekey",
    "googlelogin",
    "hawk",
    "hmac",
    "hmac-sha256",
    "jwt",
    "key",
    "mac",
    "ntlm",
    "secret",
    "sharedaccesssignature",
    "sharedkey",
    "sharedkeylite",
    "signature",
    "splunk",
    "sso-key",
    "ssws",
    "token",
];
/// Parameters of a challenge, which every client sees, and those that only credentials have.
const OF_CHALLENGES: [&str; 4] = ["realm=", "error=", "scope=", "nonce="];
const OF_CREDENTIALS: [&str; 9] =
    ["response=", "signature=", "username=", "credential=", "mac=", "token=", "result=", "data=", "consumer_key="];

pub(super) fn is_private_parameter(key: &str) -> bool {
    JWK.contains(&key)
}

/// Whether a value is a secret wherever it stands.
pub(super) fn looks_secret(value: &str) -> bool {
    let value = value.trim();
    value.contains("PRIVATE KEY-----")
        || HASHES.iter().any(|begin| value.starts_with(begin))
        || is_token(value)
        || is_credential(value)
        || value.split_once(':').is_some_and(|(name, rest)| {
            rest.starts_with(' ') && !rest.trim().is_empty() && !name.contains(' ') && is_secret_in_text(name)
        })
}

/// The value of an `Authorization` field (RFC 9110 §11.4): a known scheme, and one word or a list of parameters. `Basic realm="…"` is a
/// challenge.
fn is_credential(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(' ') else { return false };
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return false;
    }
    let lower = rest.to_ascii_lowercase();
    let has = |parameters: &[&str]| parameters.iter().any(|parameter| lower.contains(parameter));
    if has(&OF_CHALLENGES) && !has(&OF_CREDENTIALS) {
        return false;
    }
    let rest = rest.trim();
    let begins_with_parameter =
        || rest.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
    !rest.is_empty() && (!rest.contains(' ') || begins_with_parameter())
}

/// Whether a comment is a secret by how it looks. Two words such as `token bucket` are prose there.
pub(super) fn comment_looks_secret(comment: &str) -> bool {
    let is_prose = comment.trim().split_once(' ').is_some_and(|(first, second)| {
        !["bearer", "basic"].iter().any(|scheme| first.eq_ignore_ascii_case(scheme))
            && second.bytes().all(|byte| byte.is_ascii_lowercase() || b".,:;!?".contains(&byte))
    });
    !is_prose && looks_secret(comment)
}

/// A JSON Web Token (RFC 7519 §3).
fn is_token(value: &str) -> bool {
    let is_base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    value.starts_with("eyJ") && value.split('.').count() >= 3 && value.split('.').all(is_base64url)
}

/// The secrets in the URLs of a text, in order and apart: what stands before the host (RFC 3986 §3.2.1), and parameters with
/// a secret's name. These are found without a URL too: a path may have a query, and a form is one.
pub(super) fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let begin = from + at + "://".len();
        let end = end_of_url(text, begin);
        let authority_end = text[begin..end].find(['/', '?', '#', ',', ']', '}']).map_or(end, |length| begin + length);
        if let Some(length) = text[begin..authority_end].rfind('@') {
            found.push(begin..begin + length);
        }
        // There may be another one in its query.
        from = authority_end;
    }
    in_queries(text, &mut found);
    found.retain(|range| !range.is_empty());
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut last = 0;
    found.retain(|range| {
        let apart = range.start >= last;
        last = last.max(range.end);
        apart
    });
    found
}

fn end_of_url(text: &str, begin: usize) -> usize {
    let mut at = begin;
    while let Some(c) = text[at..].chars().next() {
        // A placeholder has a space within.
        match placeholder(&text[at..]) {
            Some((_, length)) => at += length,
            None if c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|') => break,
            None => at += c.len_utf8(),
        }
    }
    at
}

/// Parameters stand behind `?`, `&`, `;` and `#`, and at the beginning of a form. A value goes on to the next `&` or `#`.
fn in_queries(text: &str, found: &mut Vec<Range<usize>>) {
    let mut begins = true;
    for (at, c) in text.char_indices() {
        if begins && !c.is_whitespace() {
            let end = text[at..].find(|c: char| !is_of_name(c)).map_or(text.len(), |length| at + length);
            if text[end..].starts_with('=') && is_secret_field(&text[at..end]) {
                found.push(end + 1..end_of_value(text, end + 1));
            }
        }
        begins = matches!(c, '?' | '&' | ';' | '#') || (begins && c.is_whitespace());
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '%' | '$' | '[' | ']')
}

fn end_of_value(text: &str, begin: usize) -> usize {
    let end = end_of_url(text, begin);
    let value = text[begin..end].split(['&', '#']).next().unwrap_or_default();
    // It may be followed by another cookie.
    begin + value.trim_end_matches(';').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_values_are_secret_wherever_they_stand() {
        for value in [
            "Bearer abc",
            "basic YTpi",
            "x-api-key: abc",
            "$2b$10$abc",
            "eyJhbGciOiJub25lIn0.e30.",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
            "Token abc",
            "ApiKey abc",
            "Digest username=\"a\", realm=\"b\", response=\"c\"",
            "AWS4-HMAC-SHA256 Credential=a/20260101/eu/s3/aws4_request, SignedHeaders=host, Signature=b",
            "GNAP abc",
            "OAuth oauth_consumer_key=\"a\", oauth_signature=\"b\"",
            "Token token=\"abc\"",
            "x-jwt: abc",
        ] {
            assert!(looks_secret(value), "{value}");
        }
        for value in [
            "bearer",
            "Basic realm=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", qop=auth",
            "a: b",
            "token",
            "http://a/b",
            "basically",
            "Key of the list",
            "Token is not valid, a=b",
        ] {
            assert!(!comment_looks_secret(value), "{value}");
            assert!(!looks_secret(value), "{value}");
        }
    }

    #[test]
    fn two_words_in_a_comment_are_prose() {
        assert!(!comment_looks_secret(" token bucket") && !comment_looks_secret("key rotation."));
        assert!(comment_looks_secret(" Token aB3") && comment_looks_secret("Bearer abc"));
    }

    #[test]
    fn urls_have_secrets_before_the_host_and_in_their_queries() {
        let found = |text: &'static str| in_urls(text).into_iter().map(|range| &text[range]).collect::<Vec<_>>();
        assert_eq!(found("redis://user:password@10.0.0.7:6379"), ["user:password"]);
        assert_eq!(found("[ 'http://a@b', \"https://c:d@e/f@g\" ]"), ["a", "c:d"]);
        assert_eq!(found("https://h/x?a=1&token=t&X-Amz-Signature=s#key=k"), ["t", "s", "k"]);
        assert_eq!(found("/x?token=abc&a=b&%74oken=d"), ["abc", "d"]);
        assert_eq!(found("grant=x&client_secret=a;b"), ["a;b"]);
        assert_eq!(found("a=b; session=c; token=d"), ["c", "d"]);
        assert_eq!(found("/x?lang=de&page=1 a == b ? token : c"), [""; 0]);
        assert_eq!(found("http://host/x@y?z=:// http:// mail: a@b # ://"), [""; 0]);
    }
}
