//! A header that a stage decides by has one spelling: the request goes on without the others.
//!
//! A cache that keeps `x-lang` in its key, or a limit for each `x-tenant`, would otherwise see another value than a service that merges
//! `X_Lang` with `X-Lang` (`http/spelling.rs`). The others are removed when the request phase ends, and not when the header is read:
//! a stage may read both spellings, and then both go on.

use gateway_http::request_headers::RequestHeaders;
use gateway_rules::fields::{has_underscore, is_other_spelling};
use http::{HeaderMap, HeaderName};

use super::touched::Touched;

/// What stages have read, as far as the request has it in several spellings. Both lists hold names of the request's own headers,
/// so they are no longer than its head.
#[derive(Debug, Default, Clone)]
pub(super) struct Spellings {
    /// Whether a name in the request has `_`. Looked at once, when the first name with `-` is read.
    underscores: Option<bool>,
    read: Vec<HeaderName>,
    others: Vec<HeaderName>,
}

impl Spellings {
    /// Notes that a header is read.
    pub(super) fn note(&mut self, headers: &HeaderMap, name: &str) {
        // Nearly always it ends here.
        if !has_underscore(name) {
            let any = || headers.keys().any(|name| has_underscore(name.as_str()));
            if !*self.underscores.get_or_insert_with(any) {
                return;
            }
        }
        for own in headers.keys() {
            let list = match own.as_str() {
                own if own.eq_ignore_ascii_case(name) => &mut self.read,
                own if is_other_spelling(own, &name.to_ascii_lowercase()) => &mut self.others,
                _ => continue,
            };
            if !list.contains(own) {
                list.push(own.clone());
            }
        }
    }

    /// Removes what no stage has read, or set itself, of headers that stages have read in another spelling.
    pub(super) fn remove_others(&mut self, headers: &mut RequestHeaders, touched: &Touched) {
        let Self { read, others, .. } = self;
        for name in others.drain(..) {
            if !read.contains(&name) && !touched.owns(&name) {
                headers.map_for(name.as_str()).remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use crate::tests::slot;

    /// The names that are left after these were read.
    fn left(read: &[&str]) -> Vec<String> {
        let mut slot = slot();
        slot.request.headers.clear();
        for name in ["x-lang", "x-other", "x_lang", "x_only"] {
            slot.request.headers.insert(name, HeaderValue::from_static("1"));
        }
        read.iter().for_each(|name| slot.note_read(name));
        slot.drop_other_spellings();
        let mut left: Vec<_> = slot.request.headers.keys().map(|name| name.as_str().to_owned()).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn what_was_read_goes_on_in_the_spelling_in_which_it_was_read() {
        assert_eq!(left(&[]), ["x-lang", "x-other", "x_lang", "x_only"]);
        assert_eq!(left(&["X-Lang"]), ["x-lang", "x-other", "x_only"]);
        assert_eq!(left(&["x_lang"]), ["x-other", "x_lang", "x_only"]);
        assert_eq!(left(&["x_lang", "x-lang"]), ["x-lang", "x-other", "x_lang", "x_only"]);
        // The one that was read is not there.
        assert_eq!(left(&["x-only", "x_other"]), ["x-lang", "x_lang"]);
    }

    #[test]
    fn what_a_stage_has_set_stays() {
        let mut slot = slot();
        slot.set_request_header("x_lang", b"de").unwrap();
        slot.note_read("x-lang");
        slot.drop_other_spellings();
        assert_eq!(slot.request.headers["x_lang"], "de");
    }
}
