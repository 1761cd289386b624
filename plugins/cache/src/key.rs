//! What a response is kept under: host, path and query, and what the operator adds.

use std::borrow::Cow;

use plugin_sdk::Item;

use crate::config::{Key, Query};

/// How keys are made.
pub(crate) struct Recipe {
    host: bool,
    query: Query,
    headers: Vec<String>,
    cookies: Vec<String>,
    attributes: Vec<String>,
}

/// What comes after the address begins with this, so that no query can look like it.
const MARK: char = '\n';

impl Recipe {
    pub(crate) fn new(key: Key) -> Self {
        let Key { host, query, headers, cookies, attributes } = key;
        Self { host, query, headers, cookies, attributes }
    }

    /// What has to be known of a request beside its address, in the order of `key`'s `extras`.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> {
        let headers = self.headers.iter().cloned().map(Item::Header);
        let cookies = (!self.cookies.is_empty()).then(|| Item::Header("cookie".to_owned()));
        headers.chain(cookies).chain(self.attributes.iter().cloned().map(Item::Attribute))
    }

    /// Whether responses are kept apart by cookies.
    pub(crate) fn has_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// Whether responses are kept apart by this attribute.
    pub(crate) fn has_attribute(&self, name: &str) -> bool {
        self.attributes.iter().any(|own| own == name)
    }

    pub(crate) fn key<'a>(
        &self,
        authority: &str,
        path: &str,
        query: Option<&str>,
        mut extras: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> String {
        let mut key = String::with_capacity(authority.len() + path.len() + query.map_or(0, str::len) + 1);
        if self.host {
            // RFC 3986 §6.2.2.1.
            key.extend(authority.chars().map(|c| c.to_ascii_lowercase()));
        }
        key.push_str(path);
        if let Some(query) = self.query(query) {
            key.push('?');
            key.push_str(&query);
        }
        for name in &self.headers {
            add(&mut key, name, extras.next().flatten());
        }
        if !self.cookies.is_empty() {
            let cookie = extras.next().flatten().unwrap_or_default();
            for name in &self.cookies {
                add(&mut key, name, value_of(cookie, name));
            }
        }
        for name in &self.attributes {
            add(&mut key, name, extras.next().flatten());
        }
        key
    }

    fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        let keep: &dyn Fn(&str) -> bool = match &self.query {
            Query::All => return Some(query.into()),
            Query::None => return None,
            Query::Only(names) => &|name| names.iter().any(|own| own == name),
            Query::Except(names) => &|name| !names.iter().any(|own| own == name),
        };
        let pairs = query.split('&').filter(|pair| keep(pair.split('=').next().unwrap_or_default()));
        let kept = pairs.collect::<Vec<_>>().join("&");
        (!kept.is_empty()).then(|| kept.into())
    }
}

/// Present and empty is something else than not there.
fn add(key: &mut String, name: &str, value: Option<&[u8]>) {
    key.push(MARK);
    key.push_str(name);
    if let Some(value) = value {
        key.push('=');
        for byte in value {
            match byte {
                b'%' | 0..=b' ' | 0x7f.. => key.push_str(&format!("%{byte:02x}")),
                byte => key.push(char::from(*byte)),
            }
        }
    }
}

/// A cookie of `Cookie` (RFC 6265 §5.4).
fn value_of<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    cookie.split(|b| *b == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(recipe: Key, query: &str, extras: &[Option<&[u8]>]) -> String {
        Recipe::new(recipe).key("Example.com", "/a", Some(query), extras.iter().copied())
    }

    #[test]
    fn an_address_is_its_host_path_and_query() {
        assert_eq!(key(Key::default(), "b=1&c", &[]), "example.com/a?b=1&c");
        assert_eq!(key(Key { host: false, ..Key::default() }, "b", &[]), "/a?b");
    }

    #[test]
    fn what_does_not_count_of_the_query_is_left_out() {
        let of = |query, text| key(Key { query, ..Key::default() }, text, &[]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(of(Query::None, "b=1"), "example.com/a");
        assert_eq!(of(Query::Only(names(&["b"])), "utm=1&b=1&b=2&bb=3"), "example.com/a?b=1&b=2");
        assert_eq!(of(Query::Except(names(&["utm"])), "utm=1&b=1&utm"), "example.com/a?b=1");
        assert_eq!(of(Query::Only(names(&["x"])), "b=1"), "example.com/a");
    }

    #[test]
    fn additions_cannot_be_forged_by_one_another() {
        let recipe = || Key {
            headers: vec!["x-a".into(), "x-b".into()],
            cookies: vec!["lang".into()],
            attributes: vec!["jwt.sub".into()],
            ..Key::default()
        };
        let first = key(recipe(), "", &[Some(b"1\nx-b=2"), None, Some(b"a=b; lang=de"), Some(b"anna")]);
        assert_eq!(first, "example.com/a?\nx-a=1%0ax-b=2\nx-b\nlang=de\njwt.sub=anna");
        let second = key(recipe(), "", &[Some(b"1"), Some(b"2"), Some(b"xlang=de"), None]);
        assert_eq!(second, "example.com/a?\nx-a=1\nx-b=2\nlang\njwt.sub");
    }
}
