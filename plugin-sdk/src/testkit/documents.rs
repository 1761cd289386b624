//! Documents, fetched by the test's answers at once.

use std::{collections::BTreeMap, time::Duration};

use crate::documents::{Document, DocumentError, Source};

#[derive(Default)]
pub(super) struct Documents(BTreeMap<(String, String), Known>);

#[derive(Default)]
struct Known {
    document: Option<Document>,
    fetched: Duration,
    tried: Option<Duration>,
    failure: String,
}

impl Documents {
    /// Whether the gateway would begin to fetch now.
    pub(super) fn is_due(&mut self, source: &Source, known: u64, force_refresh: bool, now: Duration) -> bool {
        let entry = self.entry(source);
        let age = now.saturating_sub(entry.fetched);
        let version = entry.document.as_ref().map_or(0, |document| document.version);
        let due =
            version == 0 || age >= source.refresh || age >= source.max_stale || (force_refresh && known == version);
        let retry = source.retry.max(Duration::from_secs(1));
        due && entry.tried.is_none_or(|tried| now.saturating_sub(tried) >= retry)
    }

    pub(super) fn fetched(&mut self, source: &Source, result: Result<Vec<u8>, String>, now: Duration) {
        let entry = self.entry(source);
        entry.tried = Some(now);
        match result {
            Ok(bytes) => {
                entry.fetched = now;
                let version = entry.document.as_ref().map_or(0, |document| document.version);
                if entry.document.as_ref().is_none_or(|document| document.bytes != bytes) {
                    entry.document = Some(Document { version: version + 1, bytes });
                }
            }
            Err(why) => entry.failure = why,
        }
    }

    pub(super) fn get(
        &mut self,
        source: &Source,
        known: u64,
        now: Duration,
    ) -> Result<Option<Document>, DocumentError> {
        let entry = self.entry(source);
        let usable = now.saturating_sub(entry.fetched) < source.max_stale;
        match &entry.document {
            Some(document) if usable && document.version != known => Ok(Some(document.clone())),
            Some(_) if usable => Ok(None),
            _ => Err(DocumentError::Unavailable(entry.failure.clone())),
        }
    }

    fn entry(&mut self, source: &Source) -> &mut Known {
        self.0.entry((source.upstream.clone(), source.path_with_query.clone())).or_default()
    }
}
