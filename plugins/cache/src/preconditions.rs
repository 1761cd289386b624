//! What a client has already, or wants only a part of: preconditions (RFC 9110 §13) and ranges (§14), answered from a
//! response that is kept whole.

use plugin_sdk::cache::Part;

use crate::{freshness::time, note::Note};

/// The fields of a request by which it may be answered with less than everything.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) if_none_match: Option<Vec<u8>>,
    pub(crate) if_modified_since: Option<Vec<u8>>,
    pub(crate) range: Option<Vec<u8>>,
    pub(crate) if_range: Option<Vec<u8>>,
}

/// How a stored response answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) status: u16,
    pub(crate) part: Part,
    pub(crate) content_range: Option<String>,
}

impl Wanted {
    pub(crate) fn is_conditional(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }

    /// The order is that of RFC 9110 §13.2.2.
    pub(crate) fn answered_by(&self, note: &Note, status: u16, bytes: u64) -> Given {
        let whole = Given { status, part: Part::Whole, content_range: None };
        if status != 200 {
            return whole;
        }
        if self.is_known(note) {
            return Given { status: 304, part: Part::Nothing, content_range: None };
        }
        let Some(range) = self.range.as_deref().filter(|_| self.range_holds(note)) else { return whole };
        match part(range, bytes) {
            Some(Ok((first, last))) => Given {
                status: 206,
                part: Part::Range(first, last),
                content_range: Some(format!("bytes {first}-{last}/{bytes}")),
            },
            Some(Err(Unsatisfiable)) => {
                Given { status: 416, part: Part::Nothing, content_range: Some(format!("bytes */{bytes}")) }
            }
            None => whole,
        }
    }

    fn is_known(&self, note: &Note) -> bool {
        if let Some(known) = &self.if_none_match {
            return known.trim_ascii() == b"*"
                || (!note.etag.is_empty() && tags(known).any(|tag| opaque(tag) == opaque(&note.etag)));
        }
        // §13.1.3: ignored beside `If-None-Match`, and if it is no date.
        let since = self.if_modified_since.as_deref().and_then(|text| time(std::str::from_utf8(text).ok()?));
        // RFC 9111 §4.3.2: without `Last-Modified`, when it was made.
        let changed = if note.last_modified == 0 { note.made() } else { note.last_modified };
        since.is_some_and(|since| changed <= since)
    }

    /// §13.1.5: a strong comparison.
    fn range_holds(&self, note: &Note) -> bool {
        let Some(validator) = self.if_range.as_deref().map(<[u8]>::trim_ascii) else { return true };
        if validator.contains(&b'"') {
            return validator == note.etag && !validator.starts_with(b"W/");
        }
        !note.last_modified_text.is_empty() && validator == note.last_modified_text
    }
}

struct Unsatisfiable;

/// One range of bytes. Several, other units and what cannot be read are no reason for less than everything.
fn part(range: &[u8], bytes: u64) -> Option<Result<(u64, u64), Unsatisfiable>> {
    let range = std::str::from_utf8(range).ok()?.trim();
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = match (first, last) {
        ("", last) => {
            let suffix: u64 = number(last)?;
            if suffix == 0 || bytes == 0 {
                return Some(Err(Unsatisfiable));
            }
            (bytes.saturating_sub(suffix), bytes - 1)
        }
        (first, "") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?),
    };
    if first > last {
        return None;
    }
    Some(if first < bytes { Ok((first, last.min(bytes - 1))) } else { Err(Unsatisfiable) })
}

/// The entity tags of a list. Commas may be within them.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        while let [b',', after @ ..] = rest {
            rest = after.trim_ascii_start();
        }
        let begin = if rest.starts_with(b"W/") { 2 } else { 0 };
        if rest.get(begin) != Some(&b'"') {
            return None;
        }
        let length = rest[begin + 1..].iter().position(|b| *b == b'"')?;
        let (tag, after) = rest.split_at(begin + 1 + length + 1);
        rest = after;
        Some(tag)
    })
}

/// For the weak comparison of RFC 9110 §8.8.3.2.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Wed, 31 Dec 2025 23:50:00 GMT";

    fn note(etag: &str) -> Note {
        Note {
            arrived: 0,
            initial_age: 0,
            lifetime: 60,
            while_revalidate: 0,
            if_error: 0,
            no_cache: false,
            must_revalidate: false,
            last_modified: time(MODIFIED).unwrap(),
            last_modified_text: MODIFIED.into(),
            etag: etag.into(),
            vary: crate::vary::Vary::default(),
        }
    }

    fn status(wanted: &Wanted, etag: &str) -> u16 {
        wanted.answered_by(&note(etag), 200, 10).status
    }

    #[test]
    fn a_client_that_has_it_gets_304() {
        let wanted = |list: &str| Wanted { if_none_match: Some(list.into()), ..Wanted::default() };
        for list in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"a\",\"x\"", "\"x,y\" , W/\"a\"", " * ", ",, \"a\""] {
            assert_eq!(status(&wanted(list), "\"a\""), 304, "{list}");
        }
        assert_eq!(status(&wanted("\"a\""), "W/\"a\""), 304);
        for list in ["\"b\"", "a", "", "\"a", "x\"a\""] {
            assert_eq!(status(&wanted(list), "\"a\""), 200, "{list}");
        }
        assert_eq!(status(&wanted("\"\""), ""), 200);
    }

    #[test]
    fn dates_count_where_there_are_no_tags() {
        let since = |date: &str| Wanted { if_modified_since: Some(date.into()), ..Wanted::default() };
        assert_eq!(status(&since(MODIFIED), ""), 304);
        assert_eq!(status(&since("Thu, 01 Jan 2026 00:00:00 GMT"), ""), 304);
        assert_eq!(status(&since("Mon, 01 Dec 2025 00:00:00 GMT"), ""), 200);
        assert_eq!(status(&since("yesterday"), ""), 200);
        let never_said = Note { last_modified: 0, arrived: 1_767_225_600_000, ..note("") };
        let of = |date: &str| since(date).answered_by(&never_said, 200, 10).status;
        assert_eq!(of("Thu, 01 Jan 2026 00:00:00 GMT"), 304);
        assert_eq!(of(MODIFIED), 200);
        let both = Wanted { if_none_match: Some(b"\"b\"".to_vec()), ..since(MODIFIED) };
        assert_eq!(status(&both, "\"a\""), 200);
    }

    fn ranged(range: &str) -> Given {
        Wanted { range: Some(range.into()), ..Wanted::default() }.answered_by(&note("\"a\""), 200, 10)
    }

    #[test]
    fn parts_are_given_from_the_whole() {
        for (range, part, content_range) in [
            ("bytes=0-3", Part::Range(0, 3), "bytes 0-3/10"),
            ("Bytes=4-", Part::Range(4, 9), "bytes 4-9/10"),
            ("bytes=-3", Part::Range(7, 9), "bytes 7-9/10"),
            ("bytes=-99", Part::Range(0, 9), "bytes 0-9/10"),
            ("bytes=9-99999999999999999999999", Part::Range(9, 9), "bytes 9-9/10"),
        ] {
            assert_eq!(
                ranged(range),
                Given { status: 206, part, content_range: Some(content_range.into()) },
                "{range}"
            );
        }
        for range in ["bytes=10-", "bytes=-0", "bytes=99-100"] {
            assert_eq!(ranged(range).status, 416, "{range}");
        }
        for range in ["bytes=0-1,3-4", "lines=0-1", "bytes=3-1", "bytes", "bytes=a-b", "bytes=--1", "bytes=+1-2"] {
            assert_eq!(ranged(range).status, 200, "{range}");
        }
    }

    #[test]
    fn parts_of_something_else_are_not_given() {
        let with = |if_range: &str, etag| {
            let wanted =
                Wanted { range: Some(b"bytes=0-1".to_vec()), if_range: Some(if_range.into()), ..Wanted::default() };
            wanted.answered_by(&note(etag), 200, 10).status
        };
        assert_eq!(with("\"a\"", "\"a\""), 206);
        assert_eq!(with("\"b\"", "\"a\""), 200);
        assert_eq!(with("W/\"a\"", "W/\"a\""), 200);
        assert_eq!(with(MODIFIED, ""), 206);
        assert_eq!(with("Mon, 01 Dec 2025 00:00:00 GMT", ""), 200);
    }

    #[test]
    fn only_a_200_is_taken_apart() {
        let wanted =
            Wanted { range: Some(b"bytes=0-1".to_vec()), if_none_match: Some(b"*".to_vec()), ..Wanted::default() };
        assert_eq!(
            wanted.answered_by(&note("\"a\""), 404, 10),
            Given { status: 404, part: Part::Whole, content_range: None }
        );
    }
}
