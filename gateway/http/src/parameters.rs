//! What a route's path pattern captured. Nothing is copied before it is read, which on most routes never
//! does.

use std::{borrow::Cow, sync::Arc};

use gateway_core::model::{PathPattern, Route, Segment};
use percent_encoding::percent_decode_str;

/// The parameters of one exchange: the pattern to read them by.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Option<Arc<Route>>);

impl Parameters {
    /// Those of a route, which may be none.
    pub fn of(route: &Arc<Route>) -> Self {
        let captures = |segment: &Segment| !matches!(segment, Segment::Literal(_));
        Self(route.matches.path.segments.iter().any(captures).then(|| route.clone()))
    }

    /// What one parameter captured from a path that matches, percent-decoded; bytes that are not UTF-8 become
    /// U+FFFD. With `*` before its name, as it stands in the path: decoded, `a%2Fb` and `a/b` would be the same.
    pub fn get<'a>(&'a self, name: &str, path: &'a str) -> Option<Cow<'a, str>> {
        let pattern = &self.0.as_ref()?.matches.path;
        let (name, raw) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        let (_, text) = captures(pattern, path).find(|(captured, _)| *captured == name)?;
        Some(if raw { Cow::Borrowed(text) } else { decode(text) })
    }
}

/// Every parameter of a pattern from left to right, with what it captures from a path that it matches, as it
/// stands there.
pub fn captures<'a>(pattern: &'a PathPattern, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut left = path.strip_prefix('/');
    pattern.segments.iter().filter_map(move |segment| {
        let text = left.unwrap_or_default();
        let (first, tail) = match text.split_once('/') {
            Some((first, tail)) => (first, Some(tail)),
            None => (text, None),
        };
        left = tail;
        match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) => Some((name.as_str(), first)),
            Segment::Rest(name) => Some((name.as_str(), text)),
        }
    })
}

pub fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}
