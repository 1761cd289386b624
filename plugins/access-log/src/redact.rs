//! What must not be in a log, whoever asks for it: credentials, and the values of listed query parameters.

use std::borrow::Cow;

use plugin_sdk::query;

use crate::source::Source;

const STARS: &[u8] = b"***";

/// What is replaced by stars.
pub struct Redaction {
    /// Names of query parameters, decoded.
    parameters: Vec<String>,
}

impl Redaction {
    pub fn new(parameters: &[String]) -> Self {
        Self { parameters: parameters.to_vec() }
    }

    /// The value of a source as it may be written.
    pub fn apply<'a>(&self, source: &Source, value: &'a [u8]) -> Cow<'a, [u8]> {
        match source {
            Source::Query => self.query(value),
            Source::OriginalTarget => self.target(value),
            Source::Header(name) => match &**name {
                "referer" => self.target(value),
                "authorization" | "proxy-authorization" => scheme(value),
                "cookie" | "x-api-key" => Cow::Borrowed(STARS),
                _ => Cow::Borrowed(value),
            },
            Source::ResponseHeader(name) => match &**name {
                "location" | "content-location" => self.target(value),
                "set-cookie" => Cow::Borrowed(STARS),
                _ => Cow::Borrowed(value),
            },
            _ => Cow::Borrowed(value),
        }
    }

    /// Something with a query behind its first question mark.
    pub fn target<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(mark) = target.iter().position(|byte| *byte == b'?') else { return Cow::Borrowed(target) };
        let (before, query) = target.split_at(mark + 1);
        match self.query(query) {
            Cow::Borrowed(_) => Cow::Borrowed(target),
            Cow::Owned(query) => Cow::Owned([before, &query].concat()),
        }
    }

    fn query<'a>(&self, query: &'a [u8]) -> Cow<'a, [u8]> {
        let is_listed = |pair: &[u8]| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            let name = query::decode(&name);
            self.parameters.iter().any(|listed| listed.eq_ignore_ascii_case(&name))
        };
        if self.parameters.is_empty() || !query.split(|byte| *byte == b'&').any(is_listed) {
            return Cow::Borrowed(query);
        }
        let mut written = Vec::with_capacity(query.len());
        for (i, pair) in query.split(|byte| *byte == b'&').enumerate() {
            if i > 0 {
                written.push(b'&');
            }
            match pair.iter().position(|byte| *byte == b'=') {
                Some(equals) if is_listed(pair) => {
                    written.extend_from_slice(&pair[..=equals]);
                    written.extend_from_slice(STARS);
                }
                _ => written.extend_from_slice(pair),
            }
        }
        Cow::Owned(written)
    }
}

/// The scheme tells what a client tried; what follows it is secret.
fn scheme(value: &[u8]) -> Cow<'_, [u8]> {
    match value.iter().position(|byte| *byte == b' ') {
        Some(space) => Cow::Owned([&value[..=space], STARS].concat()),
        None => Cow::Borrowed(STARS),
    }
}

#[cfg(test)]
mod tests {
    use super::{Redaction, Source};

    fn written(source: &str, value: &str) -> String {
        let redaction = Redaction::new(&["access_token".to_owned(), "key".to_owned()]);
        let source = Source::parse(source).unwrap();
        String::from_utf8(redaction.apply(&source, value.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn listed_parameters_lose_their_values_however_they_are_spelt() {
        for (query, expected) in [
            ("a=1&access_token=s", "a=1&access_token=***"),
            ("access%5Ftoken=s&b", "access%5Ftoken=***&b"),
            ("KEY=s&key=t&keys=u", "KEY=***&key=***&keys=u"),
            ("key=a=b&&x", "key=***&&x"),
            ("key", "key"),
            ("", ""),
            ("x=key=1", "x=key=1"),
        ] {
            assert_eq!(written("query", query), expected);
        }
        assert_eq!(written("original-target", "/key=1?key=1"), "/key=1?key=***");
        assert_eq!(written("header.referer", "https://a/?key=1#x"), "https://a/?key=***");
        assert_eq!(written("response.header.location", "/a?key=1"), "/a?key=***");
        assert_eq!(written("original-target", "/a"), "/a");
    }

    #[test]
    fn credentials_are_never_written() {
        assert_eq!(written("header.Authorization", "Bearer abc"), "Bearer ***");
        assert_eq!(written("header.authorization", "abc"), "***");
        assert_eq!(written("header.proxy-authorization", "Basic abc="), "Basic ***");
        for field in ["header.cookie", "response.header.set-cookie", "header.x-api-key"] {
            assert_eq!(written(field, "a=b"), "***");
        }
        assert_eq!(written("header.user-agent", "Bearer abc"), "Bearer abc");
    }
}
