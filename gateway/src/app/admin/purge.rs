//! Which responses an operator wants to have forgotten: `DELETE /api/v1/cache/BUCKET?tag=users`.

use gateway_state::responses::Purge;
use percent_encoding::percent_decode_str;

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

const EXPECTED: &str = "expected one of ?key=, ?prefix=, ?tag= or ?all";

impl Order {
    /// From a bucket's name and a query; an error for an order that is not clear.
    pub(super) fn read(bucket: String, query: &str) -> Result<Self, &'static str> {
        let (name, value) = query.split_once('=').unwrap_or((query, ""));
        // A key may have anything in it, so whatever follows the first name is its value, `&` and all if it is encoded.
        let value = decoded(value).ok_or(EXPECTED)?;
        let what = match name {
            _ if query.contains('&') => return Err(EXPECTED),
            "all" if value.is_empty() => What::All,
            _ if value.is_empty() => return Err(EXPECTED),
            "key" => What::Key(value),
            "prefix" => What::Prefix(value),
            "tag" => What::Tag(value),
            _ => return Err(EXPECTED),
        };
        Ok(Self { bucket, what })
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

    fn order(query: &str) -> Result<Order, &'static str> {
        Order::read("b c".to_owned(), query)
    }

    #[test]
    fn an_order_names_one_thing() {
        let read = |query| order(query).unwrap();
        assert_eq!(read("key=example.com/a%3Fb%3D1").what(), Purge::Key("example.com/a?b=1"));
        assert_eq!(read("prefix=example.com/").what(), Purge::Prefix("example.com/"));
        assert_eq!(read("tag=users").what(), Purge::Tag("users"));
        assert_eq!(read("all").what(), Purge::All);
        assert_eq!(read("all").bucket, "b c");
    }

    #[test]
    fn an_order_that_is_not_clear_is_refused() {
        for query in ["", "key=", "tag=a&key=b", "all=1", "everything", "key=%ff", "prefix"] {
            assert_eq!(order(query), Err(EXPECTED), "{query}");
        }
    }
}
