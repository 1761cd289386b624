//! Names that say that a value is a secret: of keys, header fields, and parameters of queries.

use percent_encoding::percent_decode_str;

/// Words for secrets. Each stands for its plural too, and for words that end in it, such as `authtoken`.
const WORDS: [&str; 11] = [
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
    "apikey",
];
/// What kinds of `key` are secrets.
const KEYS: [&str; 14] = [
    "api",
    "auth",
    "access",
    "private",
    "secret",
    "signing",
    "encryption",
    "shared",
    "hmac",
    "master",
    "session",
    "subscription",
    "account",
    "storage",
];
/// Words for secrets in header fields and parameters. Elsewhere they are names of plugins and options.
const FIELD_WORDS: [&str; 14] = [
    "cookie",
    "auth",
    "jwt",
    "hmac",
    "pass",
    "pw",
    "sid",
    "sessionid",
    "session",
    "sig",
    "csrf",
    "xsrf",
    "otp",
    "assertion",
];
/// Fields and parameters that end in `key` and are no secrets.
const OTHER_KEYS: [&str; 6] = ["cache", "surrogate", "idempotency", "websocket", "sort", "partition"];
/// Last words by which a name is about a secret, and its value none: `token-cache-size`, `token-endpoint`.
const ABOUT: [&str; 51] = [
    "size",
    "byte",
    "count",
    "limit",
    "ttl",
    "time",
    "timeout",
    "lifetime",
    "expiry",
    "expiration",
    "age",
    "length",
    "header",
    "name",
    "field",
    "param",
    "parameter",
    "cookie",
    "query",
    "path",
    "url",
    "uri",
    "endpoint",
    "server",
    "host",
    "port",
    "address",
    "file",
    "folder",
    "env",
    "type",
    "kind",
    "id",
    "algorithm",
    "alg",
    "format",
    "prefix",
    "suffix",
    "location",
    "source",
    "policy",
    "mode",
    "issuer",
    "audience",
    "scope",
    "required",
    "enabled",
    "leeway",
    "cache",
    "store",
    "bucket",
];

/// How a name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Nothing,
    /// Another word follows, as in `token-of-anna`: a value is a secret, and a whole section need not be one.
    Within,
    /// It is what the name is about.
    Last,
}

/// What the name of a key says of its value.
pub(super) fn says_key(name: &str) -> Says {
    says(&words(name), |word| is_word(word, &WORDS))
}

/// Whether a header field or a parameter of a query with this name has a secret as its value.
pub fn is_secret_field(name: &str) -> bool {
    let words = words(&percent_decode_str(name).decode_utf8_lossy());
    let is_secret = |word: &str| is_word(word, &WORDS) || FIELD_WORDS.contains(&word);
    let ends_in_key = || match without_version(&words) {
        [.., before, last] => last == "key" && !OTHER_KEYS.contains(&before.as_str()),
        [only] => only == "key" || only == "code",
        [] => false,
    };
    says(&words, is_secret) != Says::Nothing || ends_in_key()
}

/// The same for a name that stands before a colon or an equals sign in a text that may be about anything.
pub(super) fn is_secret_in_text(name: &str) -> bool {
    let several = words(name).len() > 1;
    says_key(name) != Says::Nothing || (several && is_secret_field(name)) || is_cookie(name)
}

fn is_cookie(name: &str) -> bool {
    ["cookie", "set-cookie"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn says(words: &[String], is_secret: impl Fn(&str) -> bool) -> Says {
    let words = without_version(words);
    let is_key = |at: usize| words[at] == "key" && at > 0 && KEYS.contains(&words[at - 1].as_str());
    match (0..words.len()).rfind(|&at| is_secret(&words[at]) || is_key(at)) {
        None => Says::Nothing,
        Some(at) if at + 1 == words.len() => Says::Last,
        Some(_) if words.last().is_some_and(|last| ABOUT.contains(&last.as_str())) => Says::Nothing,
        Some(_) => Says::Within,
    }
}

/// A word, its plural, or a longer one that ends in it.
fn is_word(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| word.strip_suffix(known).is_some_and(|rest| rest.is_empty() || known.len() >= 5))
}

/// `token-v2`, `secret_1` and `password-old` are a token, a secret and a password.
fn without_version(words: &[String]) -> &[String] {
    let is_version = |word: &String| {
        matches!(
            word.as_str(),
            "v" | "old" | "new" | "current" | "previous" | "next" | "primary" | "secondary" | "value"
        ) || word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let end = words.iter().rposition(|word| !is_version(word)).map_or(0, |last| last + 1);
    &words[..end]
}

/// `clientSecret2`, `CLIENT_SECRETS-2` and `/client/secret` are the same words, without their plural.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        let begins = !before.is_alphanumeric()
            || (c.is_ascii_uppercase() && before.is_ascii_lowercase())
            || c.is_ascii_digit() != before.is_ascii_digit();
        if c.is_alphanumeric() {
            match words.last_mut().filter(|_| !begins) {
                Some(word) => word.push(c.to_ascii_lowercase()),
                None => words.push(c.to_ascii_lowercase().to_string()),
            }
        }
        before = c;
    }
    for word in &mut words {
        if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
            word.pop();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_by_their_words_that_their_value_is_a_secret() {
        for key in [
            "secret",
            "client-secret",
            "clientSecret",
            "API_KEY",
            "apiKey",
            "passwords",
            "X-Auth-Token",
            "Authorization",
            "token-v2",
            "secret_1",
            "password2",
            "secret-old",
            "/user/password",
            "authtoken",
            "signing-keys",
        ] {
            assert_eq!(says_key(key), Says::Last, "{key}");
        }
        for key in ["token-of-anna", "secretForBilling", "api-key-billing"] {
            assert_eq!(says_key(key), Says::Within, "{key}");
        }
        for key in [
            "secretary",
            "token-cache-size",
            "key",
            "keys",
            "cookie",
            "max-token-bytes",
            "cert",
            "pass",
            "jwt",
            "auth",
            "v2",
            "token-endpoint",
            "secret-name",
            "pass-through",
            "",
        ] {
            assert_eq!(says_key(key), Says::Nothing, "{key}");
        }
    }

    #[test]
    fn fields_say_it_by_more_words() {
        for name in [
            "Cookie",
            "set-cookie",
            "x-api-key",
            "x-auth",
            "x-token-v2",
            "x-secret-1",
            "x-pass",
            "x-jwt",
            "X-HMAC-SHA256",
            "x-hub-signature-256",
            "ocp-apim-subscription-key",
            "key",
            "sig",
            "%74oken",
            "code",
            "X-Amz-Signature",
            "jwt",
            "x-jwt-assertion",
            "x-authtoken",
            "x-session",
        ] {
            assert!(is_secret_field(name), "{name}");
        }
        for name in [
            "accept",
            "x-tenant",
            "cache-key",
            "sec-websocket-key",
            "x-status-code",
            "www-authenticate",
            "x-token-type",
            "x-forwarded-for",
            "etag",
            "monkey",
            "x-passenger",
        ] {
            assert!(!is_secret_field(name), "{name}");
        }
        assert!(is_secret_in_text("x-jwt") && is_secret_in_text("token") && is_secret_in_text("Cookie"));
        assert!(!is_secret_in_text("jwt") && !is_secret_in_text("key") && !is_secret_in_text("pass"));
    }
}
