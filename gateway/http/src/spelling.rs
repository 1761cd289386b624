//! Header names that services merge. CGI makes one variable of `X-User` and `X_User` (RFC 3875 §4.1.18), and so do WSGI, PHP and
//! nginx's variables. What the gateway decides by one spelling must not reach such a service in the other one.

use std::collections::HashSet;

use ahash::RandomState;
use gateway_rules::fields::{has_underscore, is_other_spelling};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

/// Whether there is another spelling of a name.
pub fn has_other_spelling<'a>(mut names: impl Iterator<Item = &'a HeaderName>, name: &str) -> bool {
    names.any(|other| is_other_spelling(other.as_str(), name))
}

/// Whether a name can be spelled in another way.
pub fn can_be_respelled(name: &str) -> bool {
    name.bytes().any(|byte| matches!(byte, b'-' | b'_'))
}

/// Names that are not merged with others: a request keeps them in these spellings only.
#[derive(Debug, Default)]
pub struct FixedSpellings {
    names: HashSet<HeaderName, RandomState>,
    /// The same with `-` for every `_`.
    hyphenated: HashSet<String, RandomState>,
    has_underscores: bool,
}

impl FixedSpellings {
    pub fn add(&mut self, name: &HeaderName) {
        let text = name.as_str();
        if can_be_respelled(text) {
            self.has_underscores |= has_underscore(text);
            self.hyphenated.insert(text.replace('_', "-"));
            self.names.insert(name.clone());
        }
    }

    /// Removes the other spellings of these names.
    pub fn remove_others(&self, headers: &mut HeaderMap) {
        if self.names.is_empty() {
            return;
        }
        let is_other = |name: &&HeaderName| {
            let text = name.as_str();
            // Nearly all names end here.
            (has_underscore(text) || (self.has_underscores && text.contains('-')))
                && self.hyphenated.contains(&text.replace('_', "-"))
                && !self.names.contains(*name)
        };
        let others: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_other).cloned().collect();
        for other in others {
            headers.remove(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_differs_is_another_spelling() {
        let mut headers = HeaderMap::new();
        headers.insert("x_user", "1".parse().unwrap());
        assert!(has_other_spelling(headers.keys(), "x-user") && !has_other_spelling(headers.keys(), "x_user"));
    }

    #[test]
    fn fixed_names_are_left_in_their_own_spellings() {
        let left = |fixed: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in ["x-a", "x_a", "x_b", "x-c-d", "x_c-d", "x-e"] {
                headers.insert(name, "1".parse().unwrap());
            }
            let mut spellings = FixedSpellings::default();
            fixed.iter().for_each(|name| spellings.add(&HeaderName::from_static(name)));
            spellings.remove_others(&mut headers);
            let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            left.join(" ")
        };
        assert_eq!(left(&["accept"]), "x-a x-c-d x-e x_a x_b x_c-d");
        assert_eq!(left(&["x-a", "x-b"]), "x-a x-c-d x-e x_c-d");
        assert_eq!(left(&["x-a", "x_a", "x_c_d"]), "x-a x-e x_a x_b");
    }
}
