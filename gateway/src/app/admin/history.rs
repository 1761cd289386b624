//! The configurations that were in force since the process began.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use gateway_config::{Masked, Sensitive, Unmaskable};

/// So many, and no more bytes of text than this: the present one is always there.
const KEPT: usize = 32;
const BYTES: usize = 32 * 1024 * 1024;

/// How a configuration came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Origin {
    Start,
    /// The file or one that it names has changed, or a reload was requested.
    Reload,
    /// An operator sent it.
    Operator(String),
    /// An operator went back to an earlier one.
    Back(String, u64),
}

pub(super) struct Revision {
    pub(super) id: u64,
    pub(super) at: SystemTime,
    pub(super) origin: Origin,
    pub(super) text: Arc<str>,
    /// What tells its secrets from other values.
    sensitive: Arc<Sensitive>,
    /// Its text without secrets, computed on first use.
    masked: OnceLock<Masked>,
}

impl Revision {
    /// Its text without secrets.
    pub(super) fn masked(&self) -> &Masked {
        self.masked.get_or_init(|| Masked::of(&self.text, &self.sensitive))
    }

    /// Another text with this one's secrets in their places.
    pub(super) fn unmask(&self, text: &str) -> Result<String, Unmaskable> {
        self.masked().unmask(text, &self.sensitive)
    }
}

#[derive(Default)]
pub(super) struct History {
    revisions: VecDeque<Revision>,
    count: u64,
}

impl History {
    /// A text is in force now. The same text again is no news.
    pub(super) fn note(&mut self, text: &Arc<str>, sensitive: &Arc<Sensitive>, origin: Origin) {
        if self.revisions.back().is_some_and(|last| last.text == *text) {
            return;
        }
        self.count += 1;
        let (at, text, sensitive) = (SystemTime::now(), text.clone(), sensitive.clone());
        self.revisions.push_back(Revision { id: self.count, at, origin, text, sensitive, masked: OnceLock::new() });
        let bytes = |all: &VecDeque<Revision>| all.iter().map(|revision| revision.text.len()).sum::<usize>();
        while self.revisions.len() > KEPT || (self.revisions.len() > 1 && bytes(&self.revisions) > BYTES) {
            self.revisions.pop_front();
        }
    }

    /// The newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.iter().rev()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.id == id)
    }

    /// The one in force.
    pub(super) fn present(&self) -> Option<&Revision> {
        self.revisions.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl History {
        fn has(&mut self, text: &str, origin: Origin) {
            self.note(&text.into(), &Arc::default(), origin);
        }
    }

    #[test]
    fn the_last_ones_stay_and_the_present_one_always() {
        let mut history = History::default();
        for number in 0..KEPT + 5 {
            history.has(&format!("{number}"), Origin::Reload);
        }
        assert_eq!(history.all().count(), KEPT);
        assert_eq!(history.present().unwrap().id, KEPT as u64 + 5);
        history.has(&"x".repeat(BYTES + 1), Origin::Reload);
        assert_eq!(history.all().count(), 1);
    }

    #[test]
    fn the_same_text_again_is_no_news() {
        let mut history = History::default();
        history.has("a", Origin::Start);
        history.has("a", Origin::Reload);
        assert_eq!(history.all().count(), 1);
        history.has("b", Origin::Reload);
        history.has("a", Origin::Back("ops".to_owned(), 1));
        assert_eq!(history.all().map(|revision| revision.id).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
