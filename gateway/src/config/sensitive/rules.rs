//! What is a secret by its name, or by how it looks: the one list for everything that shows a configuration.

use std::ops::Range;

use super::masked::placeholder;

/// A key's last words that say that its value is a secret. Each stands for its plural too.
const KEYS: [&str; 19] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "credential",
    "authorization",
    "bearer",
    "signature",
    "api-key",
    "apikey",
    "auth-key",
    "access-key",
    "private-key",
    "secret-key",
    "signing-key",
    "encryption-key",
    "shared-key",
];
/// Header fields with secrets that are no secrets elsewhere: `{ cookie: NAME }` names one.
const HEADERS: [&str; 3] = ["cookie", "set-cookie", "x-auth"];
/// The private parameters of JSON Web Keys (RFC 7517 §4, RFC 7518 §6), beside `kty`.
const JWK: [&str; 8] = ["k", "d", "p", "q", "dp", "dq", "qi", "oth"];
/// How hashes of passwords begin (crypt(5)): they can be tried offline.
const HASHES: [&str; 8] = ["$argon2", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$apr1$"];
/// Parameters of URLs that are secrets, beside those of `KEYS`: signed URLs of object stores have them.
const PARAMETERS: [&str; 2] = ["sig", "key"];

/// Whether the value of such a key is a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = words(key);
    let key = key.strip_suffix('s').filter(|rest| rest.len() > 2 && !rest.ends_with('s')).unwrap_or(&key);
    KEYS.iter().any(|name| key.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')))
}

/// Whether such a key has several secrets: then a number is how many.
pub(super) fn is_plural(key: &str) -> bool {
    key.ends_with(['s', 'S'])
}

/// Whether a header field has a secret as its value.
pub fn is_secret_header(name: &str) -> bool {
    is_secret_key(name) || HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header))
}

pub(super) fn is_private_parameter(key: &str) -> bool {
    JWK.contains(&key)
}

/// `clientSecret`, `CLIENT_SECRET` and `client-secret` are the same name.
fn words(key: &str) -> String {
    let mut words = String::with_capacity(key.len());
    let mut before = ' ';
    for c in key.chars() {
        match c {
            '_' | ' ' | '.' => words.push('-'),
            c if c.is_ascii_uppercase() && before.is_ascii_lowercase() => {
                words.push('-');
                words.push(c.to_ascii_lowercase());
            }
            c => words.push(c.to_ascii_lowercase()),
        }
        before = c;
    }
    words
}

/// Whether a value is a secret wherever it stands.
pub(super) fn looks_secret(value: &str) -> bool {
    let value = value.trim();
    value.contains("PRIVATE KEY-----")
        || HASHES.iter().any(|begin| value.starts_with(begin))
        || is_token(value)
        || is_credential(value)
        || value.split_once(':').is_some_and(|(name, rest)| {
            rest.starts_with(' ') && !rest.trim().is_empty() && !name.contains(' ') && is_secret_header(name)
        })
}

/// The value of an `Authorization` field; `Basic realm="…"` is a challenge, which everybody sees.
fn is_credential(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(' ') else { return false };
    let is_challenge = ["realm=", "error=", "scope="].iter().any(|parameter| rest.contains(parameter));
    ["bearer", "basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) && !rest.contains(' ') && !is_challenge
}

/// A JSON Web Token (RFC 7519 §3).
fn is_token(value: &str) -> bool {
    let is_base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    value.starts_with("eyJ") && value.split('.').count() >= 3 && value.split('.').all(is_base64url)
}

/// The secrets in the URLs of a text, in order and apart: what stands before the host (RFC 3986 §3.2.1), and parameters with
/// a secret's name.
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
        in_query(text, authority_end, end, &mut found);
        // There may be another one in its query.
        from = authority_end;
    }
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

fn in_query(text: &str, from: usize, end: usize, found: &mut Vec<Range<usize>>) {
    let Some(query) = text[from..end].find('?').map(|at| from + at + 1) else { return };
    let fragment = text[query..end].find('#').map_or(end, |at| query + at);
    let mut at = query;
    for pair in text[query..fragment].split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && (is_secret_key(name) || PARAMETERS.iter().any(|parameter| name.eq_ignore_ascii_case(parameter)))
        {
            let begin = at + name.len() + 1;
            found.push(begin..begin + value.len());
        }
        at += pair.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_secret_by_their_last_words() {
        for key in ["secret", "client-secret", "clientSecret", "API_KEY", "passwords", "X-Auth-Token", "Authorization"]
        {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["secretary", "token-cache-size", "key", "keys", "cookie", "max-token-bytes", "cert", "pass"] {
            assert!(!is_secret_key(key), "{key}");
        }
        assert!(is_secret_header("Cookie") && is_secret_header("x-api-key") && !is_secret_header("accept"));
    }

    #[test]
    fn some_values_are_secret_wherever_they_stand() {
        for value in [
            "Bearer abc",
            "basic YTpi",
            "x-api-key: abc",
            "$2b$10$abc",
            "eyJhbGciOiJub25lIn0.e30.",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
        ] {
            assert!(looks_secret(value), "{value}");
        }
        for value in ["bearer", "Basic realm=\"x\"", "a: b", "token", "http://a/b", "basically"] {
            assert!(!looks_secret(value), "{value}");
        }
    }

    #[test]
    fn urls_have_secrets_before_the_host_and_in_their_queries() {
        let found = |text: &'static str| in_urls(text).into_iter().map(|range| &text[range]).collect::<Vec<_>>();
        assert_eq!(found("redis://user:password@10.0.0.7:6379"), ["user:password"]);
        assert_eq!(found("[ 'http://a@b', \"https://c:d@e/f@g\" ]"), ["a", "c:d"]);
        assert_eq!(found("https://h/x?a=1&token=t&X-Amz-Signature=s#key=k"), ["t", "s"]);
        assert_eq!(found("http://host/x@y?z=:// http:// mail: a@b # ://"), [""; 0]);
    }
}
