//! What a route asks of a request besides host and path.

use std::{cmp::Reverse, sync::Arc};

use gateway_core::model::Route;
use http::{HeaderName, HeaderValue};

use super::query::Query;

/// A route as the table keeps it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) route: Arc<Route>,
}

/// The first condition that a request does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss<'r> {
    Method,
    Header(&'r HeaderName, &'r HeaderValue),
    Query(&'r str, &'r str),
}

impl Entry {
    pub(super) fn new(index: usize, route: &Arc<Route>) -> Self {
        Self { index, route: route.clone() }
    }

    /// Sorts routes with the same host and path, the most specific first. The index only makes the order
    /// total: routes that agree in all before it cannot be told apart, and the configuration is refused.
    pub(super) fn rank(&self) -> impl Ord + '_ {
        let matches = &self.route.matches;
        (
            matches.methods.is_empty(),
            Reverse(matches.headers.len()),
            Reverse(matches.query.len()),
            &self.route.name,
            self.index,
        )
    }

    pub(super) fn miss(&self, query: &Query<'_>) -> Option<Miss<'_>> {
        let methods = &self.route.matches.methods;
        if !methods.is_empty() && !methods.contains(query.method) {
            return Some(Miss::Method);
        }
        self.miss_besides_method(query)
    }

    pub(super) fn miss_besides_method(&self, query: &Query<'_>) -> Option<Miss<'_>> {
        let matches = &self.route.matches;
        for (name, value) in &matches.headers {
            if !query.headers.get_all(name).iter().any(|v| v == value) {
                return Some(Miss::Header(name, value));
            }
        }
        for (name, value) in &matches.query {
            if !has_parameter(query.query.unwrap_or_default(), name, value) {
                return Some(Miss::Query(name, value));
            }
        }
        None
    }
}

/// Whether a query string has the parameter with this value, among others perhaps. Names and values are read
/// as `application/x-www-form-urlencoded`: percent-decoded, `+` for a space.
fn has_parameter(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| {
        let (n, v) = pair.split_once('=').unwrap_or((pair, ""));
        decodes_to(n, name) && decodes_to(v, value)
    })
}

fn decodes_to(encoded: &str, plain: &str) -> bool {
    // A plus sign that is meant as one is encoded, so the two decodings do not meet.
    let mut bytes = encoded.bytes();
    let decoded = std::iter::from_fn(|| {
        let byte = bytes.next()?;
        if byte == b'+' {
            return Some(b' ');
        }
        if byte == b'%' {
            let mut ahead = bytes.clone();
            if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                bytes = ahead;
                return Some(high << 4 | low);
            }
        }
        Some(byte)
    });
    decoded.eq(plain.bytes())
}

fn hex(digit: Option<u8>) -> Option<u8> {
    (digit? as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::has_parameter;

    #[test]
    fn any_of_the_parameters_values_counts() {
        assert!(has_parameter("a=1&a=2", "a", "2"));
        assert!(has_parameter("b=&a=1", "b", ""));
        assert!(has_parameter("b&a=1", "b", ""));
        assert!(!has_parameter("aa=1", "a", "1"));
        assert!(!has_parameter("", "a", ""));
        assert!(!has_parameter("a=1;b=2", "b", "2"));
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert!(has_parameter("f%6fo=a%20b+c", "foo", "a b c"));
        assert!(has_parameter("a=1%2B1", "a", "1+1"));
        assert!(has_parameter("a=b=c", "a", "b=c"));
        assert!(has_parameter("a=%C3%BC", "a", "ü"));
        assert!(!has_parameter("a=1+1", "a", "1+1"));
    }

    #[test]
    fn a_broken_escape_is_taken_as_it_stands() {
        assert!(has_parameter("a=100%", "a", "100%"));
        assert!(has_parameter("a=%zz%4", "a", "%zz%4"));
    }
}
