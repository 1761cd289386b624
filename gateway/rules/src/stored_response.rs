//! Responses that the gateway stores for plugins: limits, and what a confirmation changes.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// A key together with its bucket.
pub const MAX_KEY_BYTES: usize = 4 * 1024;
/// Each of a note, a secondary key and the tags together.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// What a plugin remembers of an exchange.
pub const MAX_REMEMBERED_BYTES: usize = 64 * 1024;
/// Stored responses that a plugin may find in one exchange.
pub const MAX_FOUND: usize = 256;
/// Responses of one key with different secondary keys.
pub const MAX_VARIANTS: usize = 32;
/// How long a request may wait for a lock.
pub const MAX_LOCK_WAIT: Duration = Duration::from_secs(60);
/// How long requests do not wait for a key after `release`.
pub const MAX_RELEASE: Duration = Duration::from_secs(3600);
/// How long a response is stored.
pub const MAX_KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a 304 does not change of a stored response (RFC 9111 §3.2): what its body is, and how it was framed.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ETAG,
    HeaderName::from_static("content-md5"),
];

/// Whether bucket and key are within the limit.
pub fn fits_key(bucket: &str, key: &str) -> bool {
    bucket.len() + key.len() <= MAX_KEY_BYTES
}

/// Whether a note, a secondary key and tags are within the limit.
pub fn fits_entry(note: &[u8], secondary: &[u8], tags: &[String]) -> bool {
    let tags: usize = tags.iter().map(|tag| tag.len() + 1).sum();
    [note.len(), secondary.len(), tags].into_iter().all(|bytes| bytes <= MAX_NOTE_BYTES)
}

/// The fields of a stored response after a response that confirms it.
pub fn confirmed(stored: &HeaderMap, news: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    let changed: Vec<_> = news.keys().filter(|name| !OF_THE_BODY.contains(name)).collect();
    for name in &changed {
        headers.remove(*name);
    }
    for name in changed {
        for value in news.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_confirmation_replaces_fields_but_not_those_of_the_body() {
        let stored = headers(&[("etag", "1"), ("content-encoding", "gzip"), ("x", "a"), ("y", "b")]);
        let news = headers(&[("etag", "2"), ("content-length", "0"), ("x", "c"), ("content-language", "de")]);
        let expected =
            headers(&[("etag", "1"), ("content-encoding", "gzip"), ("x", "c"), ("y", "b"), ("content-language", "de")]);
        assert_eq!(confirmed(&stored, &news), expected);
    }

    #[test]
    fn tags_count_together() {
        let tags = vec!["t".repeat(MAX_NOTE_BYTES / 2); 2];
        assert!(fits_entry(b"", b"", &tags[..1]) && !fits_entry(b"", b"", &tags));
        assert!(fits_key("b", &"k".repeat(MAX_KEY_BYTES - 1)) && !fits_key("b", &"k".repeat(MAX_KEY_BYTES)));
    }
}
