//! What a response is kept under: host, path, query, scheme and upstream, and what the operator adds.
//!
//! What is not in the key must not change what is stored under it. So all values of a header or cookie are in the key, not the
//! first alone; and a parameter of the query that is not in it does not reach the upstream.

use std::borrow::Cow;

use plugin_sdk::{Item, query};

use crate::config::{Key, Query};

/// How keys are made.
pub(crate) struct Recipe {
    scheme: bool,
    host: bool,
    query: Query,
    headers: Vec<String>,
    cookies: Vec<String>,
    attributes: Vec<String>,
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Routes that differ by more than host and path lead to different services, and so do those that rewrite paths.
    pub(crate) upstream: Option<&'a str>,
}

/// What comes after the address begins with this, so that no query can look like it.
const MARK: char = '\n';

impl Recipe {
    pub(crate) fn new(key: Key) -> Self {
        let Key { scheme, host, query, headers, cookies, attributes } = key;
        Self { scheme, host, query, headers, cookies, attributes }
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

    /// `extras` are the items; `all` gives all values of a header, of which an item is the first.
    pub(crate) fn key<'a>(
        &self,
        address: Address<'_>,
        mut extras: impl Iterator<Item = Option<&'a [u8]>>,
        all: impl Fn(&str) -> Vec<Vec<u8>>,
    ) -> String {
        let Address { scheme, authority, path, query, upstream } = address;
        let mut key = String::with_capacity(authority.len() + path.len() + query.map_or(0, str::len) + 8);
        if self.host {
            // RFC 3986 §6.2.2.1.
            key.extend(authority.chars().map(|c| c.to_ascii_lowercase()));
        }
        key.push_str(path);
        if let Some(query) = self.query(query) {
            key.push('?');
            key.push_str(&query);
        }
        if self.scheme {
            key.push(MARK);
            key.push_str(scheme);
        }
        if let Some(upstream) = upstream {
            key.push(MARK);
            key.push_str("upstream=");
            key.push_str(upstream);
        }
        for name in &self.headers {
            let values = extras.next().flatten().map(|_| all(name)).unwrap_or_default();
            add(&mut key, name, values.iter().map(|value| Value::Exact(value)));
        }
        if !self.cookies.is_empty() {
            let lines = extras.next().flatten().map(|_| all("cookie")).unwrap_or_default();
            for name in &self.cookies {
                add(&mut key, name, lines.iter().flat_map(|line| values_of(line, name)));
            }
        }
        for name in &self.attributes {
            add(&mut key, name, extras.next().flatten().map(Value::Exact).into_iter());
        }
        key
    }

    /// What of a query is in the key, and reaches the upstream.
    pub(crate) fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        let keep: &dyn Fn(&str) -> bool = match &self.query {
            Query::All => return Some(query.into()),
            Query::None => return None,
            Query::Only(names) => &|name| names.iter().any(|own| own == name),
            Query::Except(names) => &|name| !names.iter().any(|own| own == name),
        };
        // An upstream decodes names, so the same parameter may be written in many ways.
        let name = |pair: &'a str| query::decode(pair.split('=').next().unwrap_or_default());
        let kept = query.split('&').filter(|pair| keep(&name(pair))).collect::<Vec<_>>().join("&");
        (!kept.is_empty()).then(|| kept.into())
    }
}

/// What a request has under a name of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    Exact(&'a [u8]),
    /// A cookie with another name, with that name: services differ in whether it is the same.
    OtherName(&'a [u8]),
}

/// Present and empty is something else than not there, and two values are something else than one.
fn add<'a>(key: &mut String, name: &str, values: impl Iterator<Item = Value<'a>>) {
    key.push(MARK);
    key.push_str(name);
    for (i, value) in values.enumerate() {
        key.push(if i == 0 { '=' } else { ' ' });
        let bytes = match value {
            Value::Exact(bytes) => bytes,
            Value::OtherName(bytes) => {
                // No cookie's value has one.
                key.push(';');
                bytes
            }
        };
        for byte in bytes {
            match byte {
                b'%' | 0..=b' ' | 0x7f.. => key.push_str(&format!("%{byte:02x}")),
                byte => key.push(char::from(*byte)),
            }
        }
    }
}

/// Every value that a line of `Cookie` has for a name (RFC 6265 §5.4): which of several counts is for the upstream to say.
fn values_of<'a>(line: &'a [u8], name: &str) -> impl Iterator<Item = Value<'a>> {
    line.split(|byte| *byte == b';').filter_map(move |pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        let own = pair[..end].trim_ascii();
        if own == name.as_bytes() {
            Some(Value::Exact(pair[end + 1..].trim_ascii()))
        } else {
            is_merged(own, name.as_bytes()).then(|| Value::OtherName(pair.trim_ascii()))
        }
    })
}

/// Whether services take two names of cookies for one: PHP makes `_` of `.`, space and `[` in names, ASP.NET compares them without case.
fn is_merged(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| match byte {
        b'.' | b' ' | b'[' => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    one.iter().map(folded).eq(other.iter().map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(recipe: Key, query: &str, extras: &[Option<&[u8]>]) -> String {
        let address =
            Address { scheme: "https", authority: "Example.com", path: "/a", query: Some(query), upstream: None };
        let all = |name: &str| match name {
            "x-twice" => vec![b"1".to_vec(), b"2".to_vec()],
            "cookie" => vec![extras.iter().flatten().find(|value| value.contains(&b'=')).unwrap().to_vec()],
            _ => vec![extras[0].unwrap().to_vec()],
        };
        Recipe::new(recipe).key(address, extras.iter().copied(), all)
    }

    #[test]
    fn an_address_is_its_host_path_query_and_scheme() {
        assert_eq!(key(Key::default(), "b=1&c", &[]), "example.com/a?b=1&c\nhttps");
        assert_eq!(key(Key { host: false, scheme: false, ..Key::default() }, "b", &[]), "/a?b");
    }

    fn of(query: Query, text: &str) -> Option<String> {
        Recipe::new(Key { query, ..Key::default() }).query(Some(text)).map(Cow::into_owned)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_does_not_count_of_the_query_is_left_out() {
        assert_eq!(of(Query::None, "b=1"), None);
        assert_eq!(of(Query::Only(names(&["b"])), "utm=1&b=1&b=2&bb=3").unwrap(), "b=1&b=2");
        assert_eq!(of(Query::Except(names(&["utm"])), "utm=1&b=1&utm").unwrap(), "b=1");
        assert_eq!(of(Query::Only(names(&["x"])), "b=1"), None);
    }

    #[test]
    fn a_parameter_is_the_same_however_its_name_is_encoded() {
        assert_eq!(of(Query::Only(names(&["id"])), "%69d=evil&i%64=2&ID=3&id%3D=4").unwrap(), "%69d=evil&i%64=2");
        assert_eq!(of(Query::Only(names(&["a b"])), "a+b=1&a%20b=2&a=3").unwrap(), "a+b=1&a%20b=2");
        assert_eq!(of(Query::Except(names(&["utm"])), "%75tm=1&b=1&utm%00=2").unwrap(), "b=1&utm%00=2");
    }

    #[test]
    fn every_value_of_a_header_or_a_cookie_counts() {
        let recipe = || Key { headers: vec!["x-twice".into()], scheme: false, ..Key::default() };
        assert_eq!(key(recipe(), "", &[Some(b"1")]), "example.com/a?\nx-twice=1 2");
        let values = |line: &'static str| values_of(line.as_bytes(), "a").collect::<Vec<_>>();
        assert_eq!(values("a=1; b=2;a=3 ; a =4;aa=5;a"), [&b"1"[..], b"3", b"4"].map(Value::Exact));
    }

    #[test]
    fn a_cookie_that_services_merge_with_one_of_the_key_is_in_the_key() {
        let recipe = Recipe::new(Key { scheme: false, cookies: vec!["my_lang".into()], ..Key::default() });
        let key = |line: &'static str| {
            let address = Address { scheme: "", authority: "a", path: "/", query: None, upstream: None };
            recipe.key(address, [Some(line.as_bytes())].into_iter(), |_| vec![line.as_bytes().to_vec()])
        };
        assert_eq!(key("my_lang=de; x=1"), "a/\nmy_lang=de");
        assert_eq!(key("my.lang=fr; MY_lang=de; my_lang=de"), "a/\nmy_lang=;my.lang=fr ;MY_lang=de de");
        assert_eq!(key("my-lang=fr"), "a/\nmy_lang");
    }

    #[test]
    fn additions_cannot_be_forged_by_one_another() {
        let recipe = || Key {
            scheme: false,
            headers: vec!["x-a".into()],
            cookies: vec!["lang".into()],
            attributes: vec!["jwt.sub".into()],
            ..Key::default()
        };
        let first = key(recipe(), "", &[Some(b"1\nlang:2"), Some(b"a=b; lang=de"), Some(b"anna")]);
        assert_eq!(first, "example.com/a?\nx-a=1%0alang:2\nlang=de\njwt.sub=anna");
        let second = key(recipe(), "", &[Some(b"1"), Some(b"xlang=de"), None]);
        assert_eq!(second, "example.com/a?\nx-a=1\nlang\njwt.sub");
    }
}
