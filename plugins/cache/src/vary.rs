//! `Vary` (RFC 9110 §12.5.5, RFC 9111 §4.1): which fields of the request a response was chosen by, and what was in them.

use crate::note::{get, put};

/// Names and values, as they are written down: also what tells the responses of one key apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Vary(Vec<u8>);

/// Names in one `Vary`. Whoever has more is not kept: nobody would find it again.
const NAMES: usize = 16;
/// Before a value that is there, and instead of one that is not.
const PRESENT: u8 = 1;
const ABSENT: u8 = 0;

impl Vary {
    /// From the field's values, with what the request has. `None` if no other request can match.
    pub(crate) fn of(fields: &[Vec<u8>], mut values: impl FnMut(&str) -> Vec<Vec<u8>>) -> Option<Self> {
        let mut names: Vec<String> = Vec::new();
        for field in fields {
            for name in std::str::from_utf8(field).ok()?.split(',') {
                let name = name.trim().to_ascii_lowercase();
                if name == "*" {
                    return None;
                }
                if !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.len() > NAMES {
            return None;
        }
        names.sort_unstable();
        let mut written = Vec::new();
        for name in &names {
            put(&mut written, name.as_bytes());
            match combined(name, &values(name)) {
                Some(value) if value.len() > usize::from(u16::MAX) => return None,
                Some(value) => {
                    written.push(PRESENT);
                    put(&mut written, &value);
                }
                None => written.push(ABSENT),
            }
        }
        Some(Self(written))
    }

    /// What another request has in the same fields, as it would be written down.
    pub(crate) fn values_of(&self, mut values: impl FnMut(&str) -> Vec<Vec<u8>>) -> Vec<u8> {
        let mut written = Vec::new();
        self.each(|name, _| {
            put(&mut written, combined(name, &values(name)).as_deref().unwrap_or_default());
            true
        });
        written
    }

    /// Whether a request has the same in all of them.
    pub(crate) fn matches(&self, mut values: impl FnMut(&str) -> Vec<Vec<u8>>) -> bool {
        self.each(|name, known| combined(name, &values(name)).as_deref() == known)
    }

    /// Asks about each name and value. `false` if one of the answers is, or it cannot be read.
    fn each(&self, mut asked: impl FnMut(&str, Option<&[u8]>) -> bool) -> bool {
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let Some(name) = get(&mut rest).and_then(|name| std::str::from_utf8(name).ok()) else { return false };
            let Some((present, after)) = rest.split_first() else { return false };
            rest = after;
            let known = if *present == PRESENT { get(&mut rest) } else { None };
            if (*present == PRESENT) != known.is_some() || !asked(name, known) {
                return false;
            }
        }
        true
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

/// Several lines are one list, and spaces around its commas mean nothing (RFC 9110 §5.3, §5.6.1).
fn combined(name: &str, values: &[Vec<u8>]) -> Option<Vec<u8>> {
    if values.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for (i, part) in values.iter().flat_map(|value| value.split(|b| *b == b',')).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(part.trim_ascii());
    }
    // Language tags are the same in any case (RFC 5646 §2.1.1), and so are codings (RFC 9110 §8.4.1).
    if matches!(name, "accept-language" | "accept-encoding") {
        out.make_ascii_lowercase();
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vary: &[&str], request: &[(&str, &str)]) -> Option<Vary> {
        let fields: Vec<_> = vary.iter().map(|field| field.as_bytes().to_vec()).collect();
        Vary::of(&fields, values(request))
    }

    fn values(request: &[(&str, &str)]) -> impl Fn(&str) -> Vec<Vec<u8>> {
        move |name| request.iter().filter(|(own, _)| *own == name).map(|(_, value)| value.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_star_anywhere_matches_nobody() {
        for vary in [&["*"][..], &["*, *"], &["", "*"], &["foo, *"], &[", *"]] {
            assert_eq!(of(vary, &[]), None, "{vary:?}");
        }
    }

    #[test]
    fn a_request_matches_with_the_same_values_and_gaps() {
        let vary = of(&["Foo, bar"], &[("foo", "1")]).unwrap();
        assert!(vary.matches(values(&[("foo", "1"), ("baz", "9")])));
        assert!(!vary.matches(values(&[("foo", "2")])));
        assert!(!vary.matches(values(&[("foo", "1"), ("bar", "")])));
        assert!(!vary.matches(values(&[])));
        assert!(of(&[], &[]).unwrap().matches(values(&[("any", "thing")])));
    }

    #[test]
    fn lists_are_compared_as_lists() {
        let vary = of(&["foo"], &[("foo", "1,2")]).unwrap();
        assert!(vary.matches(values(&[("foo", "1"), ("foo", " 2")])));
        assert!(vary.matches(values(&[("foo", "1 , 2")])));
        assert!(!vary.matches(values(&[("foo", "2, 1")])));
        let vary = of(&["accept-language"], &[("accept-language", "EN, de")]).unwrap();
        assert!(vary.matches(values(&[("accept-language", "en,de")])));
    }

    #[test]
    fn order_and_case_of_the_names_do_not_matter() {
        let request = [("a", "1"), ("b", "2")];
        assert_eq!(of(&["B, a, A"], &request), of(&["a", "b"], &request));
    }

    #[test]
    fn nonsense_matches_nobody() {
        assert!(!Vary::from_bytes(&[1]).matches(values(&[])));
        assert!(!Vary::from_bytes(&[1, 0, b'a', 1, 200]).matches(values(&[])));
    }
}
