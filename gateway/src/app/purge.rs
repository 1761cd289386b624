//! Forgetting responses that plugins keep, on the operator's word: `DELETE /cache/BUCKET?tag=users`.

use percent_encoding::percent_decode_str;

use crate::state::responses::Purge;

/// What an operator wants to have forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) bucket: String,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Key(String),
    Prefix(String),
    Tag(String),
    All,
}

pub(super) const EXPECTED: &str = "expected DELETE /cache/BUCKET with one of ?key=, ?prefix=, ?tag= or ?all\n";

impl Order {
    /// From a path and query. `None` for another path, an error for an order that is not clear.
    pub(super) fn read(path: &str, query: Option<&str>) -> Option<Result<Self, &'static str>> {
        let bucket = path.strip_prefix("/cache/").filter(|bucket| !bucket.is_empty() && !bucket.contains('/'))?;
        let query = query.unwrap_or_default();
        let (name, value) = query.split_once('=').unwrap_or((query, ""));
        // A key may have anything in it, so whatever follows the first name is its value, `&` and all if it is encoded.
        let (Some(bucket), Some(value)) = (decoded(bucket), decoded(value)) else { return Some(Err(EXPECTED)) };
        let what = match name {
            _ if query.contains('&') => return Some(Err(EXPECTED)),
            "all" if value.is_empty() => What::All,
            _ if value.is_empty() => return Some(Err(EXPECTED)),
            "key" => What::Key(value),
            "prefix" => What::Prefix(value),
            "tag" => What::Tag(value),
            _ => return Some(Err(EXPECTED)),
        };
        Some(Ok(Self { bucket, what }))
    }

    pub(super) fn what(&self) -> Purge<'_> {
        match &self.what {
            What::Key(key) => Purge::Key(key),
            What::Prefix(prefix) => Purge::Prefix(prefix),
            What::Tag(tag) => Purge::Tag(tag),
            What::All => Purge::All,
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(path: &str, query: &str) -> Option<Result<Order, &'static str>> {
        Order::read(path, Some(query))
    }

    #[test]
    fn an_order_names_one_thing() {
        let read = |query| order("/cache/b%20c", query).unwrap().unwrap();
        assert_eq!(read("key=example.com/a%3Fb%3D1").what(), Purge::Key("example.com/a?b=1"));
        assert_eq!(read("prefix=example.com/").what(), Purge::Prefix("example.com/"));
        assert_eq!(read("tag=users").what(), Purge::Tag("users"));
        assert_eq!(read("all").what(), Purge::All);
        assert_eq!(read("all").bucket, "b c");
    }

    #[test]
    fn an_order_that_is_not_clear_is_refused() {
        for query in ["", "key=", "tag=a&key=b", "all=1", "everything", "key=%ff", "prefix"] {
            assert_eq!(order("/cache/b", query).unwrap(), Err(EXPECTED), "{query}");
        }
        assert!(Order::read("/cache/b", None).unwrap().is_err());
        assert!(order("/cache/", "all").is_none());
        assert!(order("/metrics", "all").is_none());
    }
}
