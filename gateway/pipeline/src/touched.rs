//! The header fields that stages have changed in one message.
//!
//! Two rules need them. A trailer with such a name is dropped: an upstream that merges trailers into the head, as some
//! servers do, would otherwise see the client's value instead of the plugin's (RFC 9110 §6.5.1). And a stage that is
//! skipped leaves nothing of the client's in a header that it sets or removes: otherwise a client that can make it fail
//! could supply `x-user` itself.

use gateway_rules::fields::remove_other_spellings;
use http::{HeaderMap, HeaderName};

/// Names of header fields that a stage sets or removes, so that no value of theirs comes from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedHeaders {
    pub request: Vec<HeaderName>,
    pub response: Vec<HeaderName>,
}

/// Of a stage that does not say.
pub(super) static NONE_OWNED: OwnedHeaders = OwnedHeaders { request: Vec::new(), response: Vec::new() };

/// Names that are remembered of a stage at most.
const MAX_OWNED: usize = 256;

impl OwnedHeaders {
    pub(super) fn add(list: &mut Vec<HeaderName>, name: &HeaderName) {
        if list.len() < MAX_OWNED && !list.contains(name) {
            list.push(name.clone());
        }
    }
}

/// The names that were changed in one message, each once.
#[derive(Debug, Default)]
pub(super) struct Touched {
    names: Vec<Name>,
    /// How many there were at the beginning of the present transaction.
    before: usize,
    /// More than are remembered.
    overflow: bool,
}

#[derive(Debug)]
struct Name {
    name: HeaderName,
    /// It was set or removed, and not only added to.
    owned: bool,
}

/// A plugin can remove fields that are not there, of any names: so the list has a bound of its own.
const MAX_TOUCHED: usize = 1024;

impl Touched {
    pub(super) fn note(&mut self, name: &HeaderName, owned: bool) {
        if let Some(known) = self.names.iter_mut().find(|known| known.name == *name) {
            known.owned |= owned;
        } else if self.names.len() < MAX_TOUCHED {
            self.names.push(Name { name: name.clone(), owned });
        } else {
            self.overflow = true;
        }
    }

    pub(super) fn begin_transaction(&mut self) {
        self.before = self.names.len();
    }

    /// The names that were set or removed for the first time in the present transaction.
    pub(super) fn owned_since(&self) -> impl Iterator<Item = &HeaderName> {
        let since = self.names.get(self.before..).unwrap_or_default();
        since.iter().filter(|known| known.owned).map(|known| &known.name)
    }

    /// Whether a stage has set or removed this one.
    pub(super) fn owns(&self, name: &HeaderName) -> bool {
        self.names.iter().any(|known| known.owned && known.name == *name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.overflow
    }

    /// Removes trailers that would say something about a header that a stage has changed.
    pub(super) fn clean(&self, trailers: &mut HeaderMap) {
        if self.overflow {
            trailers.clear();
        }
        for known in &self.names {
            trailers.remove(&known.name);
            remove_other_spellings(trailers, &known.name);
        }
    }

    /// For a body that is handed on, and leaves the exchange behind.
    pub(super) fn into_trailer_filter(self) -> impl Fn(&mut HeaderMap) {
        move |trailers| self.clean(trailers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> HeaderName {
        HeaderName::from_static(text)
    }

    #[test]
    fn trailers_lose_what_was_changed_and_nothing_else() {
        let mut touched = Touched::default();
        assert!(touched.is_empty());
        touched.note(&name("x-user"), true);
        touched.note(&name("x-list"), false);
        let mut trailers = HeaderMap::new();
        for name in ["x-user", "x-list", "grpc-status"] {
            trailers.insert(name, "1".parse().unwrap());
        }
        touched.clean(&mut trailers);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["grpc-status"]);
    }

    #[test]
    fn what_a_transaction_owns_is_what_it_was_first_to_set() {
        let mut touched = Touched::default();
        touched.note(&name("x-before"), true);
        touched.begin_transaction();
        touched.note(&name("x-before"), true);
        touched.note(&name("x-added-to"), false);
        touched.note(&name("x-set"), true);
        assert_eq!(touched.owned_since().collect::<Vec<_>>(), ["x-set"]);
    }

    #[test]
    fn more_names_than_are_remembered_let_no_trailer_pass() {
        let mut touched = Touched::default();
        for n in 0..=MAX_TOUCHED {
            touched.note(&format!("x-{n}").parse().unwrap(), true);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-other", "1".parse().unwrap());
        touched.clean(&mut trailers);
        assert!(trailers.is_empty());
    }
}
